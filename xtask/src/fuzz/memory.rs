//! What workers and their machines hold of the host's memory. A guest's own memory is that of its machine:
//! what it touches becomes resident.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

/// Resident memory over time, in KiB.
#[derive(Default)]
pub struct Memory {
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Default)]
struct Sample {
    workers: u64,
    machines: u64,
}

/// In so many parts of the time each the most is told.
const PARTS: usize = 4;

impl Memory {
    /// Takes note of what these processes and their children hold now.
    pub fn note(&mut self, workers: impl Iterator<Item = u32>) {
        let mut sample = Sample::default();
        for worker in workers {
            sample.workers += resident(worker);
            sample.machines += children(worker).into_iter().map(resident).sum::<u64>();
        }
        self.samples.push(sample);
    }

    /// The most in each part of the time, in MiB: of the workers and of their machines.
    fn parts(&self) -> BTreeMap<&'static str, Vec<u64>> {
        let part = self.samples.len().div_ceil(PARTS).max(1);
        let most = |of: fn(&Sample) -> u64| {
            let parts = self.samples.chunks(part);
            parts.map(|part| part.iter().map(of).max().unwrap_or_default() / 1024).collect()
        };
        let machines: Vec<u64> = most(|sample| sample.machines);
        BTreeMap::from([("machines", machines), ("workers", most(|sample| sample.workers))])
    }

    /// The same for programs.
    pub fn object(&self) -> Value {
        json!(self.parts())
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = self.parts().into_iter().map(|(name, parts)| {
            let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
            format!("{name} {} MiB", parts.join(", "))
        });
        f.write_str(&told.collect::<Vec<_>>().join("; "))
    }
}

/// `VmRSS` in proc_pid_status(5); nothing of one that has ended.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The processes that any of its threads has started.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let listed =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    listed
        .flat_map(|pids| {
            pids.split_whitespace().filter_map(|it| it.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_each_part_is_told() {
        let sample = |mib: u64| Sample { workers: mib * 1024, machines: 10 * mib * 1024 };
        let memory = Memory { samples: [1, 2, 3, 4, 5, 4, 3, 9].map(sample).to_vec() };
        assert_eq!(memory.to_string(), "machines 20, 40, 50, 90 MiB; workers 2, 4, 5, 9 MiB");
        assert_eq!(Memory::default().to_string(), "machines  MiB; workers  MiB");
    }

    #[test]
    fn a_process_holds_memory() {
        assert!(resident(std::process::id()) > 0);
        assert_eq!(resident(u32::MAX), 0);
    }
}

//! `bench`: the figures of the project, each beside its limit, both measured in the same run.

mod fuzz;

pub use fuzz::fuzz;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_vm::bench::{boot_to_ring, restore_to_ring};
use refan_vm::{MachineError, MachineSpec, SharedMemory, pvh};
use serde_json::json;

use crate::cli;
use crate::exit::Exit;
use crate::prepare;
use crate::steps::Steps;

/// How long one start may take at most.
const DEADLINE: Duration = Duration::from_secs(60);

/// Boot to agent-ready. Its limit is a bare static init that prints a line, with the same kernel on
/// the same machine.
pub fn boot(repository: &Path, measure: &cli::Measure) -> Result<Exit> {
    let steps = Steps::new();
    let ready = prepare::prepare(repository, &measure.machine, &steps)?;
    let agent = ready.prepared.spec()?;
    let bare = MachineSpec { initramfs: Some(ready.bare_initramfs(repository)?), ..agent.clone() };
    steps.done();
    let mut figure = Figure::new("boot to agent-ready", "boot of a bare init");
    for _ in 0..measure.runs {
        figure
            .times
            .push(time(&agent, figure.name, |shared, end| boot_to_ring(&agent, shared, end))?);
        figure
            .limits
            .push(time(&bare, figure.limit, |shared, end| boot_to_ring(&bare, shared, end))?);
    }
    figure.print(measure.json);
    Ok(Exit::Held)
}

/// Restore to agent-ready, beside what any boot takes at least: QEMU, its firmware and a guest of a few
/// instructions.
pub fn restore(repository: &Path, measure: &cli::Measure) -> Result<Exit> {
    let steps = Steps::new();
    let ready = prepare::prepare(repository, &measure.machine, &steps)?;
    let agent = ready.prepared.spec()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let guest = folder.path().join("guest");
    std::fs::write(&guest, pvh::image(&ringing_code())).context("cannot write a guest")?;
    let least = MachineSpec { kernel: guest, initramfs: None, ..agent.clone() };
    let snapshot = ready.prepared.open_snapshot()?.context("there is no snapshot to restore")?;
    steps.done();
    let mut figure = Figure::new("restore to agent-ready", "boot of a guest of a few instructions");
    for _ in 0..measure.runs {
        figure.times.push(time(&agent, figure.name, |shared, end| {
            restore_to_ring(&agent, &snapshot, shared, end)
        })?);
        figure
            .limits
            .push(time(&least, figure.limit, |shared, end| boot_to_ring(&least, shared, end))?);
    }
    figure.print(measure.json);
    Ok(Exit::Held)
}

/// Machine code that rings the doorbell and halts.
fn ringing_code() -> Vec<u8> {
    let [low, high] = refan_wire::RING_PORT.to_le_bytes();
    // mov dx, RING_PORT; out dx, al; hlt; jmp to the hlt
    vec![0x66, 0xba, low, high, 0xee, 0xf4, 0xeb, 0xfd]
}

/// A figure and its limit, measured in turn.
struct Figure {
    name: &'static str,
    limit: &'static str,
    times: Vec<Duration>,
    limits: Vec<Duration>,
}

impl Figure {
    fn new(name: &'static str, limit: &'static str) -> Self {
        Self { name, limit, times: Vec::new(), limits: Vec::new() }
    }

    fn print(&self, json: bool) {
        let (time, limit) = (median(&self.times).as_secs_f64(), median(&self.limits).as_secs_f64());
        let (name, runs, ratio) = (self.name, self.times.len(), time / limit);
        if json {
            let object = json!({
                "event": "figure", "version": 1, "name": name, "seconds": time,
                "limit": self.limit, "limit_seconds": limit, "ratio": ratio, "runs": runs,
            });
            say!("{object}");
        } else {
            say!("  {name:<24} {time:.3} s");
            say!("    {ratio:.2} times {limit:.3} s, {} (median of {runs})", self.limit);
        }
    }
}

/// Times one start with shared memory of its own.
fn time(
    spec: &MachineSpec,
    what: &'static str,
    start: impl FnOnce(SharedMemory, Instant) -> Result<Duration, MachineError>,
) -> Result<Duration> {
    let shared =
        SharedMemory::new(spec.profile.shared_bytes()).context("cannot make the shared memory")?;
    start(shared, Instant::now() + DEADLINE).context(what)
}

/// The middle one; the upper of two.
fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let seconds = |all: &[u64]| {
            median(&all.iter().map(|&s| Duration::from_secs(s)).collect::<Vec<_>>()).as_secs()
        };
        assert_eq!(seconds(&[3, 1, 2]), 2);
        assert_eq!(seconds(&[]), 0);
    }
}

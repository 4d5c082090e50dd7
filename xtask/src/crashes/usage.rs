//! What this process holds of the host.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use refan_runner::Prepared;

/// KiB by which an allocator's memory comes and goes: a fraction of one machine's evidence a crash.
const SLACK: u64 = 16 << 10;

/// Memory, descriptors, children and disk.
pub struct Usage {
    /// Resident memory in KiB (`VmRSS` in proc_pid_status(5)).
    resident: u64,
    descriptors: usize,
    children: usize,
    /// Bytes in the folder of the snapshot, which machines map.
    snapshot: u64,
}

impl Usage {
    /// As it is now.
    pub fn now(prepared: &Prepared) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let children = fs::read_dir("/proc/self/task").context("/proc/self/task")?;
        let children = children.flatten().filter_map(|task| {
            let listed = fs::read_to_string(task.path().join("children")).ok()?;
            Some(listed.split_whitespace().count())
        });
        let snapshot = prepared.snapshot.as_ref().map(|(folder, _)| size(folder)).transpose()?;
        Ok(Self {
            resident: resident.context("no VmRSS")?,
            descriptors: fs::read_dir("/proc/self/fd").context("/proc/self/fd")?.count(),
            children: children.sum(),
            snapshot: snapshot.unwrap_or_default(),
        })
    }
}

impl Usage {
    /// What there is more of than there was, if anything is.
    pub fn growth(&self, before: &Self) -> Option<String> {
        let counts = [
            ("descriptors", self.descriptors > before.descriptors),
            ("children", self.children > before.children),
            ("bytes of snapshot", self.snapshot > before.snapshot),
            ("memory", self.resident > before.resident + SLACK),
        ];
        let more: Vec<&str> = counts.into_iter().filter_map(|(of, is)| is.then_some(of)).collect();
        (!more.is_empty()).then(|| format!("more {} than after the first of each", more.join(", ")))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident, descriptors, children, snapshot } = self;
        write!(
            f,
            "{:.1} MiB resident, {descriptors} descriptors, {children} children, {snapshot} bytes of snapshot",
            *resident as f64 / 1024.0
        )
    }
}

fn size(folder: &std::path::Path) -> Result<u64> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let sizes = entries.map(|entry| Ok(entry?.metadata()?.len()));
    sizes.sum::<std::io::Result<u64>>().with_context(|| folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told() {
        let usage =
            |resident, descriptors| Usage { resident, descriptors, children: 1, snapshot: 5 };
        assert_eq!(usage(9000 + SLACK, 7).growth(&usage(9000, 7)), None);
        assert_eq!(usage(9000, 6).growth(&usage(9000, 7)), None);
        let growth = usage(9001 + SLACK, 8).growth(&usage(9000, 7)).expect("growth");
        assert!(growth.contains("descriptors, memory"), "{growth}");
    }
}

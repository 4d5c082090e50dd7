//! The switch of a kernel that carries seeded bugs.

use std::fs;

use anyhow::{Context, Result};

/// The series `mutants` adds it (`kernel-configs/series/mutants`).
const SWITCH: &str = "/proc/sys/fs/fanotify/mutant";

/// Gives the kernel the bug of this number; 0 is none.
pub fn set(switch: u32) -> Result<()> {
    fs::write(SWITCH, switch.to_string())
        .with_context(|| format!("the kernel has no switch for mutants: writing {SWITCH}"))
}

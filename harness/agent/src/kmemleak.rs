//! Objects that nothing refers to any more (`Documentation/dev-tools/kmemleak.rst`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::files;

/// Younger objects are not told: a pointer to them may be on its way (`MSECS_MIN_AGE` in
/// mm/kmemleak.c).
const MIN_AGE: Duration = Duration::from_secs(5);

/// How much of the list is told, in bytes. It begins with what was found first.
const LIMIT: usize = 16 << 10;

/// What is unreferenced now; None where the kernel does not look for it.
pub fn find() -> Result<Option<String>> {
    let control = control();
    if !control.exists() {
        return Ok(None);
    }
    std::thread::sleep(MIN_AGE);
    // Twice: an object is told when it is found again and has not changed (`update_checksum`).
    for _ in 0..2 {
        fs::write(&control, "scan")
            .with_context(|| format!("writing scan to {}", control.display()))?;
    }
    let mut found =
        fs::read_to_string(&control).with_context(|| format!("reading {}", control.display()))?;
    found.truncate(found.floor_char_boundary(LIMIT));
    Ok(Some(found))
}

fn control() -> PathBuf {
    Path::new(files::DEBUGFS).join("kmemleak")
}

//! How often the kernel's lines and branches have been passed (`Documentation/dev-tools/gcov.rst`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refan_wire::Record;

use crate::files;

/// Hands over the counters of one object file after another; of none where the kernel does not count.
pub fn read(mut each: impl FnMut(Record)) -> Result<()> {
    let top = Path::new(files::DEBUGFS).join("gcov");
    if !top.is_dir() {
        return Ok(());
    }
    for file in counters(&top)? {
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let path = file.strip_prefix(&top).unwrap_or(&file).to_string_lossy().into_owned();
        each(Record::Counters { path, bytes });
    }
    Ok(())
}

/// The files of counters in a folder and below. Beside each is a link to the compiler's notes, which are
/// not in the guest.
fn counters(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = || format!("listing {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if path.is_dir() {
            files.extend(counters(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "gcda") {
            files.push(path);
        }
    }
    Ok(files)
}

//! The limits of fanotify that programs change, and how they get back to what they were.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use refan_program::Sysctl;

/// The limits as the kernel came up with them. One that this kernel does not have is left out.
pub struct Limits(Vec<(PathBuf, String)>);

impl Limits {
    /// What they are now.
    pub fn read() -> Self {
        let folder = PathBuf::from("/proc/sys/fs/fanotify");
        let paths = Sysctl::ALL.into_iter().map(|name| folder.join(name.name()));
        Self(paths.filter_map(|path| fs::read_to_string(&path).ok().map(|v| (path, v))).collect())
    }

    /// Sets them back to that.
    pub fn restore(&self) -> Result<()> {
        for (path, value) in &self.0 {
            fs::write(path, value).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

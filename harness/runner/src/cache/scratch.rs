//! Temporary folders in the cache, so that publishing is a rename within one file system.

use super::{Cache, Error, TMP, lock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A temporary folder. It is deleted when dropped; what a killed process leaves is swept by a later run.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// The locked folder: the lock tells [`Cache::sweep`] that its owner lives.
    handle: File,
    /// Whether the folder has been moved to its place and is no longer ours to delete.
    kept: bool,
}

impl Scratch {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path and the locked handle, once the folder has been moved away.
    pub(super) fn keep(mut self) -> Result<File, Error> {
        self.kept = true;
        self.handle
            .try_clone()
            .map_err(|source| Error::io("keep the handle of", &self.path, source))
    }

    pub(super) fn handle(&self) -> &File {
        &self.handle
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about a failure here; the next sweep tries again.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Cache {
    /// A new, empty temporary folder in the cache.
    ///
    /// # Errors
    /// The folder cannot be created or locked.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        loop {
            let path = self.unused_temporary();
            fs::create_dir(&path)
                .map_err(|source| Error::io("create the temporary folder", &path, source))?;
            // Between these two lines a sweep may take the folder for a leftover: then it is not locked or gone.
            let Ok(handle) = File::open(&path) else { continue };
            if handle.try_lock().is_ok() && lock::still_there(&handle, &path) {
                return Ok(Scratch { path, handle, kept: false });
            }
        }
    }

    /// Deletes the temporary folders of runs that are dead, and says how many there were.
    ///
    /// # Errors
    /// The folder of temporary folders cannot be read. What cannot be deleted is left to the next sweep.
    pub fn sweep(&self) -> Result<usize, Error> {
        let tmp = self.root().join(TMP);
        let list = fs::read_dir(&tmp).map_err(|source| Error::io("read", &tmp, source))?;
        let mut swept = 0;
        for path in list.flatten().map(|item| item.path()) {
            let Ok(handle) = File::open(&path) else { continue };
            if handle.try_lock().is_ok() && remove(&path).is_ok() {
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// A path in the temporary folder that nothing has yet.
    pub(super) fn unused_temporary(&self) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.root().join(TMP).join(format!(
            "{}-{}-{}",
            process::id(),
            now.as_nanos(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ))
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

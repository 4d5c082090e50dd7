//! Locks that end with their process.

use super::{Cache, Error, LOCKS};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// An exclusive lock by name, held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// Takes the lock called `name`, waiting for another holder at most `wait`; `waiting` is called once if there
    /// is one.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is over; I/O errors on the lock file.
    pub fn lock(&self, name: &str, wait: Duration, waiting: impl FnOnce()) -> Result<Lock, Error> {
        assert!(!name.contains('/'), "{name:?} is no name for a lock");
        let path = self.root().join(LOCKS).join(name);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| Error::io("open the lock", &path, source))?;
        exclusive(&file, &path, name, wait, waiting)?;
        Ok(Lock { _file: file })
    }
}

/// Locks `file` for this process alone.
pub(super) fn exclusive(
    file: &File,
    path: &Path,
    name: &str,
    wait: Duration,
    waiting: impl FnOnce(),
) -> Result<(), Error> {
    let start = Instant::now();
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path, source)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= wait => {
                return Err(Error::Busy { name: name.to_owned(), waited: start.elapsed() });
            }
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                thread::sleep(RETRY.min(wait));
            }
        }
    }
}

/// Whether `path` still names what `file` has open. A folder can be evicted between opening and locking it.
pub(super) fn still_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() == named.ino() && open.dev() == named.dev(),
        _ => false,
    }
}

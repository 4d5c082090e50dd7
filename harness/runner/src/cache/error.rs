//! What can go wrong with the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of the cache itself; what fills an entry has errors of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of the variables that say where caches lie is set.
    #[error(
        "no place for the cache: set REFAN_CACHE to a folder (HOME and XDG_CACHE_HOME are unset)"
    )]
    NoPlace,
    /// `$REFAN_CACHE_LIMIT` is no size.
    #[error("REFAN_CACHE_LIMIT is {0:?}: give a size such as 20G, 800M or a number of bytes")]
    BadLimit(String),
    /// The file system has no room left.
    #[error(
        "no space left in {0}: free some, run `cargo xtask kernel clean`, or set REFAN_CACHE to a \
         folder on another disk"
    )]
    Full(PathBuf),
    /// Another process kept a lock for longer than this one was willing to wait.
    #[error("{name} is still in use by another run after {} s", waited.as_secs())]
    Busy {
        /// What is locked.
        name: String,
        /// How long this process waited for it.
        waited: Duration,
    },
    /// A system call on a file of the cache failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Error {
    /// An I/O error in the words of the cache; a full disk is told apart.
    #[must_use]
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full(path.to_owned())
            }
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

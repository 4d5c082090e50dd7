//! The cache: everything that is fetched, built or recorded once and used again.
//!
//! It lies outside the checkout, in `$REFAN_CACHE`, else `$XDG_CACHE_HOME/refan`, else `~/.cache/refan`:
//!
//! ```text
//! KIND/KEY/   an entry: immutable, published whole by one rename; or a workspace: mutable, one owner at a time
//! tmp/        folders that are being filled or deleted; what a dead run left there is swept
//! locks/      files that are locked by name
//! ```
//!
//! Everything in use is held by a `flock(2)` lock on the folder itself. The kernel drops such a lock with its
//! process, however that ends, so no run ever leaves one behind, and whoever gets the lock knows that nobody else
//! uses the folder. The time of last use is the folder's modification time.

mod entry;
mod error;
mod key;
mod lock;
mod scratch;
mod space;
#[cfg(test)]
mod tests;

pub use entry::{Entry, Workspace};
pub use error::Error;
pub use key::Key;
pub use lock::Lock;
pub use scratch::Scratch;
pub use space::{Freed, Usage, parse_size};

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How large the cache may grow when `$REFAN_CACHE_LIMIT` says nothing, in bytes.
const DEFAULT_LIMIT: u64 = 20 << 30;

/// The folders under the root that hold no entries.
const TMP: &str = "tmp";
const LOCKS: &str = "locks";

/// A cache folder with a size limit.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    limit: u64,
}

impl Cache {
    /// Opens the user's cache, creating it when it is missing.
    ///
    /// # Errors
    /// No place for it is known, `$REFAN_CACHE_LIMIT` is no size, or the folder cannot be created.
    pub fn open() -> Result<Self, Error> {
        let limit = match env::var("REFAN_CACHE_LIMIT") {
            Ok(text) => parse_size(&text).ok_or(Error::BadLimit(text))?,
            Err(_) => DEFAULT_LIMIT,
        };
        Self::at(default_root()?, limit)
    }

    /// Opens the cache in `root`, creating it when it is missing; `limit` is in bytes.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn at(root: impl Into<PathBuf>, limit: u64) -> Result<Self, Error> {
        let root = root.into();
        let cache = Self { root, limit };
        for dir in [cache.root.clone(), cache.root.join(TMP), cache.root.join(LOCKS)] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(|source| Error::io("create the cache folder", &dir, source))?;
        }
        // Paths handed to other programs must not depend on their working folder.
        let root = fs::canonicalize(&cache.root)
            .map_err(|source| Error::io("resolve the cache folder", &cache.root, source))?;
        Ok(Self { root, limit })
    }

    /// The cache's folder, an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The size that [`shrink`](Self::shrink) brings the cache down to, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn place(&self, kind: &str, key: &Key) -> PathBuf {
        assert!(
            !kind.is_empty()
                && kind != TMP
                && kind != LOCKS
                && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{kind:?} is no name for a kind of cache entry"
        );
        self.root.join(kind).join(key.as_str())
    }
}

fn default_root() -> Result<PathBuf, Error> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("REFAN_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("refan")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/refan")))
        .ok_or(Error::NoPlace)
}

//! How much room the cache takes, and how it is kept below its limit.

use super::{Cache, Error, LOCKS, TMP};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file in each entry that holds its size, so that a large one is walked once.
const SIZE_FILE: &str = ".size";

/// What one entry or workspace takes.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Its kind.
    pub kind: String,
    /// Its folder.
    pub path: PathBuf,
    /// Its size on disk, in bytes.
    pub bytes: u64,
    /// When it was used last.
    pub used: SystemTime,
}

/// What shrinking brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many entries were removed.
    pub entries: usize,
    /// Their size on disk, in bytes.
    pub bytes: u64,
    /// How many entries would have been removed but are in use.
    pub in_use: usize,
}

impl Cache {
    /// All entries and workspaces, the one used longest ago first.
    ///
    /// # Errors
    /// A folder of the cache cannot be read.
    pub fn usage(&self) -> Result<Vec<Usage>, Error> {
        let mut all = Vec::new();
        for kind in folders(self.root())? {
            let name = kind.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == TMP || name == LOCKS {
                continue;
            }
            for path in folders(&kind)? {
                // Another run may remove an entry while this one looks at it.
                let Ok(meta) = fs::metadata(&path) else { continue };
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let bytes = noted_size(&path).unwrap_or_else(|| size_of(&path));
                all.push(Usage { kind: name.clone(), path, bytes, used });
            }
        }
        all.sort_by_key(|usage| usage.used);
        Ok(all)
    }

    /// The size of all entries and workspaces on disk, in bytes.
    ///
    /// # Errors
    /// As [`usage`](Self::usage).
    pub fn size(&self) -> Result<u64, Error> {
        Ok(self.usage()?.iter().map(|usage| usage.bytes).sum())
    }

    /// Removes what was used longest ago and is not in use, until the cache is within its limit.
    ///
    /// # Errors
    /// As [`usage`](Self::usage).
    pub fn shrink(&self) -> Result<Freed, Error> {
        self.remove_while(|total| total > self.limit())
    }

    /// Removes everything that is not in use, and what dead runs left.
    ///
    /// # Errors
    /// As [`usage`](Self::usage).
    pub fn clean(&self) -> Result<Freed, Error> {
        self.sweep()?;
        self.remove_while(|_| true)
    }

    /// Removes the oldest while the size says so.
    fn remove_while(&self, more: impl Fn(u64) -> bool) -> Result<Freed, Error> {
        let usage = self.usage()?;
        let mut total: u64 = usage.iter().map(|usage| usage.bytes).sum();
        let mut freed = Freed::default();
        for old in usage {
            if !more(total) {
                break;
            }
            if self.evict(&old.path)? {
                total -= old.bytes;
                freed.entries += 1;
                freed.bytes += old.bytes;
            } else {
                freed.in_use += 1;
            }
        }
        Ok(freed)
    }

    /// Removes one entry or workspace unless somebody uses it.
    fn evict(&self, path: &Path) -> Result<bool, Error> {
        let Ok(handle) = File::open(path) else { return Ok(false) };
        if handle.try_lock().is_err() {
            return Ok(false);
        }
        // Moved away first, so that nobody ever finds half an entry in its place.
        let grave = self.unused_temporary();
        match fs::rename(path, &grave) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("evict", path, error)),
        }
        fs::remove_dir_all(&grave).map_err(|source| Error::io("delete", &grave, source))?;
        Ok(true)
    }
}

/// Takes the size of the folder and writes it into it.
pub(super) fn note_size(dir: &Path) -> Result<(), Error> {
    let file = dir.join(SIZE_FILE);
    fs::write(&file, size_of(dir).to_string()).map_err(|source| Error::io("write", &file, source))
}

fn noted_size(dir: &Path) -> Option<u64> {
    fs::read_to_string(dir.join(SIZE_FILE)).ok()?.trim().parse().ok()
}

/// The blocks of everything in the folder, in bytes. What vanishes meanwhile counts nothing.
fn size_of(dir: &Path) -> u64 {
    let Ok(list) = fs::read_dir(dir) else { return 0 };
    list.flatten()
        .filter_map(|item| {
            let meta = item.metadata().ok()?;
            // A file with several names is shared between entries; each carries its part.
            let own = meta.blocks() * 512 / if meta.is_dir() { 1 } else { meta.nlink().max(1) };
            Some(own + if meta.is_dir() { size_of(&item.path()) } else { 0 })
        })
        .sum()
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = fs::read_dir(dir).map_err(|source| Error::io("read", dir, source))?;
    Ok(list
        .flatten()
        .filter(|item| item.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|item| item.path())
        .collect())
}

/// A number of bytes, optionally with K, M, G or T for powers of 1024.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

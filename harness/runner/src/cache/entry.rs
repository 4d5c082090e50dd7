//! Entries and workspaces.

use super::{Cache, Error, Key, lock, space};
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// An immutable folder in the cache. It is not evicted while this value lives.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    _handle: File,
}

/// A mutable folder in the cache that belongs to this process alone while this value lives.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    handle: File,
}

impl Cache {
    /// The entry of that kind with that key, if there is one. Finding it counts as use.
    ///
    /// # Errors
    /// The folder is there but cannot be opened or locked.
    pub fn entry(&self, kind: &str, key: &Key) -> Result<Option<Entry>, Error> {
        let path = self.place(kind, key);
        let handle = match File::open(&path) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        // Exclusive holders of an entry's lock are about to publish or to evict it: the wait is short.
        handle.lock_shared().map_err(|source| Error::io("lock", &path, source))?;
        if !lock::still_there(&handle, &path) {
            return Ok(None);
        }
        stamp(&handle, &path)?;
        Ok(Some(Entry { path, _handle: handle }))
    }

    /// Makes the entry of that kind with that key: `fill` writes its files into the empty folder it is given, and
    /// the folder then appears in its place at once and whole, or not at all. When another process was faster, its
    /// entry is the result. Afterwards the cache is brought below its limit.
    ///
    /// # Errors
    /// Those of `fill`, and [`Error`] when the folder cannot be made or moved.
    pub fn publish<E: From<Error>>(
        &self,
        kind: &str,
        key: &Key,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Entry, E> {
        let path = self.place(kind, key);
        let scratch = self.scratch()?;
        fill(scratch.path())?;
        space::note_size(scratch.path())?;
        let parent = self.root().join(kind);
        fs::create_dir_all(&parent).map_err(|source| Error::io("create", &parent, source))?;
        match fs::rename(scratch.path(), &path) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                if let Some(entry) = self.entry(kind, key)? {
                    return Ok(entry);
                }
                return Err(Error::io("publish", &path, error).into());
            }
            Err(error) => return Err(Error::io("publish", &path, error).into()),
        }
        scratch.handle().lock_shared().map_err(|source| Error::io("lock", &path, source))?;
        let entry = Entry { path, _handle: scratch.keep()? };
        self.shrink()?;
        Ok(entry)
    }

    /// The workspace of that kind with that key, created empty when it is missing. Only one process has it at a
    /// time: another holder is waited for at most `wait`, and `waiting` is called once if there is one.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is over; I/O errors on the folder.
    pub fn workspace(
        &self,
        kind: &str,
        key: &Key,
        wait: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Workspace, Error> {
        let path = self.place(kind, key);
        let end = Instant::now() + wait;
        let mut waiting = Some(waiting);
        loop {
            fs::create_dir_all(&path).map_err(|source| Error::io("create", &path, source))?;
            let Ok(handle) = File::open(&path) else { continue };
            let left = end.saturating_duration_since(Instant::now());
            lock::exclusive(&handle, &path, &format!("the {kind} workspace"), left, || {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
            })?;
            if lock::still_there(&handle, &path) {
                stamp(&handle, &path)?;
                return Ok(Workspace { path, handle });
            }
        }
    }
}

impl Entry {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for Entry {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Workspace {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes the workspace's size and use, after work that changed much.
    ///
    /// # Errors
    /// The size cannot be taken or written.
    pub fn measure(&self) -> Result<(), Error> {
        space::note_size(&self.path)?;
        stamp(&self.handle, &self.path)
    }
}

/// Notes that the folder has been used now.
fn stamp(handle: &File, path: &Path) -> Result<(), Error> {
    match handle.set_modified(SystemTime::now()) {
        // A cache on a read-only or foreign folder still serves; its entries merely age.
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(Error::io("note the use of", path, error)),
        },
    }
}

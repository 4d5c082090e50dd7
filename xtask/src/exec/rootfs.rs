//! A folder of the host whose files the guest has as its root: what dynamic programs need.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Result;
use refan_runner::exec::Files;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

use crate::exit::usage;

/// What of it the guest does not take: these folders the kernel fills, and its first process has this name.
const LEFT_OUT: [&str; 4] = ["dev", "proc", "sys", "init"];

/// The folder.
pub struct Rootfs {
    path: PathBuf,
    folder: OwnedFd,
}

impl Rootfs {
    /// Takes a folder.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| {
            usage(format!("{} cannot be the guest's root: {error}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Adds its files.
    pub fn add(&self, files: &mut Files) -> Result<()> {
        Ok(files.add_root(&self.path, &LEFT_OUT)?)
    }

    /// Whether it has a file of this absolute path, by its own links.
    pub fn has(&self, path: &Path) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(
            &self.folder,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        file.and_then(rustix::fs::fstat)
            .is_ok_and(|meta| FileType::from_raw_mode(meta.st_mode) == FileType::RegularFile)
    }

    /// The command of this name, in these folders.
    pub fn find(&self, name: &OsStr, folders: &str) -> Option<PathBuf> {
        folders.split(':').map(|folder| Path::new(folder).join(name)).find(|file| self.has(file))
    }

    /// Its shell.
    pub fn shell(&self) -> Option<OsString> {
        ["/bin/bash", "/bin/sh"].into_iter().find(|it| self.has(Path::new(it))).map(OsString::from)
    }

    /// The folder, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        std::fs::create_dir_all(at.join("usr/bin")).expect("a folder");
        std::fs::write(at.join("usr/bin/dash"), "").expect("a file");
        std::os::unix::fs::symlink("/usr/bin", at.join("bin")).expect("a link");
        std::os::unix::fs::symlink("dash", at.join("usr/bin/sh")).expect("a link");
        std::os::unix::fs::symlink("../../../../../../../etc/passwd", at.join("out"))
            .expect("a link");
        let rootfs = Rootfs::open(at).expect("a folder");
        assert!(rootfs.has(Path::new("/bin/sh")));
        assert!(!rootfs.has(Path::new("/bin")) && !rootfs.has(Path::new("/out")));
        assert_eq!(rootfs.find(OsStr::new("sh"), "/sbin:/usr/bin"), Some("/usr/bin/sh".into()));
        assert_eq!(rootfs.shell(), Some("/bin/sh".into()));
        assert!(Rootfs::open(&at.join("usr/bin/dash")).is_err());
        let missing = Rootfs::open(Path::new("/nonexistent")).err().expect("none").to_string();
        assert!(missing.contains("/nonexistent"), "{missing}");
    }
}

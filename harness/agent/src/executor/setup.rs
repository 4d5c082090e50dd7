//! Namespaces and file systems of a run.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use refan_program::{Path, PathKind, Program};
use refan_wire::FileId;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use crate::{ext4, files, task};

/// The files of a run, mounted.
pub struct Files {
    paths: Vec<Path>,
}

impl Files {
    /// Gives the calling process a mount namespace of its own, its children a pid namespace, and
    /// makes the files that the program names.
    pub fn mount(program: &Program) -> Result<Self> {
        let own = UnshareFlags::NEWNS | UnshareFlags::NEWPID;
        // SAFETY: the process has no threads, and its file descriptors stay as they are.
        unsafe { rustix::thread::unshare_unsafe(own) }.context("making namespaces")?;
        let tmpfs = c"tmpfs";
        rustix::mount::mount(tmpfs, files::TMPFS, tmpfs, MountFlags::empty(), None)
            .context("mounting a tmpfs")?;
        let paths = task::paths_of(program);
        let (on_ext4, on_tmpfs): (Vec<Path>, Vec<Path>) =
            paths.iter().partition(|path| path.kind == PathKind::Ext);
        for path in on_tmpfs {
            files::make(path)?;
        }
        if !on_ext4.is_empty() {
            ext4::mount(files::EXT4)?;
        }
        Ok(Self { paths })
    }

    /// What the program's paths are.
    pub fn ids(&self) -> Result<Vec<(Path, FileId)>> {
        let id = |path: &Path| {
            let at = files::location(*path);
            let stat = fs::metadata(&at).with_context(|| format!("looking at {}", at.display()))?;
            Ok((*path, FileId { dev: stat.dev(), ino: stat.ino() }))
        };
        self.paths.iter().map(id).collect()
    }

    /// Unmounts everything; fails when something still holds a file.
    pub fn unmount(self) -> Result<()> {
        if self.paths.iter().any(|path| path.kind == PathKind::Ext) {
            unmount(files::EXT4)?;
        }
        unmount(files::TMPFS)
    }
}

fn unmount(at: &str) -> Result<()> {
    rustix::mount::unmount(at, UnmountFlags::empty())
        .with_context(|| format!("unmounting {at} after all tasks have ended"))
}

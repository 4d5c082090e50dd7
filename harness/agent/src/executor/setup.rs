//! Namespaces and file systems of a run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use refan_program::{Inode, Mount, Path, Program};
use refan_wire::{FileId, Leak};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use crate::{accounts, ext4, files, task};

/// The files of a run, mounted.
pub struct Files {
    inodes: BTreeSet<Inode>,
    /// In the order in which they were made.
    mounts: BTreeSet<Mount>,
}

impl Files {
    /// Gives the calling process a mount namespace of its own, its children a pid namespace, and
    /// makes the files that the program names.
    pub fn mount(program: &Program) -> Result<Self> {
        let own = UnshareFlags::NEWNS | UnshareFlags::NEWPID;
        // SAFETY: the process has no threads, and its file descriptors stay as they are.
        unsafe { rustix::thread::unshare_unsafe(own) }.context("making namespaces")?;
        let paths = task::paths_of(program);
        let mounts = paths.iter().map(|path| path.mount()).chain([Mount::Tmpfs]).collect();
        let files = Self { inodes: inodes_at(&paths), mounts };
        for mount in &files.mounts {
            make(*mount)?;
        }
        for inode in &files.inodes {
            // The ext4 has its files.
            if inode.path().mount() == Mount::Tmpfs {
                files::make(*inode)?;
            }
        }
        Ok(files)
    }

    /// What the program's files are.
    pub fn ids(&self) -> Result<Vec<(Inode, FileId)>> {
        let id = |inode: &Inode| {
            let at = inode.path().location();
            let stat = fs::symlink_metadata(&at).with_context(|| format!("looking at {at}"))?;
            Ok((*inode, FileId { dev: stat.dev(), ino: stat.ino() }))
        };
        self.inodes.iter().map(id).collect()
    }

    /// Unmounts everything. What cannot be unmounted after all tasks have ended is held by what the
    /// program has left in the kernel.
    pub fn unmount(self) -> Result<Vec<Leak>> {
        let mut leaks = Vec::new();
        for mount in self.mounts.iter().rev() {
            let at = mount.location();
            leaks.extend(accounts::await_none(|| {
                match rustix::mount::unmount(at, UnmountFlags::empty()) {
                    Err(Errno::BUSY) => {
                        let what = format!("{mount:?} file systems in use");
                        Ok(vec![Leak { what, before: 0, after: 1 }])
                    }
                    done => done.map(|()| Vec::new()).with_context(|| format!("unmounting {at}")),
                }
            })?);
        }
        Ok(leaks)
    }
}

/// The files that these paths lead to, and the symlinks on the way.
fn inodes_at(paths: &[Path]) -> BTreeSet<Inode> {
    paths.iter().flat_map(|path| [path.inode(), path.followed().inode()]).collect()
}

fn make(mount: Mount) -> Result<()> {
    let at = mount.location();
    let doing = || format!("mounting {mount:?} on {at}");
    match mount {
        Mount::Tmpfs => {
            let tmpfs = c"tmpfs";
            rustix::mount::mount(tmpfs, at, tmpfs, MountFlags::empty(), None).with_context(doing)
        }
        Mount::Second => rustix::mount::mount_bind(Mount::Tmpfs.location(), at).with_context(doing),
        Mount::Ext4 => ext4::mount(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_leads_to_a_file_makes_it() {
        let paths = ["m0", "s1", "f1", "d0/f"].map(|path| path.parse().expect("a path"));
        let names: Vec<String> = inodes_at(&paths).iter().map(Inode::to_string).collect();
        assert_eq!(names, ["f0", "f1", "d0/f", "s1"]);
    }
}

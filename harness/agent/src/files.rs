//! The files of a program and where they are.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path as FsPath;

use anyhow::{Context, Result};
use refan_program::{Inode, Path, PathKind};

/// Where debugfs is, on a kernel that has it.
pub const DEBUGFS: &str = "/debug";
/// Coverage of tasks.
pub const KCOV: &CStr = c"/debug/kcov";

/// Where a file of a program is, as system calls take it.
pub fn c_location(path: Path) -> CString {
    // No location has a NUL byte.
    CString::new(path.location()).unwrap_or_default()
}

/// Makes a file of the tmpfs with its first contents. Everybody may do everything with it: what
/// fanotify decides is not to be mixed up with what permissions do.
pub fn make(inode: Inode) -> Result<()> {
    let path = inode.path();
    let location = path.location();
    let at = FsPath::new(&location);
    let doing = || format!("making {location}");
    let write = || fs::write(at, inode.contents().unwrap_or_default()).with_context(doing);
    let mode = match inode.kind() {
        PathKind::Dir => {
            make_folder(at).with_context(doing)?;
            0o777
        }
        PathKind::Symlink => {
            // Nobody asks for a symlink's mode.
            return symlink(path.followed().to_string(), at).with_context(doing);
        }
        PathKind::Exec | PathKind::Waiter => {
            write()?;
            0o777
        }
        PathKind::Child | PathKind::File | PathKind::Ext | PathKind::Mounted => {
            if let (PathKind::Child, Some(folder)) = (inode.kind(), at.parent()) {
                make_folder(folder).with_context(doing)?;
                allow_all(folder, 0o777).with_context(doing)?;
            }
            write()?;
            0o666
        }
    };
    allow_all(at, mode).with_context(doing)
}

fn make_folder(at: &FsPath) -> std::io::Result<()> {
    match fs::create_dir(at) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

fn allow_all(at: &FsPath, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(at, Permissions::from_mode(mode))
}

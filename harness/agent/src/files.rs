//! The files of a program and where they are.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path as FsPath, PathBuf};

use anyhow::{Context, Result};
use refan_program::{Path, PathKind};

/// Where a run mounts the file system of its `f`, `d`, `x` and `w` files.
pub const TMPFS: &str = "/t";
/// Where a run mounts the file system of its `ext` files.
pub const EXT4: &str = "/e";

/// Where debugfs is, on a kernel that has it.
pub const DEBUGFS: &str = "/debug";
/// Coverage of tasks.
pub const KCOV: &CStr = c"/debug/kcov";

/// Where a file of a program is.
pub fn location(path: Path) -> PathBuf {
    let root = if path.kind == PathKind::Ext { EXT4 } else { TMPFS };
    FsPath::new(root).join(path.to_string())
}

/// The same as system calls take it.
pub fn c_location(path: Path) -> CString {
    use std::os::unix::ffi::OsStringExt;
    // The path has no NUL byte: it consists of the constants above and a path's text form.
    CString::new(location(path).into_os_string().into_vec()).unwrap_or_default()
}

/// Makes a file of the tmpfs with its first contents. Everybody may do everything with it: what
/// fanotify decides is not to be mixed up with what permissions do.
pub fn make(path: Path) -> Result<()> {
    let at = location(path);
    let doing = || format!("making {}", at.display());
    let mode = match path.kind {
        PathKind::Dir => {
            make_folder(&at).with_context(doing)?;
            0o777
        }
        PathKind::Exec | PathKind::Waiter => {
            fs::write(&at, path.contents().unwrap_or_default()).with_context(doing)?;
            0o777
        }
        PathKind::Child | PathKind::File | PathKind::Ext => {
            if let (PathKind::Child, Some(folder)) = (path.kind, at.parent()) {
                make_folder(folder).with_context(doing)?;
                allow_all(folder, 0o777).with_context(doing)?;
            }
            fs::write(&at, path.contents().unwrap_or_default()).with_context(doing)?;
            0o666
        }
    };
    allow_all(&at, mode).with_context(doing)
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

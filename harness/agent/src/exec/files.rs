//! What a command finds: file systems, and the files that the host brings along.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use refan_wire::{GuestRegion, Node, Placed, WORK_FOLDER};
use rustix::io::Errno;
use rustix::mount::MountFlags;

/// Bytes copied at a time.
const CHUNK: usize = 64 << 10;

/// Where a command has room: each a tmpfs, made in this order.
const ROOM: [&str; 3] = [WORK_FOLDER, "/tmp", "/dev/shm"];
/// Pseudo-terminals, where the kernel has them.
const TERMINALS: &str = "/dev/pts";
/// What programs take for granted in `/dev`, and where it points.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Makes the file systems.
pub fn furnish() -> Result<()> {
    for at in ROOM {
        make_folder(at)?;
        mount(c"tmpfs", at)?;
    }
    // What is put into the root may take up nearly all memory, not only the half.
    rustix::mount::mount_remount("/", MountFlags::empty(), c"size=90%")
        .context("giving the root more room")?;
    make_folder(TERMINALS)?;
    match rustix::mount::mount(c"devpts", TERMINALS, c"devpts", MountFlags::empty(), None) {
        Err(Errno::NODEV) => {}
        mounted => mounted.context("mounting the pseudo-terminals")?,
    }
    for (at, target) in LINKS {
        symlink(target, at).with_context(|| format!("making {at}"))?;
    }
    Ok(())
}

fn mount(kind: &CStr, at: &str) -> Result<()> {
    rustix::mount::mount(kind, at, kind, MountFlags::empty(), None)
        .with_context(|| format!("mounting {} on {at}", kind.to_string_lossy()))
}

fn make_folder(at: impl AsRef<Path>) -> Result<()> {
    match fs::create_dir(&at) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.with_context(|| format!("making {}", at.as_ref().display())),
    }
}

/// Puts files in place. The bytes of regular files are attached to the job, one behind the other.
pub fn place(region: &GuestRegion, files: &[Placed]) -> Result<()> {
    let mut attached = 0;
    for Placed { path, node } in files {
        ensure!(CString::new(path.as_slice()).is_ok(), "a path with a NUL byte: {path:?}");
        let at = Path::new(OsStr::from_bytes(path));
        let doing = || format!("making {} in the guest", at.display());
        match node {
            Node::Folder { mode } => {
                make_folder(at)?;
                fs::set_permissions(at, Permissions::from_mode(*mode)).with_context(doing)?;
            }
            Node::Link { target } => symlink(OsStr::from_bytes(target), at).with_context(doing)?,
            Node::File { mode, len, append } => {
                let mut options = OpenOptions::new();
                options.create(true).append(*append).write(true).truncate(!append);
                let mut file = options.open(at).with_context(doing)?;
                let mut bytes = vec![0; CHUNK.min(*len as usize)];
                let end = attached + *len as usize;
                while attached < end {
                    let part = &mut bytes[..CHUNK.min(end - attached)];
                    region.attached(attached, part)?;
                    file.write_all(part).with_context(doing)?;
                    attached += part.len();
                }
                file.set_permissions(Permissions::from_mode(*mode)).with_context(doing)?;
            }
        }
    }
    Ok(())
}

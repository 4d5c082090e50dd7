//! What the kernel can do.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use refan_abi::{ApiValues, EventMask, InitFlags, MarkFlags};
use refan_wire::Record;

use crate::init;
use crate::sys::sys;

/// Answers [`refan_wire::Job::Probe`].
pub fn probe(api: ApiValues) -> Record {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let control = new_group(api.init_bits(InitFlags::CLASS_CONTENT | InitFlags::RESTARTABLE));
    let (init, open_queue) = match &control {
        Ok(control) => (0, open_queue(control, api)),
        Err(error) => (*error, 0),
    };
    Record::Probe {
        release: release.trim().to_owned(),
        init,
        open_queue,
        classic: classic_permission_events(api),
        timer_resolution: init::timer_resolution(),
    }
}

/// A group's fd, or -errno.
fn new_group(flags: u32) -> Result<OwnedFd, i64> {
    // SAFETY: no pointers.
    owned(unsafe { sys!(libc::SYS_fanotify_init, flags, libc::O_RDONLY) })
}

fn owned(ret: i64) -> Result<OwnedFd, i64> {
    // SAFETY: the kernel has returned this number as a new fd, which nobody else knows.
    if ret < 0 { Err(ret) } else { Ok(unsafe { OwnedFd::from_raw_fd(ret as i32) }) }
}

fn open_queue(control: &OwnedFd, api: ApiValues) -> i64 {
    // SAFETY: the request takes no argument.
    let ret = unsafe { sys!(libc::SYS_ioctl, control.as_raw_fd(), api.open_queue_ioctl, 0) };
    owned(ret).map_or_else(|error| error, |_| 0)
}

/// Makes a classic group and marks a folder that nobody opens: without support for permission
/// events (`CONFIG_FANOTIFY_ACCESS_PERMISSIONS`) the mark fails.
fn classic_permission_events(api: ApiValues) -> i64 {
    let group = match new_group(api.init_bits(InitFlags::CLASS_CONTENT)) {
        Ok(group) => group,
        Err(error) => return error,
    };
    let (flags, mask) = (MarkFlags::ADD.bits(), EventMask::OPEN_PERM.bits());
    let (group, at, path) = (group.as_raw_fd(), libc::AT_FDCWD, c"/".as_ptr());
    // SAFETY: the path is a constant C string.
    unsafe { sys!(libc::SYS_fanotify_mark, group, flags, mask, at, path) }
}

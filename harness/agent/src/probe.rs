//! What the kernel can do.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use refan_abi::{ApiValues, EventMask, InitFlags, MarkFlags};
use refan_program::Facility;
use refan_wire::Record;

use crate::paging::Pager;
use crate::sys::{self, sys};
use crate::{executor, ext4, faults, init, sockets};

/// Answers [`refan_wire::Job::Probe`].
pub fn probe(api: ApiValues) -> Record {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let control = new_group(api.init_bits(InitFlags::CLASS_CONTENT | InitFlags::RESTARTABLE));
    let (init, open_queue) = match &control {
        Ok(control) => (0, open_queue(control, api).err().unwrap_or(0)),
        Err(error) => (*error, 0),
    };
    Record::Probe {
        release: release.trim().to_owned(),
        init,
        open_queue,
        classic: classic_permission_events(api),
        facilities: Facility::ALL
            .into_iter()
            .filter(|facility| has(*facility))
            .map(|facility| facility.name().to_owned())
            .collect(),
        timer_resolution: init::timer_resolution(),
        processors: processors(),
    }
}

fn processors() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count())
}

fn has(facility: Facility) -> bool {
    match facility {
        Facility::CompatCalls => answers_32_bit_calls(),
        Facility::Sockets => owned(sockets::open()).is_ok(),
        Facility::FaultInjection => faults::available(),
        Facility::Watchdog => Path::new("/proc/sys/fs/fanotify/watchdog_timeout").exists(),
        Facility::MissingPages => Pager::open().is_ok(),
        Facility::Ext4 => ext4::available(),
    }
}

/// A kernel that does not serve the interrupt of 32-bit calls ends the process that raises it, so a
/// child does.
fn answers_32_bit_calls() -> bool {
    // SAFETY: no pointers: without `CLONE_VM` the child has a copy of this stack to go on with.
    let child = unsafe { sys!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        sys::exit(if sys::ioctl32(-1, 0) == -i64::from(libc::EBADF) { 0 } else { 1 });
    }
    child > 0 && executor::wait_for(child as i32).is_ok_and(|end| end.exit_status() == Some(0))
}

/// A group's fd, or -errno.
pub(crate) fn new_group(flags: u32) -> Result<OwnedFd, i64> {
    // SAFETY: no pointers.
    owned(unsafe { sys!(libc::SYS_fanotify_init, flags, libc::O_RDONLY) })
}

/// The fd that a call has returned, or -errno.
pub(crate) fn owned(ret: i64) -> Result<OwnedFd, i64> {
    // SAFETY: the kernel has returned this number as a new fd, which nobody else knows.
    if ret < 0 { Err(ret) } else { Ok(unsafe { OwnedFd::from_raw_fd(ret as i32) }) }
}

/// A queue's fd, or -errno.
pub(crate) fn open_queue(control: &OwnedFd, api: ApiValues) -> Result<OwnedFd, i64> {
    // SAFETY: the request takes no argument.
    owned(unsafe { sys!(libc::SYS_ioctl, control.as_raw_fd(), api.open_queue_ioctl, 0) })
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

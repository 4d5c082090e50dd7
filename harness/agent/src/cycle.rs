//! A restart by its bare calls: what a program of the same calls is measured against.

use std::ffi::{CStr, c_void};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use refan_abi::{ApiValues, EventMask, Events, InitFlags, MarkFlags, RESPONSE_LEN, Response};
use rustix::fs::{Mode, OFlags};

use crate::stack::Stack;
use crate::sys::{self, sys};
use crate::{calls, executor, probe, task};

/// The file that is opened, on the guest's own root.
const FILE: &CStr = c"/cycle";

/// Makes the cycle so often, one after another: a file is opened, the event is read, the queue is
/// closed and opened anew, the event is read again and answered.
pub fn restart(api: ApiValues, times: u32) -> Result<()> {
    let (flags, mode) = (OFlags::CREATE | OFlags::WRONLY, Mode::RUSR);
    drop(rustix::fs::open(FILE, flags, mode).context("making a file")?);
    (0..times).try_for_each(|_| once(api))
}

fn once(api: ApiValues) -> Result<()> {
    let flags = api.init_bits(InitFlags::CLASS_CONTENT | InitFlags::RESTARTABLE);
    let control = done("fanotify_init", probe::new_group(flags))?;
    mark(&control)?;
    let queue = done("opening a queue", probe::open_queue(&control, api))?;
    // SAFETY: the process opens the file, which it is passed nothing for, and is waited for.
    let accessor = unsafe { task::spawn(access, Stack::COORDINATOR, 0, std::ptr::null_mut()) };
    ensure!(accessor > 0, "starting a process: clone returned {accessor}");
    drop(read(&queue)?);
    drop(queue);
    let queue = done("opening a queue again", probe::open_queue(&control, api))?;
    let event = read(&queue)?;
    let written = calls::respond(queue.as_raw_fd(), event.as_raw_fd(), Response::ALLOW, None);
    ensure!(written == RESPONSE_LEN as i64, "answering returned {written}");
    let ended = executor::wait_for(accessor as i32)?;
    ensure!(ended.exit_status() == Some(0), "the process that opened the file ended as {ended:?}");
    Ok(())
}

fn done<T>(what: &str, made: Result<T, i64>) -> Result<T> {
    made.map_err(|error| anyhow::anyhow!("{what} returned {error}"))
}

fn mark(control: &OwnedFd) -> Result<()> {
    let (flags, mask) = (MarkFlags::ADD.bits(), EventMask::OPEN_PERM.bits());
    let (control, at, path) = (control.as_raw_fd(), libc::AT_FDCWD, FILE.as_ptr());
    // SAFETY: the path is a constant C string.
    match unsafe { sys!(libc::SYS_fanotify_mark, control, flags, mask, at, path) } {
        0 => Ok(()),
        error => bail!("fanotify_mark returned {error}"),
    }
}

/// Reads an event: the fd that it comes with.
fn read(queue: &OwnedFd) -> Result<OwnedFd> {
    let mut buffer = [0; 64];
    let len = rustix::io::read(queue, &mut buffer).context("reading an event")?;
    let event = Events::new(&buffer[..len]).next().context("there is no event")??;
    done("the event's fd", probe::owned(event.fd.into()))
}

extern "C" fn access(_: *mut c_void) -> i32 {
    // SAFETY: no pointers. A queue that is open here as well would stay open when it is closed.
    unsafe { sys!(libc::SYS_close_range, 0, u32::MAX, 0) };
    // SAFETY: the path is a constant C string.
    let file = unsafe { sys!(libc::SYS_open, FILE.as_ptr(), libc::O_RDONLY) };
    sys::exit(i32::from(file < 0))
}

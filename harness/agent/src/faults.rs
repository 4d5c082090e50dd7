//! Allocations that fail on demand (`Documentation/fault-injection/fault-injection.rst`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::files;
use crate::sys::sys;

/// The countdown of the calling task.
const COUNTDOWN: &std::ffi::CStr = c"/proc/thread-self/fail-nth";
/// Number of the fd on it: high, so that it takes no number that a program would get, and still
/// within a task's smallest table.
const NUMBER: i32 = 63;

/// Whether the kernel can do it.
pub fn available() -> bool {
    Path::new("/proc/thread-self/fail-nth").exists() && settings().is_dir()
}

fn settings() -> std::path::PathBuf {
    Path::new(files::DEBUGFS).join("failslab")
}

/// Makes allocations that can wait fail like all others, and the kernel silent about it.
pub fn prepare() -> Result<()> {
    if !available() {
        return Ok(());
    }
    for kind in ["failslab", "fail_page_alloc"] {
        for (name, value) in [("ignore-gfp-wait", "N"), ("verbose", "0")] {
            let path = Path::new(files::DEBUGFS).join(kind).join(name);
            if path.exists() {
                fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// The countdown of the calling task, running.
pub struct Armed(i32);

impl Armed {
    /// Lets the n-th allocation from now on fail. -errno where the countdown cannot be set.
    pub fn new(nth: u8) -> Result<Self, i64> {
        let mut text = [0; 3];
        let digits = decimal(nth, &mut text);
        let armed = Self(open_countdown()?);
        // SAFETY: a local with its length.
        match unsafe { sys!(libc::SYS_write, armed.0, digits.as_ptr(), digits.len()) } {
            error @ ..0 => Err(error),
            _ => Ok(armed),
        }
    }

    /// Whether the countdown has come to its end.
    pub fn has_fired(&self) -> bool {
        let mut text = [0u8; 16];
        // SAFETY: the buffer is as long as the call is told.
        let len = unsafe { sys!(libc::SYS_pread64, self.0, text.as_mut_ptr(), text.len(), 0) };
        len > 0 && text[0] == b'0'
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        // SAFETY: a constant with its length; the fd is this value's own.
        unsafe {
            sys!(libc::SYS_write, self.0, b"0".as_ptr(), 1);
            sys!(libc::SYS_close, self.0);
        }
    }
}

/// The countdown at [`NUMBER`]. Where the calling task has no fds left there is room for this one, which takes the
/// privilege to raise a limit.
fn open_countdown() -> Result<i32, i64> {
    let no_room = [-i64::from(libc::EMFILE), -i64::from(libc::EINVAL)];
    match open_within_limit() {
        Err(error) if no_room.contains(&error) => {
            let room = u64::try_from(NUMBER).unwrap_or_default() + 1;
            let limit = limit_fds(libc::rlimit64 { rlim_cur: room, rlim_max: room })?;
            let opened = open_within_limit();
            limit_fds(limit)?;
            opened
        }
        opened => opened,
    }
}

fn open_within_limit() -> Result<i32, i64> {
    let (at, path) = (libc::AT_FDCWD, COUNTDOWN.as_ptr());
    // SAFETY: the path is a constant C string.
    let fd = unsafe { sys!(libc::SYS_openat, at, path, libc::O_RDWR) };
    if fd < 0 {
        return Err(fd);
    }
    // SAFETY: no pointers, here and below.
    let high = unsafe { sys!(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, NUMBER) };
    // SAFETY: as above.
    unsafe { sys!(libc::SYS_close, fd) };
    if high < 0 { Err(high) } else { Ok(high as i32) }
}

/// Sets `RLIMIT_NOFILE` of the calling task; returns what it was.
fn limit_fds(limit: libc::rlimit64) -> Result<libc::rlimit64, i64> {
    let mut before = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let (new, old) = (&raw const limit, &raw mut before);
    // SAFETY: both structures live through the call.
    match unsafe { sys!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, new, old) } {
        0 => Ok(before),
        error => Err(error),
    }
}

/// The number in decimal digits, without an allocation.
fn decimal(number: u8, text: &mut [u8; 3]) -> &[u8] {
    *text = [b'0' + number / 100, b'0' + number / 10 % 10, b'0' + number % 10];
    &text[text.iter().position(|digit| *digit != b'0').unwrap_or(2)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in 0..=u8::MAX {
            assert_eq!(decimal(number, &mut [0; 3]), number.to_string().as_bytes());
        }
    }
}

//! Which places of the kernel a task passes (`Documentation/dev-tools/kcov.rst`).
//!
//! A task that is to be watched opens KCOV, maps its buffer and closes it again: the mapping keeps the
//! buffer, and the memory is that of all tasks, so that others can read how far the task has come. It
//! is watched from then on until it exits. Its fd stands in the task's table only while no call of the
//! program is under way.
//!
//! Where all tasks are watched, buffers are lent to them ([`Buffers`]): PID 1 makes them once, since
//! making one takes the kernel longer than a short program. A task has them in its table when it
//! starts, before it closes all that is not its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use refan_program::Program;
use refan_wire::{Moment, Place};

use crate::files;
use crate::sys::sys;

/// Words of a buffer: the count and so many places, several times what the longest calls pass.
const WORDS: usize = 32 << 10;
const BYTES: usize = WORDS * size_of::<u64>();

/// `_IOR('c', 1, unsigned long)` and `_IO('c', 100)` of `include/uapi/linux/kcov.h`.
const INIT_TRACE: usize = 0x8008_6301;
const ENABLE: usize = 0x6364;
/// `KCOV_TRACE_PC`.
const TRACE_PC: usize = 0;

/// In the upper half of a word that tells a moment.
const PREEMPTIBLE: u32 = 1 << 31;

/// The buffer of a task that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage(usize);

impl Coverage {
    /// Watches the calling task from now on. None where the kernel has no KCOV or the task cannot
    /// open it.
    pub fn begin() -> Option<Self> {
        let buffer = Buffer::make()?;
        let enabled = buffer.enable();
        // SAFETY: no pointers.
        unsafe { sys!(libc::SYS_close, buffer.fd) };
        if enabled.is_err() {
            buffer.coverage.unmap();
        }
        enabled.ok().map(|()| buffer.coverage)
    }

    /// From an address that [`Coverage::address`] gave.
    ///
    /// # Safety
    /// The buffer is not unmapped.
    pub unsafe fn at(address: usize) -> Option<Self> {
        (address != 0).then_some(Self(address))
    }

    /// Where the buffer is; never 0.
    pub fn address(self) -> usize {
        self.0
    }

    /// Forgets what was passed so far.
    pub fn reset(self) {
        self.word(0).store(0, Ordering::Release);
    }

    /// How many places were passed since the reset, of those that found room.
    pub fn count(self) -> usize {
        (self.word(0).load(Ordering::Acquire) as usize).min(WORDS - 1)
    }

    /// The places that were passed since the reset, in order.
    pub fn places(self) -> impl Iterator<Item = Place> {
        (1..=self.count()).map(move |at| place(self.word(at).load(Ordering::Relaxed)))
    }

    /// Gives the buffer back.
    pub fn unmap(self) {
        // SAFETY: the range that `begin` mapped; who unmaps it uses it no more.
        unsafe { sys!(libc::SYS_munmap, self.0, BYTES) };
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: inside the mapping, aligned, and only ever accessed atomically by user space; the
        // kernel writes whole words.
        unsafe { AtomicU64::from_ptr((self.0 as *mut u64).add(at)) }
    }
}

/// What a word of a buffer tells: an address, whose upper half is ones, or in place of these what
/// `kernel-configs/instrumentation/kcov-tells-when.patch` puts there.
fn place(word: u64) -> Place {
    let (upper, address) = ((word >> 32) as u32, word as u32);
    let moment = Moment { at: upper & !PREEMPTIBLE, preemptible: upper & PREEMPTIBLE != 0 };
    Place { address, moment: (upper != u32::MAX).then_some(moment) }
}

/// A buffer that watches no task, or that of a task that the fd is not needed for any more.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    fd: i32,
    /// What is seen in it.
    pub coverage: Coverage,
}

impl Buffer {
    /// None where the kernel has no KCOV or the process cannot open it.
    fn make() -> Option<Self> {
        let path = files::KCOV.as_ptr();
        let flags = libc::O_RDWR | libc::O_CLOEXEC;
        // SAFETY: the path is a constant C string.
        let fd = unsafe { sys!(libc::SYS_openat, libc::AT_FDCWD, path, flags) };
        if fd < 0 {
            return None;
        }
        // SAFETY: no pointers.
        if unsafe { sys!(libc::SYS_ioctl, fd, INIT_TRACE, WORDS) } == 0 {
            let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            let at = unsafe { sys!(libc::SYS_mmap, 0, BYTES, prot, flags, fd, 0) };
            if at > 0 {
                return Some(Self { fd: fd as i32, coverage: Coverage(at as usize) });
            }
        }
        // SAFETY: no pointers.
        unsafe { sys!(libc::SYS_close, fd) };
        None
    }

    /// Watches the calling task from now on, or gives -errno.
    pub fn enable(self) -> Result<(), i64> {
        self.coverage.reset();
        // SAFETY: no pointers.
        match unsafe { sys!(libc::SYS_ioctl, self.fd, ENABLE, TRACE_PC) } {
            0 => Ok(()),
            error => Err(error),
        }
    }
}

/// The buffers that PID 1 lends, one for each task of a program. When a task exits the kernel takes
/// its hands off the buffer (`kcov_task_exit`), which then serves the next one.
pub struct Buffers([Cell<Option<Buffer>>; Program::MAX_TASKS]);

impl Default for Buffers {
    fn default() -> Self {
        Self([const { Cell::new(None) }; Program::MAX_TASKS])
    }
}

impl Buffers {
    /// Makes those that so many tasks need; says how many were made. Where there is no KCOV there are
    /// none.
    pub fn provide(&self, tasks: usize) -> usize {
        let missing = self.0.iter().take(tasks).filter(|place| place.get().is_none());
        let make = |place: &Cell<Option<Buffer>>| {
            place.set(Buffer::make());
            usize::from(place.get().is_some())
        };
        missing.map(make).sum()
    }

    /// That of a task.
    pub fn of_task(&self, task: usize) -> Option<Buffer> {
        self.0.get(task).and_then(Cell::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_tells_a_moment_or_none() {
        let address = 0x8123_4567;
        assert_eq!(place(0xffff_ffff_8123_4567), Place { address, moment: None });
        let moment = |at, preemptible| Some(Moment { at, preemptible });
        assert_eq!(place(0x0000_0010_8123_4567).moment, moment(16, false));
        assert_eq!(place(0x8000_0010_8123_4567), Place { address, moment: moment(16, true) });
    }
}

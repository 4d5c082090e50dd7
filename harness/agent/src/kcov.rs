//! Which places of the kernel a task passes (`Documentation/dev-tools/kcov.rst`).
//!
//! A task that is to be watched opens KCOV, maps its buffer and closes it again: the mapping keeps the
//! buffer, and the memory is that of all tasks, so that others can read how far the task has come. It
//! is watched from then on until it exits. Its fd stands in the task's table only while no call of the
//! program is under way.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// The buffer of a task that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage(usize);

impl Coverage {
    /// Watches the calling task from now on. None where the kernel has no KCOV or the task cannot
    /// open it.
    pub fn begin() -> Option<Self> {
        let path = files::KCOV.as_ptr();
        // SAFETY: the path is a constant C string.
        let fd = unsafe { sys!(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_RDWR) };
        if fd < 0 {
            return None;
        }
        // SAFETY: no pointers.
        let begun = (unsafe { sys!(libc::SYS_ioctl, fd, INIT_TRACE, WORDS) } == 0)
            .then(|| {
                let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
                // SAFETY: a fresh mapping at an address of the kernel's choice.
                let at = unsafe { sys!(libc::SYS_mmap, 0, BYTES, prot, flags, fd, 0) };
                (at > 0).then_some(Self(at as usize))
            })
            .flatten()
            .filter(|coverage| {
                // SAFETY: no pointers.
                let enabled = unsafe { sys!(libc::SYS_ioctl, fd, ENABLE, TRACE_PC) } == 0;
                if !enabled {
                    coverage.unmap();
                }
                enabled
            });
        // SAFETY: no pointers.
        unsafe { sys!(libc::SYS_close, fd) };
        begun
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

    /// The places that were passed, the first so many.
    pub fn places(self, count: usize) -> Vec<u32> {
        (1..=count.min(WORDS - 1)).map(|at| self.word(at).load(Ordering::Relaxed) as u32).collect()
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

//! Memory whose pages are missing until they are let in, so that a call that copies to it sleeps
//! there (`userfaultfd(2)`).
//!
//! All tasks share one memory, and one userfaultfd watches it. The first process of the program's
//! pid namespace holds it: a task that lets pages in has a copy of the fd for as long as that takes.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Result, bail};
use refan_program::Program;

use crate::sys::sys;

/// Number of the fd in the process that holds it for tasks.
pub const HELD: i32 = 0;
/// That process, as tasks see it.
const HOLDER: i32 = 1;

/// Bytes that can be there, and bytes behind them that can be missing.
const HALF: usize = Program::MAX_READ as usize;

/// Requests, version and mode of include/uapi/linux/userfaultfd.h.
const API: usize = 0xc018_aa3f;
const REGISTER: usize = 0xc020_aa00;
const ZEROPAGE: usize = 0xc020_aa04;
const VERSION: u64 = 0xaa;
const MODE_MISSING: u64 = 1;

/// A userfaultfd on the memory of the calling process.
pub struct Pager(OwnedFd);

impl Pager {
    /// Makes one. It sees the faults of the kernel, too, which takes `CAP_SYS_PTRACE`.
    pub fn open() -> Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { sys!(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        if fd < 0 {
            bail!("userfaultfd returned {fd}");
        }
        // SAFETY: the kernel has returned this number as a new fd, which nobody else knows.
        let pager = Self(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        // `struct uffdio_api`: version, features, requests.
        let mut api = [VERSION, 0, 0];
        // SAFETY: the structure lives through the call.
        match unsafe { sys!(libc::SYS_ioctl, pager.number(), API, api.as_mut_ptr()) } {
            0 => Ok(pager),
            error => bail!("UFFDIO_API returned {error}"),
        }
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// New memory, the pages of whose second half are missing.
    pub fn map(&self) -> Result<MissingMemory> {
        let (prot, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a mapping at an address of the kernel's choice.
        let at = unsafe { sys!(libc::SYS_mmap, 0, 2 * HALF, prot, flags, usize::MAX, 0) };
        let Ok(base) = usize::try_from(at) else { bail!("mmap returned {at}") };
        let memory = MissingMemory(base);
        // `struct uffdio_register`: beginning and length, mode, requests.
        let mut range = [memory.middle() as u64, HALF as u64, MODE_MISSING, 0];
        // SAFETY: the structure lives through the call; the range is of the new mapping.
        match unsafe { sys!(libc::SYS_ioctl, self.number(), REGISTER, range.as_mut_ptr()) } {
            0 => Ok(memory),
            error => {
                memory.unmap();
                bail!("UFFDIO_REGISTER returned {error}")
            }
        }
    }
}

/// A buffer of which the first half is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingMemory(usize);

impl MissingMemory {
    /// From an address that [`MissingMemory::address`] gave.
    ///
    /// # Safety
    /// The memory is not unmapped.
    pub unsafe fn at(address: usize) -> Option<Self> {
        (address != 0).then_some(Self(address))
    }

    /// Where it begins; never 0.
    pub fn address(self) -> usize {
        self.0
    }

    fn middle(self) -> usize {
        self.0 + HALF
    }

    /// Where a buffer begins whose first `good` bytes are there. The others are missing until they
    /// are let in; up to `MAX_READ` of either are mapped.
    pub fn buffer(self, good: usize) -> *mut u8 {
        (self.middle() - good.min(HALF)) as *mut u8
    }

    /// Lets in what is missing, as a task: 0 or -errno.
    pub fn let_in(self) -> i64 {
        // SAFETY: no pointers in this and the calls below, but where it says so.
        let pidfd = unsafe { sys!(libc::SYS_pidfd_open, HOLDER, 0) };
        if pidfd < 0 {
            return pidfd;
        }
        // SAFETY: as above.
        let pager = unsafe { sys!(libc::SYS_pidfd_getfd, pidfd, HELD, 0) };
        // SAFETY: as above.
        unsafe { sys!(libc::SYS_close, pidfd) };
        if pager < 0 {
            return pager;
        }
        // `struct uffdio_zeropage`: beginning and length, mode, bytes that were filled.
        let mut range = [self.middle() as u64, HALF as u64, 0, 0];
        // SAFETY: the structure lives through the call, and all of the range is of the mapping.
        let ret = unsafe { sys!(libc::SYS_ioctl, pager, ZEROPAGE, range.as_mut_ptr()) };
        // SAFETY: as above.
        unsafe { sys!(libc::SYS_close, pager) };
        // They are there already.
        if ret == -i64::from(libc::EEXIST) { 0 } else { ret }
    }

    /// Gives it back.
    pub fn unmap(self) {
        // SAFETY: the range that `Pager::map` mapped; who unmaps it uses it no more.
        unsafe { sys!(libc::SYS_munmap, self.0, 2 * HALF) };
    }
}

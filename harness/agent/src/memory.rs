//! Memory of the agent as the kernel sees it.

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use refan_program::Program;

use crate::sys::sys;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Gives anonymous memory back to the kernel: it reads as zeros until it is written again.
///
/// # Safety
/// The range is the caller's, begins and ends at a page's bounds, and nobody needs what it holds.
pub unsafe fn give_back(start: *mut u8, len: usize) -> Result<()> {
    // SAFETY: the caller's promise.
    let result = unsafe { sys!(libc::SYS_madvise, start, len, libc::MADV_DONTNEED) };
    ensure!(result == 0, "giving {len} bytes of memory back: madvise returned {result}");
    Ok(())
}

/// Has the kernel give all memory now that the agent writes to and keeps: what is not `lent`, in ranges of whole pages
/// in their order.
pub fn populate(lent: &[Range<usize>]) -> Result<()> {
    let maps = fs::read_to_string("/proc/self/maps").context("reading /proc/self/maps")?;
    for range in maps.lines().filter_map(written).flat_map(|range| without(range, lent)) {
        // SAFETY: what is there stays as it is.
        let result =
            unsafe { sys!(libc::SYS_madvise, range.start, range.len(), libc::MADV_POPULATE_WRITE) };
        // Kernels before 5.14 do not know how.
        ensure!(
            result == 0 || result == -i64::from(libc::EINVAL),
            "populating {} bytes of memory: madvise returned {result}",
            range.len()
        );
    }
    Ok(())
}

/// The range of a mapping that is this process's own to write, by its line in `/proc/self/maps`.
fn written(line: &str) -> Option<Range<usize>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    rest.starts_with("rw-p").then_some(address(start)?..address(end)?)
}

/// What is left of a range without others, which are in their order.
fn without(range: Range<usize>, others: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut start, mut left) = (range.start, Vec::new());
    for other in others {
        left.push(start..other.start.min(range.end));
        start = start.max(other.end);
    }
    left.push(start..range.end);
    left.retain(|range| !range.is_empty());
    left
}

/// Bytes behind the last of which is no memory, where a call does not expect it. What a killed task leaves of it stays mapped.
pub struct EndingMemory {
    base: usize,
    mapped: usize,
    len: usize,
}

impl EndingMemory {
    /// So many bytes, or -errno.
    pub fn new(len: usize) -> Result<Self, i64> {
        let mapped = len.next_multiple_of(PAGE) + PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a mapping at an address of the kernel's choice.
        let base =
            unsafe { sys!(libc::SYS_mmap, 0, mapped, libc::PROT_NONE, flags, usize::MAX, 0) };
        let memory = Self { base: usize::try_from(base).map_err(|_| base)?, mapped, len };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: all but the last page of the new mapping, which nobody refers to yet.
        match unsafe { sys!(libc::SYS_mprotect, memory.base, mapped - PAGE, access) } {
            0 => Ok(memory),
            error => Err(error),
        }
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        let start = self.base + self.mapped - PAGE - self.len;
        // SAFETY: the bytes in front of the last page are mapped for reading and writing, zeroed
        // by the kernel, and borrowed from `self` alone.
        unsafe { std::slice::from_raw_parts_mut(start as *mut u8, self.len) }
    }
}

impl Drop for EndingMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping's own address and length; `bytes` cannot be in use.
        unsafe { sys!(libc::SYS_munmap, self.base, self.mapped) };
    }
}

/// Addresses at which a task maps a file: whoever gives them up gives up the mapping too, also one that
/// a killed task has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(usize);

impl Window {
    /// Bytes that can be mapped.
    const LEN: usize = Program::MAX_READ as usize;

    /// Keeps some addresses free.
    pub fn reserve() -> Result<Self> {
        match Self::place(0, Self::LEN, libc::PROT_NONE, libc::MAP_ANONYMOUS, -1) {
            at if at > 0 => Ok(Self(at as usize)),
            error => bail!("reserving {} bytes of memory: mmap returned {error}", Self::LEN),
        }
    }

    /// From an address that [`Window::address`] gave.
    ///
    /// # Safety
    /// The window is not given up.
    pub unsafe fn at(address: usize) -> Option<Self> {
        (address != 0).then_some(Self(address))
    }

    /// Where it begins; never 0.
    pub fn address(self) -> usize {
        self.0
    }

    /// Maps so many bytes of a file, at most [`Program::MAX_READ`], for reading: the address or
    /// -errno.
    pub fn map(self, fd: i32, size: usize) -> i64 {
        Self::place(self.0, size.min(Self::LEN), libc::PROT_READ, libc::MAP_FIXED, fd)
    }

    /// Ends the mapping, and keeps the addresses.
    pub fn clear(self) {
        let flags = libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        Self::place(self.0, Self::LEN, libc::PROT_NONE, flags, -1);
    }

    /// Gives the addresses up.
    pub fn give_up(self) {
        // SAFETY: the range that `reserve` mapped; who gives it up uses it no more.
        unsafe { sys!(libc::SYS_munmap, self.0, Self::LEN) };
    }

    fn place(at: usize, size: usize, protection: i32, flags: i32, fd: i32) -> i64 {
        let flags = flags | libc::MAP_PRIVATE;
        // SAFETY: at addresses of the kernel's choice or inside a window.
        unsafe { sys!(libc::SYS_mmap, at, size, protection, flags, fd, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::ARENA;

    #[test]
    fn what_is_lent_is_left_out() {
        let line = "7f0000001000-7f0000003000 rw-p 00000000 00:00 0";
        assert_eq!(written(line), Some(0x7f00_0000_1000..0x7f00_0000_3000));
        assert_eq!(written(&line.replace("rw-p", "rw-s")), None);
        assert_eq!(written(&line.replace("rw-p", "r--p")), None);
        let lent = [20..30, 40..50];
        let left = |of| -> Vec<(usize, usize)> {
            without(of, &lent).iter().map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(left(10..60), [(10, 20), (30, 40), (50, 60)]);
        assert_eq!(left(25..45), [(30, 40)]);
        assert_eq!(left(0..5), [(0, 5)]);
        assert_eq!(left(60..70), [(60, 70)]);
        assert_eq!(left(20..30), []);
    }

    #[test]
    fn what_is_populated_stays() {
        let kept = vec![7u8; 3 * PAGE];
        populate(&[ARENA.lent()]).expect("memory");
        assert!(kept.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn it_ends() {
        for len in [0, 1, 24, PAGE, PAGE + 1] {
            let mut memory = EndingMemory::new(len).expect("memory");
            memory.bytes().fill(1);
            let bytes = memory.bytes();
            assert_eq!(bytes.len(), len);
            let mut pipe = [0i32; 2];
            // SAFETY: the kernel fills two numbers; it reads the bytes and one behind them.
            let (whole, beyond) = unsafe {
                assert_eq!(sys!(libc::SYS_pipe2, pipe.as_mut_ptr(), 0), 0);
                let whole = sys!(libc::SYS_write, pipe[1], bytes.as_ptr(), len);
                let behind = bytes.as_ptr().wrapping_add(len);
                (whole, sys!(libc::SYS_write, pipe[1], behind, 1))
            };
            assert_eq!((whole, beyond), (len as i64, -i64::from(libc::EFAULT)));
            // SAFETY: both fds are this test's own.
            assert_eq!(unsafe { pipe.map(|fd| sys!(libc::SYS_close, fd)) }, [0, 0]);
        }
    }
}

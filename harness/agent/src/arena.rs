//! The agent's memory allocator: one bump pointer.
//!
//! The processes of a run share PID 1's memory (see [`crate::task`]), and any of them can be
//! killed between two instructions. An allocator that they share must therefore be without locks
//! and without thread-local caches; libc's has both. A job's allocations are few and all end with
//! it, so nothing is reused but the newest block; [`Arena::reset`] takes back the rest.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use crate::memory::{self, PAGE};

/// Virtual size. A page costs memory only once it is touched.
const SIZE: usize = 128 << 20;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u8; SIZE]>);

// SAFETY: the bytes are only handed out by the bump pointer, each to one owner.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; SIZE]));

/// The allocator.
pub struct Arena {
    used: AtomicUsize,
}

/// The allocator of the agent.
#[global_allocator]
pub static ARENA: Arena = Arena { used: AtomicUsize::new(0) };

impl Arena {
    /// How far the arena is used: what [`Arena::reset`] goes back to.
    pub fn mark(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Frees everything that was allocated since `mark` was taken.
    ///
    /// # Safety
    /// None of it is used any more, and every process that shares the memory but the calling one
    /// has ended.
    pub unsafe fn reset(&self, mark: usize) {
        self.used.store(mark, Ordering::Release);
    }

    /// The pages behind its end, which are given back.
    pub fn lent(&self) -> Range<usize> {
        let start = MEMORY.0.get().addr();
        start + self.mark().next_multiple_of(PAGE)..start + SIZE
    }

    /// Gives the memory behind its end back to the kernel.
    ///
    /// # Safety
    /// No other process shares the memory.
    pub unsafe fn give_back(&self) -> Result<()> {
        let used = self.mark().next_multiple_of(PAGE);
        // SAFETY: `used` is at most SIZE, a multiple of a page; nothing behind it is handed out.
        unsafe { memory::give_back(MEMORY.0.get().cast::<u8>().add(used), SIZE - used) }
    }

    /// The offset behind a block, if it is one of this arena.
    fn end_of(block: *mut u8, len: usize) -> usize {
        block.addr().wrapping_sub(MEMORY.0.get().addr()).wrapping_add(len)
    }
}

// SAFETY: a block is a range that the bump pointer has passed once, so no two live blocks overlap;
// ranges are aligned and inside the memory.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 4096 {
            return std::ptr::null_mut();
        }
        let mut at = 0;
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            at = used.checked_next_multiple_of(layout.align())?;
            at.checked_add(layout.size()).filter(|end| *end <= SIZE)
        });
        match taken {
            // SAFETY: `at` is at most SIZE.
            Ok(_) => unsafe { MEMORY.0.get().cast::<u8>().add(at) },
            Err(_) => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let end = Self::end_of(block, layout.size());
        // Only the newest block can be given back; any other waits for the end of the job.
        let _ = self.used.compare_exchange(
            end,
            end - layout.size(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let end = Self::end_of(block, layout.size());
        let grown = end - layout.size() + size;
        if grown <= SIZE
            && self.used.compare_exchange(end, grown, Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller's promise: a non-zero size that does not overflow when aligned.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both blocks are valid for the old size and do not overlap.
            unsafe { block.copy_to_nonoverlapping(new, layout.size()) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_apart_and_grow() {
        let mut blocks: Vec<Vec<u64>> = (0..50).map(|i| vec![i; 7]).collect();
        for (i, block) in blocks.iter_mut().enumerate() {
            block.extend([i as u64; 100]);
        }
        for (i, block) in blocks.iter().enumerate() {
            assert!(block.iter().all(|word| *word == i as u64), "{i}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let layout = Layout::from_size_align(SIZE + 1, 8).expect("a layout");
        // SAFETY: the layout's size is not zero.
        assert!(unsafe { ARENA.alloc(layout) }.is_null());
    }
}

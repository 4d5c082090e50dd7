//! Stacks for the processes that share PID 1's memory.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ops::Range;

use anyhow::Result;
use refan_program::{Program, Task};

use crate::memory;

/// Bytes of one. Only pages that are touched cost memory.
const SIZE: usize = 256 << 10;
/// One for each task, and for coordinator and helper.
const COUNT: usize = Program::MAX_TASKS + 2;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[[u8; SIZE]; COUNT]>);

// SAFETY: each stack is used by the one process that it was given to.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([[0; SIZE]; COUNT]));

/// One of the stacks.
#[derive(Clone, Copy, Debug)]
pub struct Stack(usize);

impl Stack {
    /// The coordinator's.
    pub const COORDINATOR: Self = Self(Program::MAX_TASKS);
    /// The helper's.
    pub const HELPER: Self = Self(Program::MAX_TASKS + 1);

    /// A task's, of a valid program.
    pub fn of_task(task: Task) -> Self {
        Self(usize::from(task.0).min(Program::MAX_TASKS - 1))
    }

    /// The memory of all of them, which is given back.
    pub fn lent() -> Range<usize> {
        let start = MEMORY.0.get().addr();
        start..start + size_of::<Memory>()
    }

    /// Gives the memory of all of them back to the kernel.
    ///
    /// # Safety
    /// No process runs on one.
    pub unsafe fn give_all_back() -> Result<()> {
        // SAFETY: the whole area, which nobody uses.
        unsafe { memory::give_back(MEMORY.0.get().cast(), size_of::<Memory>()) }
    }

    /// Its upper end, where it begins.
    pub fn top(self) -> *mut c_void {
        // SAFETY: the index is below COUNT, so this points at most one past the end.
        unsafe { MEMORY.0.get().cast::<u8>().add((self.0 + 1) * SIZE).cast() }
    }
}

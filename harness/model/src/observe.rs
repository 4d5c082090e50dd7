//! What was seen of one step, or of one `par` block: the model's input beside the program.

use std::collections::BTreeSet;

use refan_abi::{Errno, Event};
use refan_program::{Inode, Task};

/// Everything that happened from the start of a step or block until nothing ran any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Steps that were not made, and why.
    pub skipped: Vec<(usize, Skipped)>,
    /// Calls that returned, of this step or of an earlier one that had blocked.
    pub returns: Vec<Return>,
    /// Steps in whose calls an allocation was made to fail; they are among those that returned.
    pub failed: BTreeSet<usize>,
    /// Of a block, in which order what happened; else empty.
    pub order: Vec<Moment>,
    /// Tasks that were made, with their pids as the program's tasks see them.
    pub started: Vec<(Task, i32)>,
    /// Tasks that ended.
    pub ended: Vec<(Task, End)>,
    /// Tasks that are asleep inside a call at the end of the step.
    pub blocked: BTreeSet<Task>,
    /// How long it took, in milliseconds of the kernel's clock; 0 where nothing tells.
    pub took: u32,
}

impl Observation {
    /// Why a step was not made, if it was not.
    pub fn skipped(&self, step: usize) -> Option<Skipped> {
        self.skipped.iter().find(|(skipped, _)| *skipped == step).map(|(_, why)| *why)
    }
}

/// Something that happens during a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The call of this step is about to be made.
    Enter(usize),
    /// The call of this step has returned.
    Return(usize),
    /// This task has ended and is reaped.
    Ended(Task),
}

/// Why a step was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Its task is inside an earlier call.
    Busy,
    /// Its task has ended or was never made.
    Gone,
}

/// A call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// Index of the step that made the call.
    pub step: usize,
    /// What it returned; an error is -errno.
    pub value: i64,
    /// What it wrote to the caller's memory.
    pub data: Seen,
}

impl Return {
    /// Whether the call failed with this error.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.value == -i64::from(errno.0)
    }
}

/// What a call wrote to the caller's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// Bytes of a file, or of a queue where they are no events.
    Bytes(Vec<u8>),
    /// Events of a queue.
    Events(Vec<SeenEvent>),
    /// A link's target, or lines of fdinfo.
    Text(String),
}

/// An event that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEvent {
    /// As it was read.
    pub event: Event,
    /// What its fd is open on.
    pub object: Object,
}

/// What an event's fd is open on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// It has no fd.
    None,
    /// A file of the program.
    File(Inode),
    /// Another file.
    Foreign,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

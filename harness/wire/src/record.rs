//! What the guest writes down: one record an event of a program's run, in the order in which they
//! happened.

use serde::{Deserialize, Serialize};

use crate::{CommandEnd, Stream};

/// A file as `stat(2)` tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// One record. Times are nanoseconds of `CLOCK_MONOTONIC`; `task` and `step` are the indices of the
/// program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The answer to a probe, and all of it.
    Probe {
        /// `uname -r`.
        release: String,
        /// What `fanotify_init` with the flag and `FAN_CLASS_CONTENT` returned: 0 or -errno.
        init: i64,
        /// What the ioctl on that fd returned: 0 or -errno; of no account where `init` failed.
        open_queue: i64,
        /// The same of a classic group: no permission events, no suites.
        classic: i64,
        /// Names of the facilities that the kernel has and not every kernel has
        /// (`refan_program::Facility`).
        facilities: Vec<String>,
        /// Resolution of `CLOCK_MONOTONIC` timers in nanoseconds: 1 with high-resolution timers.
        timer_resolution: u64,
        /// Processors that it runs on.
        processors: u32,
    },
    /// The program begins.
    Begin {
        /// When.
        at: u64,
    },
    /// A file of the program is this one. The path is the text form that is printed for it.
    File {
        /// `f0`.
        path: String,
        /// Its identity.
        id: FileId,
    },
    /// A task exists from now on.
    TaskStarted {
        /// Which one.
        task: u8,
        /// Its pid, in the pid namespace of the program.
        pid: i32,
    },
    /// A call is about to be made.
    Enter {
        /// The step that makes it.
        step: u16,
        /// The task that makes it.
        task: u8,
        /// When.
        at: u64,
    },
    /// One of the call's allocations was made to fail; its return follows.
    Failed {
        /// The step that made the call.
        step: u16,
    },
    /// A call has returned.
    Exit {
        /// The step that made it.
        step: u16,
        /// The task that made it.
        task: u8,
        /// When.
        at: u64,
        /// What it returned; an error is -errno.
        ret: i64,
        /// What it wrote to the caller's memory.
        data: Data,
    },
    /// The branches of a block begin.
    Instant {
        /// The block's first step.
        step: u16,
        /// The instant from which their offsets count.
        at: u64,
    },
    /// Since the instant of a block with a start all who could run have come to rest, but for branches
    /// whose start has not come: so long are those without. With several processors it says nothing.
    Rested {
        /// The block's first step.
        step: u16,
        /// When it was seen.
        at: u64,
    },
    /// A branch with a start begins: how far the block's base had come, which it preempts on a
    /// machine of one processor. The *base* is the first branch without a start; a kernel with KCOV
    /// tells the places that it passes from the entry of its first call on.
    Preempts {
        /// The first step of the branch that begins.
        step: u16,
        /// How many places the base had passed.
        places: u32,
    },
    /// The places that a block's base has passed, in order.
    Path {
        /// The first step of the base.
        step: u16,
        /// To the end of its last call, or to where it sleeps.
        places: Vec<Place>,
    },
    /// A step was not made.
    Skipped {
        /// The step.
        step: u16,
        /// Why not.
        why: Skip,
    },
    /// A task has ended and is reaped.
    TaskEnded {
        /// Which one.
        task: u8,
        /// When it was seen.
        at: u64,
        /// How.
        end: TaskEnd,
    },
    /// After a step or a block: nothing runs any more; each task is idle, gone, or asleep inside its call.
    Quiet {
        /// The step after which it was seen; of a block the last one.
        step: u16,
        /// When.
        at: u64,
        /// The tasks that are asleep inside a call.
        blocked: Vec<u8>,
    },
    /// After the last step all tasks were killed; these did not end.
    Stuck {
        /// Which ones.
        tasks: Vec<u8>,
    },
    /// The program is over and everything of it is gone.
    End {
        /// When.
        at: u64,
    },
    /// After the end, and as the answer to [`crate::Job::Account`]: what programs have left in the
    /// kernel.
    Accounts {
        /// What is there that was not, or the other way round.
        leaks: Vec<Leak>,
    },
    /// The answer to [`crate::Job::FindUnreferenced`].
    Unreferenced {
        /// What kmemleak says of them; nothing where there is none, and None where the kernel does
        /// not look for them.
        objects: Option<String>,
    },
    /// Of the answer to [`crate::Job::Counters`] the counters of one object file; a kernel that does not
    /// count has none.
    Counters {
        /// Its path as the compiler knew it.
        path: String,
        /// As gcov reads them (`.gcda`).
        bytes: Vec<u8>,
    },
    /// The answer to [`crate::Job::Replay`] and [`crate::Job::Cycle`].
    Done {
        /// How many were done to the end.
        count: u32,
    },
    /// The agent could not do its own work; the run says nothing about the kernel.
    Broken {
        /// What was tried on what, and how it failed.
        what: String,
    },
    /// A command has written.
    Wrote {
        /// Where.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// A command has not ended and waits for [`crate::Job::GoOn`]: the end of an answer.
    Paused {
        /// It has read all that it was given, and may be given more.
        takes_input: bool,
        /// Nothing runs.
        idle: bool,
    },
    /// A command is over: the end of an answer.
    Over {
        /// How.
        end: CommandEnd,
    },
}

/// A place of the kernel that a task has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The low half of its address.
    pub address: u32,
    /// When and how, where the kernel tells.
    pub moment: Option<Moment>,
}

/// When and how a place was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The low 31 bits of the time.
    pub at: u32,
    /// Whether the task could be preempted there.
    pub preemptible: bool,
}

/// A count that is not what it was before the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// What is counted.
    pub what: String,
    /// How many there were.
    pub before: u64,
    /// How many there are.
    pub after: u64,
}

/// What a call wrote to the caller's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// Nothing.
    None,
    /// Bytes, of a file.
    Bytes(Vec<u8>),
    /// Events of a queue.
    Events {
        /// As they were read.
        bytes: Vec<u8>,
        /// For each event in turn what its fd is open on, if it has one.
        objects: Vec<Option<FileId>>,
    },
    /// Text: a link's target or lines of fdinfo.
    Text(String),
}

/// Why a step was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Skip {
    /// Its task is still inside an earlier call.
    Busy,
    /// Its task has ended, or was never made.
    Gone,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskEnd {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

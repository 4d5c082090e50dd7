//! What a scenario expects of a step, beside what the model says.

use refan_abi::{Errno, EventMask, FdFlags, OpenFlags, PollFlags};

use crate::{Inode, Task};

/// An expectation, `-> …` behind a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `-> 8`: success with this value. Of a call that returns an fd, a success is 0.
    Value(u32),
    /// `-> EBUSY`.
    Errno(Errno),
    /// `-> blocked`: the call has not returned and its task sleeps in it.
    Blocked,
    /// `-> killed`: the task was killed before its call returned.
    Killed,
    /// `-> OPEN_PERM f0 by a, ACCESS_PERM f1 by b`: these events, in this order, and no others.
    /// No event at all is `-> 0`.
    Events(Vec<EventPattern>),
    /// `-> IN | RDNORM`: what poll reports; nothing at all is `-> 0`.
    Poll(PollFlags),
    /// `-> O_RDWR | O_NONBLOCK`: what `getfl` reports.
    Open(OpenFlags),
    /// `-> CLOEXEC`: what `getfd` reports; nothing at all is `-> 0`.
    FdFlags(FdFlags),
    /// `-> "anon_inode:[fanotify]"`: this text, or these bytes of a file.
    Text(String),
}

/// What is expected of one event. What is left out can be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern {
    /// The event's mask, whole.
    pub mask: EventMask,
    /// `fd EMFILE`: in place of an fd the event has this error.
    pub error: Option<Errno>,
    /// The file, whatever the way by which it was accessed.
    pub path: Option<Inode>,
    /// `by a`: who is waiting.
    pub by: Option<Task>,
}

//! A second, deliberately naive reading of the contract: one kernel, whose tasks go on action by
//! action in an order that somebody else chooses. Nothing here is shared with the model but the
//! types of programs and observations.

mod actions;
mod brute;
mod compare;
mod programs;
mod random;
mod run;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::EventMask;
use refan_program::{Path, Program, Task};

pub use compare::{Agreement, judge_changed, judge_right};
pub use random::Random;

use crate::{Seen, SeenEvent};

/// A kernel and its tasks.
#[derive(Clone)]
struct Naive<'a> {
    program: &'a Program,
    actors: Vec<Actor>,
    files: Vec<File>,
    groups: Vec<Group>,
    events: Vec<Waiting>,
    vars: Vec<i32>,
    /// What the files hold by their index, once they were truncated.
    texts: BTreeMap<u8, Vec<u8>>,
}

#[derive(Clone)]
struct Actor {
    life: Life,
    fds: BTreeMap<i32, usize>,
    doing: Option<Doing>,
    /// The number that its fds stay below.
    limit: i32,
    killed: bool,
    /// Its call was over when it was killed: on another processor it can still have said so.
    may_return: bool,
}

impl Actor {
    fn kill(&mut self) {
        self.may_return = matches!(self.doing, Some(Doing { at: At::Done(..), .. }));
        self.killed = true;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Unborn,
    Steps,
    Once,
    Dead,
}

#[derive(Clone, Debug)]
struct Doing {
    step: usize,
    at: At,
}

/// What a task does next.
#[derive(Clone, Debug)]
enum At {
    /// The call is about to begin.
    Entered,
    /// It looks for the next group to ask.
    Walk(Walk),
    /// It queues its event to that group.
    Queue(Walk, usize),
    /// It waits for the answer to that event.
    Wait(Walk, usize),
    /// Everybody has answered.
    Answered(Walk),
    /// It waits for the position of a file.
    Position(usize),
    /// It takes events off a queue.
    Take(Reading),
    /// It hands over the event that it has taken under that number.
    Hand(Reading, usize, i32),
    /// It releases a file, then returns or exits on.
    Release(usize, bool),
    /// It allows the accessors of a group that has stopped, and removes its marks.
    Stopped(usize, bool),
    /// The call is over.
    Done(i64, Seen),
    /// It closes its fds.
    Exit,
}

#[derive(Clone, Debug)]
struct Walk {
    mask: EventMask,
    path: Path,
    asked: BTreeSet<usize>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    /// The file is opened; whether its use will be watched.
    Open { watched: bool },
    /// So many bytes are read, at the file's position or from its beginning, if there is room for them.
    Read { file: usize, size: usize, good: usize, positioned: bool },
}

#[derive(Clone, Debug)]
struct Reading {
    file: usize,
    group: usize,
    room: usize,
    /// How much of the room is there.
    good: usize,
    got: Vec<SeenEvent>,
}

#[derive(Clone)]
struct File {
    kind: Kind,
    refs: usize,
    nonblocking: bool,
    position: usize,
    /// A transfer that uses its position is going on.
    locked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group(usize),
    Queue(usize),
    File { path: Path, watched: bool },
}

/// What a mark stands on: a file or a symlink by its index, the tmpfs as it is seen at its second
/// place or at the first, all of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    File(u8),
    Symlink(u8),
    Mount { second: bool },
    FileSystem,
}

#[derive(Clone)]
struct Group {
    restartable: bool,
    class: u8,
    nonblocking: bool,
    marks: BTreeMap<Spot, EventMask>,
    unread: Vec<usize>,
    pending: Vec<(i32, usize)>,
    queue_open: bool,
    stopped: bool,
}

/// An accessor's event; its place in the list is its place in the order of queueing.
#[derive(Clone)]
struct Waiting {
    group: usize,
    by: Task,
    mask: EventMask,
    path: Path,
    answer: Option<bool>,
    canceled: bool,
}

/// What a move shows to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Enter(usize),
    Return(usize, i64, Seen),
    Ended(Task),
}

/// A move: a task's, and which of the ways that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// It enters its next call.
    Enter(Task, usize),
    /// It does what comes next, in this way.
    Act(Task, usize),
    /// Its call returns.
    Return(Task),
    /// It dies of SIGKILL.
    Die(Task),
}

//! What actions share, and what an action touches of it.

use refan_program::{Inode, Task};

use crate::state::{FileNo, GroupNo};

/// Something that actions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    /// The marks on a file, or those that stand where accesses to many files meet them, of groups
    /// that have not stopped; with their ignore masks.
    Marks(Option<Inode>),
    /// The masks of files, which marks of stopped groups are part of until they are removed.
    Masks,
    /// Which walks stand where they may have pinned a mark of the group.
    Pins(GroupNo),
    /// Which groups there are, and what is known of the kernel.
    Groups,
    /// What is unread in a group. To queue an event adds to it.
    Unread(GroupNo),
    /// Which unread event is the first, which an event that is queued behind it does not change.
    Head(GroupNo),
    /// What is pending in a group under any number, or under this one.
    Pending(GroupNo, Option<i32>),
    /// Whether a group has stopped.
    Down(GroupNo),
    /// The group's queue file.
    Slot(GroupNo),
    /// Who drops the last reference to a file.
    Last(FileNo),
    /// A file's status flags.
    Status(FileNo),
    Position(FileNo),
    /// What a file holds, who writes to it and who executes it.
    Content(Inode),
    /// A task that may be killed.
    Victim(Task),
}

/// What an action or call touches, a bit for each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(super) reads: u128,
    pub(super) writes: u128,
    /// Additions that commute with each other.
    pub(super) adds: u128,
}

impl Footprint {
    pub(super) const ALL: Self = Self { reads: 0, writes: u128::MAX, adds: 0 };

    /// Whether the order of two matters.
    pub(crate) fn conflicts(self, other: Self) -> bool {
        let touched = |print: Self| print.reads | print.writes | print.adds;
        self.writes & touched(other) != 0
            || other.writes & touched(self) != 0
            || self.adds & other.reads != 0
            || other.adds & self.reads != 0
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.reads |= other.reads;
        self.writes |= other.writes;
        self.adds |= other.adds;
    }

    pub(super) fn with(mut self, other: Self) -> Self {
        self.join(other);
        self
    }
}

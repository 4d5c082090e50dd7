//! Reading events from a queue: `fanotify_read` and `copy_event_to_user` in
//! fs/notify/fanotify/fanotify_user.c, with the contract's rules on top.

mod due;
mod seen;
mod transit;

use refan_program::Task;

pub(crate) use self::due::Due;
pub(crate) use self::seen::{events_of, pidfd_of};
use crate::group::Unread;
use crate::state::{Buffer, FileNo, GroupNo, Life, Reading, State};

impl State {
    /// Whether nothing keeps the file but the call that the task was made for.
    pub(crate) fn is_kept_by_call(&self, task: Task, file: FileNo) -> bool {
        let of = self.task(task);
        of.life == Life::OneCall && self.files.get(&file).is_some_and(|file| file.refs == 1)
    }

    /// Whether an event that is unread was so before.
    pub(crate) fn any_restarted(&self, group: GroupNo) -> bool {
        self.group(group).unread.iter().any(|entry| match entry {
            Unread::Overflow => false,
            Unread::Event(number) => self.events.get(number).is_some_and(|event| event.restarted),
        })
    }
}

impl Reading {
    /// It goes on behind an event.
    fn pass(&mut self, due: &Due) {
        let len = u32::try_from(due.len).unwrap_or(u32::MAX);
        self.room = self.room.saturating_sub(len);
        self.good = self.good.saturating_sub(len);
        self.done += len;
        self.events += 1;
    }

    /// A read into a buffer, which begins.
    pub(crate) fn new(file: FileNo, group: GroupNo, buffer: Buffer) -> Self {
        let Buffer { size: room, good, missing } = buffer;
        Self { file, group, room, good, missing, done: 0, events: 0, unseen: Vec::new() }
    }
}

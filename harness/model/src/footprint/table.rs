//! The fds of a branch, as far as it can be told before it runs.

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::MarkFlags;
use refan_program::{Bind, Call, Fd, Path, PathKind, Task, Var};

use super::Footprints;
use crate::access::is_writing;
use crate::read::pidfd_of;
use crate::state::{FileKind, FileNo, GroupNo, State};
use crate::{Object, Return, Seen, lookup};

/// What an fd is open on, as far as a branch can tell before it runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    Control(GroupNo),
    Queue(GroupNo),
    Classic(GroupNo),
    File {
        path: Path,
        writable: bool,
    },
    Other,
    /// It could be anything.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) known: Known,
    /// The open file description, if it was there when the block began.
    pub(super) file: Option<FileNo>,
}

/// The fds of one branch, call after call.
pub(super) struct Table {
    pub(super) fds: BTreeMap<i32, Entry>,
    pub(super) vars: BTreeMap<Var, i32>,
    /// Everything that was ever in it.
    pub(super) all: Vec<Entry>,
}

impl<'a> Footprints<'a> {
    /// Notes what a call does to its branch's fds; says what its first fd is, and the number that
    /// its second fd stands for. None of a call that is not known here.
    pub(super) fn look_at(
        &mut self,
        table: &mut Table,
        step: usize,
        call: &Call,
        task: Task,
        exiting: &mut BTreeSet<Task>,
    ) -> Option<(Option<Entry>, i32)> {
        // What an earlier call binds that is still going on is known only when it returns.
        if call.fds().any(|fd| self.is_unsettled(fd)) {
            self.strange = true;
            return None;
        }
        let mut fds = call.fds();
        let number = fds.next().map(|fd| table.number(self.start, fd));
        let second = fds.next().map_or(-1, |fd| table.number(self.start, fd));
        let entry = number.and_then(|number| table.fds.get(&number).copied());
        let known = entry.map(|entry| entry.known);
        let back = self.back(step);
        let made = match call {
            Call::Close { .. } => {
                if let Some(number) = number
                    && let Some(file) = table.fds.remove(&number).and_then(|entry| entry.file)
                {
                    *self.drops.entry(file).or_default() += 1;
                }
                None
            }
            Call::Dup { .. } => entry,
            Call::FanotifyInit { .. } => Some(Entry { known: Known::Unknown, file: None }),
            Call::OpenQueue { .. } => match known {
                Some(Known::Control(group)) => {
                    Some(Entry { known: Known::Queue(group), file: None })
                }
                Some(Known::Unknown) => entry,
                _ => None,
            },
            Call::Open { path, flags } => {
                let path = lookup::opened(*path, *flags);
                let known = Known::File { path, writable: is_writing(*flags) };
                Some(Entry { known, file: None })
            }
            Call::FanotifyMark { flags, .. } => {
                if let Some(Known::Control(group) | Known::Classic(group)) = known {
                    self.marked.insert(group);
                    if flags.intersects(MarkFlags::REMOVE | MarkFlags::FLUSH) {
                        self.pinned.insert(group);
                    }
                }
                None
            }
            Call::Exit => {
                exiting.insert(task);
                None
            }
            Call::Exec { path } if path.kind != PathKind::Waiter => {
                exiting.insert(task);
                None
            }
            Call::Kill { task } => {
                self.victims.insert(*task);
                exiting.insert(*task);
                None
            }
            Call::Read { .. } => {
                self.note_events(table, step, known);
                None
            }
            // It holds all files of its branch once more.
            Call::Fork => return None,
            Call::Pread { .. }
            | Call::Write { .. }
            | Call::Poll { .. }
            | Call::Epoll { .. }
            | Call::Fionread { .. }
            | Call::GetFl { .. }
            | Call::SetFl { .. }
            | Call::GetFd { .. }
            | Call::Readlink { .. }
            | Call::Fdinfo { .. }
            | Call::Setuid { .. }
            | Call::Truncate { .. }
            | Call::RlimitNofile { .. } => None,
            _ => {
                self.strange = true;
                return None;
            }
        };
        if let (Some(made), Some(back)) = (made, back)
            && let Ok(fd) = i32::try_from(back.value)
            && fd >= 0
        {
            table.fds.insert(fd, made);
            table.all.push(made);
            if let Bind::Fd(var) = &self.scene.program.steps[step].bind {
                table.vars.insert(*var, fd);
            }
        }
        if made.is_some() && back.is_none() {
            // A call whose end nobody saw.
            table.all.extend(made);
        }
        Some((entry, second))
    }

    /// Whether the fd is named by a variable that a call binds which went on when the block began.
    fn is_unsettled(&self, fd: Fd) -> bool {
        let Fd::Var(var) = fd else { return false };
        let going_on = self.start.tasks.iter().filter_map(|task| task.call.as_ref());
        let mut binds = going_on.filter_map(|call| self.scene.program.steps.get(call.step));
        binds.any(|step| match &step.bind {
            Bind::Fd(bound) => *bound == var,
            Bind::Events(bound) => bound.contains(&var),
            Bind::Task(_) | Bind::None => false,
        })
    }

    /// The event fds that a read returned.
    fn note_events(&self, table: &mut Table, step: usize, known: Option<Known>) {
        let writable = match known {
            Some(Known::Queue(group) | Known::Classic(group)) => {
                is_writing(self.start.group(group).event_flags)
            }
            _ => true,
        };
        let Some(Seen::Events(events)) = self.back(step).map(|back| &back.data) else { return };
        for seen in events {
            let known = match seen.object {
                // Its fd raises nothing, so it does not matter which mount it came through.
                Object::File(inode) => Known::File { path: inode.path(), writable },
                _ => Known::Other,
            };
            let entry = Entry { known, file: None };
            table.fds.insert(seen.event.fd, entry);
            table.all.push(entry);
            if let Some(fd) = pidfd_of(seen) {
                table.fds.insert(fd, Entry { known: Known::Other, file: None });
            }
        }
        if let Bind::Events(vars) = &self.scene.program.steps[step].bind {
            for (var, seen) in vars.iter().zip(events) {
                table.vars.insert(*var, seen.event.fd);
            }
        }
    }

    pub(super) fn back(&self, step: usize) -> Option<&'a Return> {
        self.scene.seen.returns.iter().find(|back| back.step == step)
    }
}

impl Table {
    /// The fds of a task as the block begins.
    pub(super) fn of(start: &State, task: Task) -> Self {
        let fds: BTreeMap<i32, Entry> = start
            .task(task)
            .fds
            .iter()
            .map(|(number, entry)| {
                let known = start
                    .files
                    .get(&entry.file)
                    .map_or(Known::Unknown, |file| known(&file.kind, file.writable()));
                (*number, Entry { known, file: Some(entry.file) })
            })
            .collect();
        Self { all: fds.values().copied().collect(), fds, vars: BTreeMap::new() }
    }

    pub(super) fn number(&self, start: &State, fd: Fd) -> i32 {
        match fd {
            Fd::Var(var) => match self.vars.get(&var) {
                Some(number) => *number,
                None => start.number(fd),
            },
            Fd::Number(number) => number,
        }
    }
}

pub(super) fn known(kind: &FileKind, writable: bool) -> Known {
    match *kind {
        FileKind::Classic(group) => Known::Classic(group),
        FileKind::Control(group) => Known::Control(group),
        FileKind::Queue(group) => Known::Queue(group),
        FileKind::File { path, .. } => Known::File { path, writable },
        FileKind::Pidfd | FileKind::Handle(_) => Known::Other,
        // What is received depends on what was sent, and can be any file.
        FileKind::Socket => Known::Unknown,
    }
}

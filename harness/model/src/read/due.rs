//! What a read has to return next.

use refan_abi::{Errno, Event, EventMask, InfoRecord, InitFlags, NO_FD, OpenFlags};
use refan_program::{Path, Rule, Task};

use crate::access::is_writing;
use crate::context::Context;
use crate::group::Unread;
use crate::rules::{F1, Q7, Q8, Q9, R1, R6, R9};
use crate::state::{Answer, EventNo, FileKind, GroupNo, Reading, State};
use crate::violation::mask_text;
use crate::{Object, SeenEvent, Stop};

/// `FAN_NOPIDFD` and `FAN_EPIDFD`.
const NO_PIDFD: i32 = -1;

const FAILED_PIDFD: i32 = -2;

/// An event that a read has to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Due {
    pub(super) mask: EventMask,
    pub(super) path: Option<Path>,
    pub(super) pid: i32,
    pub(super) range: Option<(u64, u64)>,
    pub(super) len: usize,
    pub(super) restarted: bool,
    pub(super) fd: DueFd,
    pub(super) pidfd: Option<DueFd>,
}

/// What stands in place of an fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum DueFd {
    /// A new fd.
    New,
    /// One of these numbers.
    Number(&'static [i32]),
}

/// What a look at the queue's head came to.
pub(super) enum Taken {
    /// The group has stopped.
    Stopped,
    /// No event is unread.
    Nothing,
    /// The first event does not fit.
    TooBig,
    /// It was taken and denied, since no fd could be made for it.
    NoFd,
    /// The same, for want of memory.
    NoMemory,
    /// The same, since the file is executed and the event fd would write to it.
    Busy,
    /// It was taken and denied, since it could not be copied out.
    Fault,
    /// It was taken; with the event, unless it is an overflow record, and what that is answered
    /// with in place of becoming pending.
    Event(Option<EventNo>, Due, Option<Answer>),
}

impl Due {
    /// The event in words.
    pub(super) fn text(&self, cx: &Context<'_>, by: Option<Task>) -> String {
        let mut text = mask_text(self.mask);
        if let Some(path) = self.path {
            text += &format!(" {}", path.inode());
        }
        if let Some(task) = by {
            text += &format!(" by {}", cx.name(task));
        }
        text
    }

    pub(super) fn rule_of_fds(&self) -> Rule {
        if self.restarted { R9 } else { Q8 }
    }
}

/// A seen event in words.
pub(super) fn seen_text(state: &State, cx: &Context<'_>, seen: &SeenEvent) -> String {
    let mut text = mask_text(seen.event.mask);
    match seen.object {
        Object::File(inode) => text += &format!(" {inode}"),
        Object::Foreign => text += " of a file that is none of the program's",
        Object::None => text += " without an fd",
    }
    let by = (0u8..).zip(&state.tasks).find(|(_, task)| task.pid == seen.event.pid);
    match by {
        Some((number, _)) => text + " by " + cx.name(Task(number)),
        None => text + &format!(" by pid {}", seen.event.pid),
    }
}

impl State {
    /// Takes the first event off the queue, if the read can have it.
    pub(super) fn next_due(
        &mut self,
        mut cx: Option<&mut Context<'_>>,
        task: Task,
        reading: &Reading,
    ) -> Taken {
        let group = reading.group;
        let of = self.group(group);
        if of.restartable && of.down {
            return Taken::Stopped;
        }
        let Some(&next) = of.unread.first() else { return Taken::Nothing };
        let len = self.event_len(group, next);
        if len > reading.room as usize {
            return Taken::TooBig;
        }
        let reports_errors = of.flags.contains(InitFlags::REPORT_FD_ERROR);
        let reports_pidfds = of.flags.contains(InitFlags::REPORT_PIDFD);
        self.group_mut(group).unread.remove(0);
        let event = match next {
            Unread::Event(number) => self.events.get(&number).cloned().map(|of| (number, of)),
            Unread::Overflow => None,
        };
        let faults = len > reading.good as usize && !reading.missing;
        let Some((number, event)) = event else {
            if faults {
                return Taken::Fault;
            }
            let due = Due {
                mask: EventMask::Q_OVERFLOW,
                path: None,
                pid: 0,
                range: None,
                len,
                restarted: false,
                // With FAN_REPORT_FD_ERROR mainline shows -EBADF, the contract FAN_NOFD.
                fd: DueFd::Number(if reports_errors { &[NO_FD, -9] } else { &[NO_FD] }),
                // -ESRCH or FAN_NOPIDFD.
                pidfd: reports_pidfds.then_some(DueFd::Number(if reports_errors {
                    &[-3]
                } else {
                    &[NO_PIDFD]
                })),
            };
            return Taken::Event(None, due, None);
        };
        let left = self.fds_left(task);
        let has_fd = left != Some(0);
        if !has_fd && !reports_errors {
            self.answer(number, Answer::deny(Errno::EPERM, Q7));
            return Taken::NoFd;
        }
        // The file for the event fd, then the pidfd: each is memory (F1).
        let mut fails = || cx.as_mut().is_some_and(|cx| self.fails_here(cx, task));
        let no_file = has_fd && fails();
        let no_pidfd = reports_pidfds && !no_file && fails();
        if no_file && !reports_errors {
            self.answer(number, Answer::deny(Errno::EPERM, F1));
            return Taken::NoMemory;
        }
        let is_busy = has_fd
            && !no_file
            && is_writing(self.group(group).event_flags)
            && self.is_run(event.path.inode());
        if is_busy && !reports_errors {
            self.answer(number, Answer::deny(Errno::EPERM, Q7));
            return Taken::Busy;
        }
        let refusal = match (has_fd, no_file) {
            (true, false) if is_busy => Some(Answer::deny(Errno::EPERM, Q7)),
            (true, false) => None,
            (true, true) => Some(Answer::deny(Errno::EPERM, F1)),
            (false, _) => Some(Answer::deny(Errno::EPERM, Q7)),
        };
        let has_fd = refusal.is_none();
        if faults {
            self.answer(number, refusal.unwrap_or(Answer::deny(Errno::EPERM, Q7)));
            return Taken::Fault;
        }
        let has_pidfd = !no_pidfd && left.is_none_or(|left| left > usize::from(has_fd));
        const EMFILE: &[i32] = &[-24];
        const NO_MEMORY: &[i32] = &[-12];
        const BUSY: &[i32] = &[-26];
        let due = Due {
            mask: event.mask,
            path: Some(event.path),
            pid: self.task(number.0).pid,
            range: event.range,
            len,
            restarted: event.restarted,
            fd: match has_fd {
                true => DueFd::New,
                false if no_file => DueFd::Number(NO_MEMORY),
                false if is_busy => DueFd::Number(BUSY),
                false => DueFd::Number(EMFILE),
            },
            pidfd: reports_pidfds.then_some(if has_pidfd {
                DueFd::New
            } else if reports_errors {
                DueFd::Number(if no_pidfd { NO_MEMORY } else { EMFILE })
            } else {
                DueFd::Number(&[FAILED_PIDFD])
            }),
        };
        Taken::Event(Some(number), due, refusal)
    }

    /// The rule that loses an event which does not come.
    pub(super) fn loser(&self, group: GroupNo, due: &Due) -> Rule {
        if due.restarted || self.any_restarted(group) {
            R1
        } else if due.path.is_none() {
            Q9
        } else {
            R6
        }
    }

    /// An event in words.
    pub(super) fn due_text(&self, cx: &Context<'_>, due: &Due) -> String {
        let by = (0u8..)
            .zip(&self.tasks)
            .find(|(_, task)| due.pid != 0 && task.pid == due.pid)
            .map(|(number, _)| Task(number));
        due.text(cx, by)
    }

    /// The event as a right kernel delivers it.
    pub(super) fn as_read(&self, task: Task, due: &Due) -> SeenEvent {
        let fds = &self.task(task).fds;
        let mut free = (0..).filter(|fd| !fds.contains_key(fd));
        let mut number = |fd| match fd {
            DueFd::New => free.next().unwrap_or(NO_FD),
            DueFd::Number(numbers) => numbers.first().copied().unwrap_or(NO_FD),
        };
        let fd = number(due.fd);
        let pidfd = due.pidfd.map(|pidfd| InfoRecord::Pidfd(number(pidfd)));
        let range = due.range.map(|(offset, count)| InfoRecord::Range { offset, count });
        let event = Event {
            len: due.len as u32,
            mask: due.mask,
            fd,
            pid: due.pid,
            info: pidfd.into_iter().chain(range).collect(),
        };
        let object = match due.path {
            Some(path) if fd >= 0 => Object::File(path.inode()),
            _ => Object::None,
        };
        SeenEvent { event, object }
    }

    pub(super) fn take_number(
        &mut self,
        cx: &Context<'_>,
        task: Task,
        fd: i32,
        kind: FileKind,
        status: OpenFlags,
        cloexec: bool,
    ) -> Result<(), Stop> {
        if self.task(task).fds.contains_key(&fd) {
            return Err(cx.broken(Q7, "a new fd", format!("fd {fd}, which is in use")));
        }
        let file = self.add_file(task, kind, status);
        self.install(task, fd, file, cloexec);
        Ok(())
    }
}

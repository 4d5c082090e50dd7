//! Events in a reader's hand.

use refan_abi::{Errno, METADATA_LEN, OpenFlags};
use refan_program::Task;

use super::due::{DueFd, Taken};
use super::seen::{events_of, pidfd_of};
use crate::context::Context;
use crate::rules::{F1, F2, MAINLINE, Q4, Q7, Q8, Q10, S1, S2};
use crate::state::{Answer, At, EventNo, FileKind, GroupNo, Next, Raises, Reading, State, Transit};
use crate::violation::Allowed;
use crate::{Return, SeenEvent, Stop};

impl State {
    /// A read from a group's queue takes the next event, or is at its end, or sleeps.
    pub(crate) fn take(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        reading: Reading,
    ) -> Result<(), Stop> {
        let group = reading.group;
        let of = self.group(group);
        let rule = if of.restartable { Q4 } else { MAINLINE };
        if of.hears_of_others {
            return Err(Stop::Unjudgeable(
                "the group hears of other than permission events, which the model does not cover"
                    .to_owned(),
            ));
        }
        self.put_expected_first(cx, task, &reading);
        let before = cx.peek_of(self, task).is_none().then(|| self.clone());
        let transit = match self.next_due(Some(cx), task, &reading) {
            Taken::Event(event, due, refusal) => Transit { event, due, refusal, reading },
            Taken::Stopped if reading.events == 0 => {
                return self.finish(cx, task, S2, &[Allowed::Value(0)]);
            }
            Taken::Nothing if reading.events == 0 => {
                let flags = self.files.get(&reading.file).map(|file| file.status);
                if flags.is_some_and(|flags| flags.contains(OpenFlags::O_NONBLOCK)) {
                    return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EAGAIN)]);
                }
                self.set_rule(task, rule);
                self.sleeps(task, At::Reading(reading));
                return Ok(());
            }
            Taken::TooBig if reading.events == 0 => {
                let of = self.group_mut(group);
                of.unordered = false;
                if of.restartable {
                    of.decided_by(Q4);
                }
                // What fits all the same is shorter than it should be.
                let fits = cx.peek_of(self, task).is_some_and(|back| back.value > 0);
                let rule = if fits && rule == Q4 { Q10 } else { rule };
                return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EINVAL)]);
            }
            Taken::NoFd if reading.events == 0 => {
                return self.finish(cx, task, F2, &[Allowed::Errno(Errno::EMFILE)]);
            }
            Taken::Fault => {
                self.group_mut(group).unordered = false;
                let rule = if self.group(group).restartable { Q7 } else { MAINLINE };
                return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
            }
            Taken::Busy if reading.events == 0 => {
                return self.finish(cx, task, Q7, &[Allowed::Errno(Errno::ETXTBSY)]);
            }
            Taken::NoMemory if reading.events == 0 => {
                return self.finish(cx, task, F1, &[Allowed::Errno(Errno::ENOMEM)]);
            }
            Taken::Stopped
            | Taken::Nothing
            | Taken::TooBig
            | Taken::NoFd
            | Taken::NoMemory
            | Taken::Busy => {
                self.group_mut(group).unordered = false;
                return self.read_all(cx, task, &reading);
            }
        };
        if transit.is_missing() {
            self.set_rule(task, rule);
            self.sleeps(task, At::CopyingOut(Box::new(transit)));
            return Ok(());
        }
        // A read that sleeps for its buffer further on is not seen to return now.
        let sleeps = transit.reading.missing && self.will_be_missing(&transit);
        if let Some(before) = before
            && !sleeps
            && !cx.is_unseen(self, task)
        {
            return Err(before.foresee_read(cx, task, transit.reading, Vec::new(), Vec::new()));
        }
        self.deliver(cx, task, transit)
    }

    /// Whether one of the events behind the one that was taken fits, but not into what is there.
    fn will_be_missing(&self, transit: &Transit) -> bool {
        let Reading { group, room, good, .. } = transit.reading;
        let mut end = transit.due.len as u32;
        let ends = self.group(group).unread.iter().map(|next| {
            end += self.event_len(group, *next) as u32;
            end
        });
        ends.take_while(|end| *end <= room).any(|end| end > good)
    }

    /// What the reader slept for while it copied an event out is there.
    pub(crate) fn copied_out(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        mut transit: Transit,
    ) -> Result<(), Stop> {
        let Some(back) = cx.peek_of(self, task) else {
            if cx.is_unseen(self, task) {
                return self.deliver(cx, task, transit);
            }
            let Transit { due, mut reading, .. } = transit;
            reading.pass(&due);
            let earlier = std::mem::take(&mut reading.unseen);
            let mut read: Vec<SeenEvent> = earlier
                .iter()
                .map(|(due, fd, pidfd)| self.as_read(task, due).numbered(*fd, *pidfd))
                .collect();
            read.push(self.as_read(task, &due));
            let dues = earlier.into_iter().map(|(due, ..)| due).chain([due]).collect();
            return Err(self.clone().foresee_read(cx, task, reading, dues, read));
        };
        let mut earlier = Reading { events: 0, ..transit.reading.clone() };
        for (due, fd, pidfd) in std::mem::take(&mut transit.reading.unseen) {
            let number = self.accept(cx, task, &earlier, &due, back)?;
            let seen = events_of(back).get(earlier.events as usize).and_then(pidfd_of);
            if (number, seen) != (fd, pidfd) {
                let allowed = format!("{} as fd {fd}", self.due_text(cx, &due));
                return Err(cx.broken(Q8, allowed, format!("fd {number}")));
            }
            earlier.events += 1;
        }
        self.deliver(cx, task, transit)
    }

    /// An event has been copied out.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        transit: Transit,
    ) -> Result<(), Stop> {
        let Transit { event: number, due, refusal, mut reading } = transit;
        let group = reading.group;
        // A fault further on is all that the read returns. What it has delivered before got the
        // lowest numbers that were free, as the kernel gives them out.
        let faults = |back: &&Return| reading.good < reading.room && back.is(Errno::EFAULT);
        let back = cx.peek_of(self, task).filter(|back| !faults(back));
        let fd = match back {
            Some(back) => match self.accept(cx, task, &reading, &due, back) {
                Ok(fd) => fd,
                Err(stop) => {
                    // The way goes this far.
                    self.matched.insert(back.step);
                    return Err(stop);
                }
            },
            _ => self.lowest_free(task),
        };
        let of = self.group(group);
        let (flags, cloexec) = (of.event_flags, of.event_flags.contains(OpenFlags::O_CLOEXEC));
        if let (DueFd::New, Some(path)) = (due.fd, due.path) {
            let kind = FileKind::File { path, raises: Raises::Nothing, pos: 0 };
            self.take_number(cx, task, fd, kind, flags, cloexec)?;
        }
        let pidfd = match back {
            Some(back) => events_of(back).get(reading.events as usize).and_then(pidfd_of),
            None => due.pidfd.map(|_| self.lowest_free(task)),
        };
        if let (Some(DueFd::New), Some(pidfd)) = (due.pidfd, pidfd) {
            // pidfd_prepare() sets close-on-exec.
            self.take_number(cx, task, pidfd, FileKind::Pidfd, OpenFlags::O_RDWR, true)?;
        }
        reading.pass(&due);
        if reading.missing && back.is_none() {
            reading.unseen.push((due, fd, pidfd));
        }
        match (number, refusal) {
            (Some(event), None) => self.goes_on(cx, task, Next::HandOver { event, fd, reading }),
            (Some(event), Some(refusal)) => {
                self.answer(event, refusal);
                self.read_on(cx, task, reading)
            }
            (None, _) => self.read_on(cx, task, reading),
        }
    }

    /// A group has stopped, and readers sleep with events of it in hand: each allows its event
    /// itself when it goes on, or the event is allowed at once (S1).
    pub(crate) fn allow_in_hand(&mut self, cx: &mut Context<'_>, group: GroupNo) {
        let calls = self.tasks.iter_mut().filter_map(|task| task.call.as_mut());
        let in_hand = calls.filter_map(|call| match &mut call.at {
            At::CopyingOut(transit) if transit.reading.group == group => Some(transit),
            _ => None,
        });
        let allowed: Vec<EventNo> = in_hand
            .filter(|transit| transit.event.is_some() && cx.choose(2) == 1)
            .filter_map(|transit| transit.event.take())
            .collect();
        for event in allowed {
            self.answer(event, Answer::allow(S1));
        }
    }

    /// A reader is killed with an event in hand, which it could not copy out (Q7). Of a group that
    /// has stopped it is allowed, or denied as ever.
    pub(crate) fn drop_in_hand(&mut self, cx: &mut Context<'_>, transit: Transit) {
        let Some(event) = transit.event else { return };
        let of = self.group(transit.reading.group);
        let rule = if of.restartable { Q7 } else { MAINLINE };
        let answer = match transit.refusal {
            None if of.down && cx.choose(2) == 1 => Answer::allow(S1),
            refusal => refusal.unwrap_or(Answer::deny(Errno::EPERM, rule)),
        };
        self.answer(event, answer);
    }

    /// A read that has taken an event goes on.
    pub(crate) fn read_on(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        reading: Reading,
    ) -> Result<(), Stop> {
        if (reading.room as usize) < METADATA_LEN {
            return self.read_all(cx, task, &reading);
        }
        self.goes_on(cx, task, Next::Take(reading))
    }
}

impl Transit {
    /// Whether not all of the memory is there that it is copied to.
    fn is_missing(&self) -> bool {
        self.reading.missing && self.due.len > self.reading.good as usize
    }
}

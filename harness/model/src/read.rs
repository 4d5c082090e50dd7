//! Reading events from a queue: `fanotify_read` and `copy_event_to_user` in
//! fs/notify/fanotify/fanotify_user.c, with the contract's rules on top.

use refan_abi::{Errno, Event, EventMask, InfoRecord, InitFlags, METADATA_LEN, NO_FD, OpenFlags};
use refan_program::{Bind, Path, Rule, Task};

use crate::access::is_writing;
use crate::context::Context;
use crate::group::Unread;
use crate::rules::{A1, F1, F2, MAINLINE, Q4, Q7, Q8, Q9, Q10, R1, R2, R6, R9, S1, S2, X3};
use crate::state::{
    Answer, At, Buffer, EventNo, FileKind, FileNo, GroupNo, Life, Next, Raises, Reading, State,
    Transit,
};
use crate::violation::{Allowed, mask_text, returned};
use crate::{Object, Return, Seen, SeenEvent, Stop};

/// `FAN_NOPIDFD` and `FAN_EPIDFD`.
const NO_PIDFD: i32 = -1;
const FAILED_PIDFD: i32 = -2;

/// An event that a read has to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Due {
    mask: EventMask,
    path: Option<Path>,
    pid: i32,
    range: Option<(u64, u64)>,
    len: usize,
    restarted: bool,
    fd: DueFd,
    pidfd: Option<DueFd>,
}

/// What stands in place of an fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum DueFd {
    /// A new fd.
    New,
    /// One of these numbers.
    Number(&'static [i32]),
}

/// What a look at the queue's head came to.
enum Taken {
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
    fn text(&self, cx: &Context<'_>, by: Option<Task>) -> String {
        let mut text = mask_text(self.mask);
        if let Some(path) = self.path {
            text += &format!(" {}", path.inode());
        }
        if let Some(task) = by {
            text += &format!(" by {}", cx.name(task));
        }
        text
    }
}

/// A seen event in words.
fn seen_text(state: &State, cx: &Context<'_>, seen: &SeenEvent) -> String {
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
        let sleeps = transit.reading.missing && self.next_is_missing(&transit);
        if let Some(before) = before
            && !sleeps
            && !cx.is_unseen(self, task)
        {
            return Err(before.foresee_read(cx, task, transit.reading, Vec::new(), Vec::new()));
        }
        self.deliver(cx, task, transit)
    }

    /// Whether the event behind the one that was taken fits, but not into what is there.
    fn next_is_missing(&self, transit: &Transit) -> bool {
        let Reading { group, room, good, .. } = transit.reading;
        let taken = transit.due.len as u32;
        self.group(group).unread.first().is_some_and(|next| {
            let both = taken + self.event_len(group, *next) as u32;
            both <= room && both > good
        })
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
    fn deliver(&mut self, cx: &mut Context<'_>, task: Task, transit: Transit) -> Result<(), Stop> {
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

    /// Whether the event that a read returned next is one of those that can be the first.
    pub(crate) fn is_first(&self, group: GroupNo, seen: &SeenEvent) -> bool {
        let heads = self.heads(group);
        self.group(group).unread[..heads].iter().any(|entry| self.is_entry(*entry, seen))
    }

    /// Of the events that can be the first, one is; the one that was read, if that is known.
    fn put_expected_first(&mut self, cx: &mut Context<'_>, task: Task, reading: &Reading) {
        let heads = self.heads(reading.group);
        if heads == 0 {
            return;
        }
        let expected = cx
            .peek_of(self, task)
            .and_then(|back| events_of(back).get(reading.events as usize))
            .and_then(|seen| {
                let entries = self.group(reading.group).unread[..heads].iter();
                entries.into_iter().position(|entry| self.is_entry(*entry, seen))
            });
        let head = expected.unwrap_or_else(|| cx.choose(heads));
        self.put_first(reading.group, head);
    }

    /// Takes the first event off the queue, if the read can have it.
    fn next_due(
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

    /// The event that was taken is the one that was read next; its fd number.
    fn accept(
        &self,
        cx: &Context<'_>,
        task: Task,
        reading: &Reading,
        due: &Due,
        back: &Return,
    ) -> Result<i32, Stop> {
        let group = reading.group;
        let restartable = self.group(group).restartable;
        let general = self.rule_of_queue(group, if restartable { Q4 } else { MAINLINE });
        let events = events_of(back);
        let allowed = || self.due_text(cx, due);
        if back.value <= 0 || events.is_empty() {
            let lost = back.is(Errno::EAGAIN) && restartable;
            let loser = self.loser(group, due);
            let has_no_pidfd = due.fd == DueFd::New && matches!(due.pidfd, Some(DueFd::Number(_)));
            let rule = match restartable {
                true if lost => self.rule_of_lack(group, loser),
                // The event is refused for want of its pidfd.
                true if has_no_pidfd => R9,
                _ => general,
            };
            return Err(cx.broken(rule, allowed(), returned(back.value)));
        }
        let observed =
            || events.iter().map(|one| seen_text(self, cx, one)).collect::<Vec<_>>().join(", ");
        let Some(seen) = events.get(reading.events as usize) else {
            return Err(cx.broken(general, format!("{} as well", allowed()), observed()));
        };
        if let Some((rule, what)) = self.differs(due, seen) {
            let later = self.group(group).unread.iter().any(|entry| self.is_entry(*entry, seen));
            let of_overflow = due.path.is_none() || seen.event.mask == EventMask::Q_OVERFLOW;
            let rule = match (restartable, later) {
                (false, _) => MAINLINE,
                (true, true) if of_overflow => Q9,
                (true, true) if due.restarted || self.any_restarted(group) => R2,
                (true, true) => Q4,
                (true, false) if seen.event.pid != due.pid && self.is_taken(group, seen) => {
                    // Somebody else's close may have made it unread.
                    if self.is_kept_by_call(task, reading.file) { X3 } else { R6 }
                }
                // An event that should not be there at all.
                (true, false) if !due.restarted && [A1, R9].contains(&rule) => {
                    self.rule_of_queue(group, rule)
                }
                (true, false) => rule,
            };
            let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
            return Err(cx.broken(rule, allowed(), format!("{}{what}", observed())));
        }
        Ok(seen.event.fd)
    }

    /// The read returns with the events that it has, of which there is at least one.
    fn read_all(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        reading: &Reading,
    ) -> Result<(), Stop> {
        let Some(back) = cx.peek_of(self, task) else {
            if reading.unseen.is_empty() || cx.is_unseen(self, task) {
                return self.leave(cx, task);
            }
            let rule = if self.group(reading.group).restartable { Q4 } else { MAINLINE };
            let allowed: Vec<String> =
                reading.unseen.iter().map(|(due, ..)| self.due_text(cx, due)).collect();
            return Err(cx.broken(rule, allowed.join(", "), cx.seen_instead(task)));
        };
        self.matched.insert(back.step);
        let events = events_of(back);
        let bytes = i64::from(reading.done);
        if events.len() > reading.events as usize || back.value != bytes {
            let rule = if !self.group(reading.group).restartable {
                MAINLINE
            } else if events.len() > reading.events as usize {
                R6
            } else {
                Q10
            };
            let observed =
                events.iter().map(|one| seen_text(self, cx, one)).collect::<Vec<_>>().join(", ");
            let number = if reading.events == 1 { "" } else { "s" };
            return Err(cx.broken(
                rule,
                format!("{} event{number}: {bytes} bytes", reading.events),
                format!("{observed}: {} bytes", back.value),
            ));
        }
        self.group_mut(reading.group).is_confirmed();
        // A spawned task's variables are nobody's.
        if let Some(Bind::Events(vars)) = cx.program.steps.get(back.step).map(|step| &step.bind) {
            for (var, seen) in vars.iter().zip(events) {
                if let Some(value) = self.vars.get_mut(usize::from(var.0)) {
                    *value = seen.event.fd;
                }
            }
        }
        self.leave(cx, task)
    }

    /// A read that was not seen to return returns here: what it should have read.
    /// `due` and `read` are what it has so far.
    fn foresee_read(
        mut self,
        cx: &Context<'_>,
        task: Task,
        mut reading: Reading,
        mut due: Vec<Due>,
        mut read: Vec<SeenEvent>,
    ) -> Stop {
        for seen in &read {
            self.hold_numbers(task, seen);
        }
        let end = loop {
            let one = match self.next_due(None, task, &reading) {
                Taken::Event(_, one, _) => one,
                end => break end,
            };
            let seen = self.as_read(task, &one);
            self.hold_numbers(task, &seen);
            reading.pass(&one);
            due.push(one);
            read.push(seen);
        };
        if matches!(end, Taken::Fault) {
            self.foresee(cx, task, -i64::from(Errno::EFAULT.0), Seen::Nothing);
        } else {
            let bytes: usize = due.iter().map(|one| one.len).sum();
            self.foresee(cx, task, bytes as i64, Seen::Events(read));
        }
        let rule = match due.iter().find(|one| one.restarted).or(due.first()) {
            Some(one) if self.group(reading.group).restartable => {
                // Where an event is unread, a read that sleeps is wrong whatever has become of it.
                Some(self.loser(reading.group, one)).filter(|rule| *rule != R6).unwrap_or(Q4)
            }
            _ => MAINLINE,
        };
        let allowed: Vec<String> = due.iter().map(|one| self.due_text(cx, one)).collect();
        cx.broken(rule, allowed.join(", "), cx.seen_instead(task))
    }

    /// The numbers that an event was read with are in use.
    fn hold_numbers(&mut self, task: Task, seen: &SeenEvent) {
        for fd in [Some(seen.event.fd), pidfd_of(seen)].into_iter().flatten() {
            if fd >= 0 && !self.task(task).fds.contains_key(&fd) {
                let file = self.add_file(task, FileKind::Pidfd, OpenFlags::O_RDWR);
                self.install(task, fd, file, true);
            }
        }
    }

    /// The rule that loses an event which does not come.
    fn loser(&self, group: GroupNo, due: &Due) -> Rule {
        if due.restarted || self.any_restarted(group) {
            R1
        } else if due.path.is_none() {
            Q9
        } else {
            R6
        }
    }

    /// An event in words.
    fn due_text(&self, cx: &Context<'_>, due: &Due) -> String {
        let by = (0u8..)
            .zip(&self.tasks)
            .find(|(_, task)| due.pid != 0 && task.pid == due.pid)
            .map(|(number, _)| Task(number));
        due.text(cx, by)
    }

    /// The event as a right kernel delivers it.
    fn as_read(&self, task: Task, due: &Due) -> SeenEvent {
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

    fn take_number(
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

    /// The rule that a seen event breaks as this one, and in what.
    fn differs(&self, due: &Due, seen: &SeenEvent) -> Option<(Rule, String)> {
        let event = &seen.event;
        let kept = if due.restarted {
            R9
        } else if due.path.is_none() {
            Q9
        } else {
            A1
        };
        if event.mask != due.mask {
            return Some((kept, String::new()));
        }
        if event.pid != due.pid {
            return Some((R9, format!("pid {} where {} waits", event.pid, due.pid)));
        }
        let range = event.info.iter().find_map(|info| match info {
            InfoRecord::Range { offset, count } => Some((*offset, *count)),
            _ => None,
        });
        if range != due.range {
            return Some((kept, format!("range {range:?} where {:?} is accessed", due.range)));
        }
        match due.fd {
            DueFd::New if event.fd < 0 => {
                return Some((Q7, format!("fd {} where one could be made", event.fd)));
            }
            DueFd::Number(numbers) if !numbers.contains(&event.fd) => {
                return Some((Q7, format!("fd {}, allowed {numbers:?}", event.fd)));
            }
            _ => {}
        }
        let object = due.path.map_or(Object::None, |path| Object::File(path.inode()));
        if due.fd == DueFd::New && seen.object != object {
            return Some((kept, "the event fd is open on it".to_owned()));
        }
        let pidfd = pidfd_of(seen);
        match due.pidfd {
            Some(DueFd::New) if pidfd.is_none_or(|fd| fd < 0) => {
                return Some((due.rule_of_fds(), format!("pidfd {pidfd:?}")));
            }
            Some(DueFd::Number(numbers)) if pidfd.is_none_or(|fd| !numbers.contains(&fd)) => {
                return Some((due.rule_of_fds(), format!("pidfd {pidfd:?}, allowed {numbers:?}")));
            }
            None if pidfd.is_some() => return Some((Q10, "a pidfd".to_owned())),
            _ => {}
        }
        let foreign = event.info.iter().any(|info| matches!(info, InfoRecord::Other { .. }));
        if event.len as usize != due.len || foreign {
            return Some((Q10, format!("an event of {} bytes, not {}", event.len, due.len)));
        }
        None
    }

    /// Whether the seen event is this entry of the queue, by what does not depend on the reader.
    fn is_entry(&self, entry: Unread, seen: &SeenEvent) -> bool {
        match entry {
            Unread::Overflow => seen.event.mask == EventMask::Q_OVERFLOW,
            Unread::Event(number) => self.events.get(&number).is_some_and(|event| {
                event.mask == seen.event.mask
                    && self.task(number.0).pid == seen.event.pid
                    && (seen.event.fd < 0 || seen.object == Object::File(event.path.inode()))
            }),
        }
    }

    /// Whether nothing keeps the file but the call that the task was made for.
    pub(crate) fn is_kept_by_call(&self, task: Task, file: FileNo) -> bool {
        let of = self.task(task);
        of.life == Life::OneCall && self.files.get(&file).is_some_and(|file| file.refs == 1)
    }

    /// Whether the seen event was read before and nobody has answered it.
    fn is_taken(&self, group: GroupNo, seen: &SeenEvent) -> bool {
        let unread = &self.group(group).unread;
        self.events.iter().any(|(number, event)| {
            let entry = Unread::Event(*number);
            event.group == group && !unread.contains(&entry) && self.is_entry(entry, seen)
        })
    }

    /// Whether an event that is unread was so before.
    pub(crate) fn any_restarted(&self, group: GroupNo) -> bool {
        self.group(group).unread.iter().any(|entry| match entry {
            Unread::Overflow => false,
            Unread::Event(number) => self.events.get(number).is_some_and(|event| event.restarted),
        })
    }
}

impl SeenEvent {
    /// The same with these numbers.
    fn numbered(mut self, fd: i32, pidfd: Option<i32>) -> Self {
        self.event.fd = fd;
        for info in &mut self.event.info {
            if let (InfoRecord::Pidfd(number), Some(pidfd)) = (info, pidfd) {
                *number = pidfd;
            }
        }
        self
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

/// The events that a read returned.
pub(crate) fn events_of(back: &Return) -> &[SeenEvent] {
    match &back.data {
        Seen::Events(events) => events,
        _ => &[],
    }
}

impl Transit {
    /// Whether not all of the memory is there that it is copied to.
    fn is_missing(&self) -> bool {
        self.reading.missing && self.due.len > self.reading.good as usize
    }
}

impl Due {
    fn rule_of_fds(&self) -> Rule {
        if self.restarted { R9 } else { Q8 }
    }
}

/// The pidfd that an event was read with.
pub(crate) fn pidfd_of(seen: &SeenEvent) -> Option<i32> {
    seen.event.info.iter().find_map(|info| match info {
        InfoRecord::Pidfd(fd) => Some(*fd),
        _ => None,
    })
}

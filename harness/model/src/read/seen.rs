//! What a read was seen to return, against what was due.

use refan_abi::{Errno, EventMask, InfoRecord, OpenFlags};
use refan_program::{Bind, Rule, Task};

use super::due::{Due, DueFd, Taken, seen_text};
use crate::context::Context;
use crate::group::Unread;
use crate::rules::{A1, MAINLINE, Q4, Q7, Q9, Q10, R2, R6, R9, X3};
use crate::state::{FileKind, GroupNo, Reading, State};
use crate::violation::returned;
use crate::{Object, Return, Seen, SeenEvent, Stop};

impl State {
    /// Whether the event that a read returned next is one of those that can be the first.
    pub(crate) fn is_first(&self, group: GroupNo, seen: &SeenEvent) -> bool {
        let heads = self.heads(group);
        self.group(group).unread[..heads].iter().any(|entry| self.is_entry(*entry, seen))
    }

    /// Of the events that can be the first, one is; the one that was read, if that is known.
    pub(super) fn put_expected_first(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        reading: &Reading,
    ) {
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

    /// The event that was taken is the one that was read next; its fd number.
    pub(super) fn accept(
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
    pub(super) fn read_all(
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
    pub(super) fn foresee_read(
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

    /// Whether the seen event was read before and nobody has answered it.
    fn is_taken(&self, group: GroupNo, seen: &SeenEvent) -> bool {
        let unread = &self.group(group).unread;
        self.events.iter().any(|(number, event)| {
            let entry = Unread::Event(*number);
            event.group == group && !unread.contains(&entry) && self.is_entry(entry, seen)
        })
    }
}

impl SeenEvent {
    /// The same with these numbers.
    pub(super) fn numbered(mut self, fd: i32, pidfd: Option<i32>) -> Self {
        self.event.fd = fd;
        for info in &mut self.event.info {
            if let (InfoRecord::Pidfd(number), Some(pidfd)) = (info, pidfd) {
                *number = pidfd;
            }
        }
        self
    }
}

/// The events that a read returned.
pub(crate) fn events_of(back: &Return) -> &[SeenEvent] {
    match &back.data {
        Seen::Events(events) => events,
        _ => &[],
    }
}

/// The pidfd that an event was read with.
pub(crate) fn pidfd_of(seen: &SeenEvent) -> Option<i32> {
    seen.event.info.iter().find_map(|info| match info {
        InfoRecord::Pidfd(fd) => Some(*fd),
        _ => None,
    })
}

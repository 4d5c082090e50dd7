//! Groups: how one is made, and its queue.

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::{Errno, InitFlags, METADATA_LEN, OpenFlags};
use refan_program::{Rule, Task};

use crate::Kernel;
use crate::latest::Latest;
use crate::mark::{FID, Mark, On};
use crate::rules::{CONTROL_FLAGS, I1, I3, K2, K3, MAINLINE, Q9, R1, R7, R8, S1, S2};
use crate::state::{Answer, At, Event, EventNo, FileNo, GroupNo, State};
use crate::violation::Allowed;

/// `FAN_CLASS_*`; the higher class is asked first (A3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    Notif,
    Content,
    PreContent,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub class: Class,
    /// The bits that `fanotify_init` took, the flag under test among them.
    pub flags: InitFlags,
    /// The same as the kernel has them.
    pub flag_bits: u32,
    pub restartable: bool,
    pub uid: u16,
    /// What event fds are opened with.
    pub event_flags: OpenFlags,
    /// Seconds of the watchdog, as they were when the group was made.
    pub watchdog: u32,
    /// How long the queue can get.
    pub limit: Option<u32>,
    pub marks: Vec<Mark>,
    /// When its marks were last changed, by what they stand on.
    pub changed: BTreeMap<On, u32>,
    /// A mark asks, or has asked, for other than permission events.
    pub hears_of_others: bool,
    /// What a read takes next comes first.
    pub unread: Vec<Unread>,
    /// Whether an event that is queued now could as well have been queued before those of the last
    /// rank: nothing that has happened since depends on their being there.
    pub unordered: bool,
    /// By number; of equal numbers in the order of hand-over.
    pub pending: Vec<Pending>,
    /// The open queue file of a restartable group.
    pub queue: Option<FileNo>,
    /// Event fd numbers whose events a queue release has made unread again.
    pub void_fds: BTreeSet<i32>,
    /// The control file, or a classic group's file, is being released: no event comes any more.
    pub down: bool,
    /// It has been.
    pub gone: bool,
    /// What a wrong answer about the queue breaks.
    pub latest: Latest,
    /// The rule that keeps away what was answered in the life of the queue file, if anything was.
    pub answers: Latest,
    /// The rule by which the marks last came to ask for what the next access is.
    pub marked: Latest,
}

/// An entry of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unread {
    Event(EventNo),
    Overflow,
}

/// An event that was read and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub event: EventNo,
    /// The number that answers it.
    pub fd: i32,
    /// The number under which the watchdog times it, if it does.
    pub timed: Option<u32>,
}

/// `O_SYNC` without `O_DSYNC`.
const SYNC: OpenFlags = OpenFlags::from_bits_retain(0o4000000);
/// `FANOTIFY_INIT_ALL_EVENT_F_BITS` of fs/notify/fanotify/fanotify_user.c.
const EVENT_FLAGS: OpenFlags = OpenFlags::ACCMODE
    .union(OpenFlags::O_APPEND)
    .union(OpenFlags::O_NONBLOCK)
    .union(SYNC)
    .union(OpenFlags::O_DSYNC)
    .union(OpenFlags::O_CLOEXEC)
    .union(OpenFlags::O_LARGEFILE)
    .union(OpenFlags::O_NOATIME);
/// `FANOTIFY_ADMIN_INIT_FLAGS` of include/linux/fanotify.h.
const ADMIN: InitFlags = InitFlags::CLASS
    .union(InitFlags::REPORT_TID)
    .union(InitFlags::REPORT_PIDFD)
    .union(InitFlags::REPORT_FD_ERROR)
    .union(InitFlags::UNLIMITED_QUEUE)
    .union(InitFlags::UNLIMITED_MARKS);
/// `FANOTIFY_INIT_FLAGS`
const INIT_FLAGS: InitFlags = ADMIN
    .union(FID)
    .union(InitFlags::REPORT_MNT)
    .union(InitFlags::CLOEXEC)
    .union(InitFlags::NONBLOCK);

/// What `fanotify_init(2)` can do.
pub(crate) enum Init {
    /// One of these results.
    Only(Rule, Vec<Allowed>),
    /// The group can be made. Besides a success these results are allowed.
    Made(Rule, Box<Group>, Vec<Allowed>),
}

impl State {
    /// `fanotify_init(2)`, in the order of the checks of fs/notify/fanotify/fanotify_user.c.
    pub(crate) fn init(
        &self,
        kernel: &Kernel,
        task: Task,
        flags: InitFlags,
        event_flags: OpenFlags,
    ) -> Init {
        let only = |rule, errno| Init::Only(rule, vec![Allowed::Errno(errno)]);
        let bits = kernel.api.init_bits(flags);
        let asked = bits & kernel.api.init_flag != 0;
        let restartable = asked && kernel.restartable;
        let rule = if asked { I1 } else { MAINLINE };
        let named = InitFlags::from_bits_retain(u64::from(bits & !kernel.api.init_flag));
        let (uid, is_admin) = (self.task(task).uid, self.is_admin(task));
        let needs_admin = restartable
            || named.intersects(ADMIN)
            || !named.intersects(FID | InitFlags::REPORT_MNT);
        if needs_admin && !is_admin {
            return only(rule, Errno::EPERM);
        }
        let class = named & InitFlags::CLASS;
        let fid = named & FID;
        let known = INIT_FLAGS | InitFlags::ENABLE_AUDIT;
        if !(named - known).is_empty()
            || (asked && !kernel.restartable)
            || (named.contains(InitFlags::ENABLE_AUDIT) && self.audit == Some(false))
            || (named.contains(InitFlags::REPORT_MNT)
                && (!class.is_empty() || named.intersects(FID | InitFlags::REPORT_FD_ERROR)))
            || !(event_flags - EVENT_FLAGS).is_empty()
            || event_flags.contains(OpenFlags::ACCMODE)
            || (!fid.is_empty() && !class.is_empty())
            || (fid.contains(InitFlags::REPORT_NAME) && !fid.contains(InitFlags::REPORT_DIR_FID))
            || (fid.contains(InitFlags::REPORT_TARGET_FID)
                && !fid.contains(InitFlags::REPORT_NAME | InitFlags::REPORT_FID))
            || (restartable && class.is_empty())
        {
            return only(rule, Errno::EINVAL);
        }
        let mut errors = Vec::new();
        if named.contains(InitFlags::ENABLE_AUDIT) && self.audit.is_none() {
            // CONFIG_AUDITSYSCALL, which nothing tells before.
            errors.push(Allowed::Errno(Errno::EINVAL));
        }
        // A restartable group counts until its last file is gone, or ceases to count at an earlier
        // time after its control file was released (I3).
        let (most, fewest) = self.groups_of(uid);
        if fewest >= self.limits.groups {
            errors.push(Allowed::Errno(Errno::EMFILE));
            return Init::Only(I3, errors);
        }
        if most >= self.limits.groups {
            errors.push(Allowed::Errno(Errno::EMFILE));
        }
        let class = match class {
            InitFlags::CLASS_NOTIF => Class::Notif,
            InitFlags::CLASS_CONTENT => Class::Content,
            InitFlags::CLASS_PRE_CONTENT => Class::PreContent,
            _ => {
                errors.push(Allowed::Errno(Errno::EINVAL));
                return Init::Only(rule, errors);
            }
        };
        if named.contains(InitFlags::ENABLE_AUDIT) && !is_admin {
            errors.push(Allowed::Errno(Errno::EPERM));
            return Init::Only(rule, errors);
        }
        if self.fds_left(task) == Some(0) {
            errors.push(Allowed::Errno(Errno::EMFILE));
            return Init::Only(rule, errors);
        }
        let group = Group {
            class,
            flags: named,
            flag_bits: bits,
            restartable,
            uid,
            event_flags: event_flags | OpenFlags::O_LARGEFILE,
            watchdog: self.limits.watchdog,
            limit: (!named.contains(InitFlags::UNLIMITED_QUEUE))
                .then_some(self.limits.queued_events)
                .flatten(),
            marks: Vec::new(),
            changed: BTreeMap::new(),
            hears_of_others: false,
            unread: Vec::new(),
            unordered: false,
            pending: Vec::new(),
            queue: None,
            void_fds: BTreeSet::new(),
            down: false,
            gone: false,
            latest: Latest::default(),
            answers: Latest::default(),
            marked: Latest::default(),
        };
        let rule = if restartable { CONTROL_FLAGS } else { rule };
        Init::Made(rule, Box::new(group), errors)
    }

    /// How many groups count against the user's limit: at most, and at least.
    fn groups_of(&self, uid: u16) -> (u32, u32) {
        let own = || self.groups.iter().filter(move |group| group.uid == uid);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (
            count(own().filter(|group| !group.gone || group.queue.is_some()).count()),
            count(own().filter(|group| !group.down).count()),
        )
    }

    /// Queues the event of a task; false where the access is let through without one
    /// (`fsnotify_insert_event`).
    pub(crate) fn queue_event(&mut self, task: Task, mut event: Event) -> bool {
        let group = &mut self.groups[event.group.0];
        if group.down {
            return false;
        }
        if group.limit.is_some_and(|limit| group.unread.len() >= limit as usize) {
            group.unordered = false;
            group.decided_by(Q9);
            if !group.unread.contains(&Unread::Overflow) {
                group.unread.push(Unread::Overflow);
            }
            return false;
        }
        let last = self.events.values().filter(|other| other.group == event.group);
        let last = last.map(|other| other.rank).max();
        event.rank = match (last, group.unread.last()) {
            (Some(rank), Some(Unread::Event(_))) if group.unordered => rank,
            (Some(rank), _) => rank + 1,
            (None, _) => 0,
        };
        // In an order of their own, so that it does not tell who came first.
        let number = EventNo(task);
        let same = |entry: &Unread| match entry {
            Unread::Event(other) => {
                *other > number
                    && self.events.get(other).is_some_and(|other| other.rank == event.rank)
            }
            Unread::Overflow => false,
        };
        let behind = group.unread.iter().rev().take_while(|entry| same(entry)).count();
        group.unread.insert(group.unread.len() - behind, Unread::Event(number));
        group.unordered = true;
        self.events.insert(number, event);
        true
    }

    /// How many entries of the queue can be the first: those that were queued at the same time.
    pub(crate) fn heads(&self, group: GroupNo) -> usize {
        let rank = |entry: &Unread| match entry {
            Unread::Event(number) => self.events.get(number).map(|event| event.rank),
            Unread::Overflow => None,
        };
        let unread = &self.group(group).unread;
        match unread.first().map(rank) {
            Some(Some(first)) => {
                unread.iter().take_while(|entry| rank(entry) == Some(first)).count()
            }
            Some(None) => 1,
            None => 0,
        }
    }

    /// One of those that can be the first is: the others were queued behind it.
    pub(crate) fn put_first(&mut self, group: GroupNo, head: usize) {
        let of = self.group_mut(group);
        of.unread[..=head].rotate_right(1);
        if let Some(Unread::Event(first)) = of.unread.first().copied()
            && let Some(rank) = self.events.get(&first).map(|event| event.rank)
        {
            for (number, event) in &mut self.events {
                if event.group == group && event.rank >= rank && *number != first {
                    event.rank += 1;
                }
            }
        }
    }

    /// Makes the ranks of a group's events successive numbers from 0 on.
    pub(crate) fn normalize_ranks(&mut self, group: GroupNo) {
        let of = |event: &&Event| event.group == group;
        let ranks: BTreeSet<u32> =
            self.events.values().filter(of).map(|event| event.rank).collect();
        if ranks.iter().copied().eq(0..ranks.len() as u32) {
            return;
        }
        for event in self.events.values_mut().filter(|event| event.group == group) {
            event.rank =
                (0..).zip(&ranks).find(|(_, rank)| **rank == event.rank).map_or(0, |of| of.0);
        }
    }

    /// Length of an entry of the queue as it is read (`fanotify_event_len`).
    pub(crate) fn event_len(&self, group: GroupNo, entry: Unread) -> usize {
        const PIDFD: usize = 8;
        const RANGE: usize = 24;
        let pidfd = self.group(group).flags.contains(InitFlags::REPORT_PIDFD);
        let range = match entry {
            Unread::Event(event) => {
                self.events.get(&event).is_some_and(|event| event.range.is_some())
            }
            Unread::Overflow => false,
        };
        METADATA_LEN + if pidfd { PIDFD } else { 0 } + if range { RANGE } else { 0 }
    }

    /// Bytes that are unread.
    pub(crate) fn unread_bytes(&self, group: GroupNo) -> usize {
        self.group(group).unread.iter().map(|entry| self.event_len(group, *entry)).sum()
    }

    /// Answers an event: its accessor goes on, or the event is dropped with it (K3).
    pub(crate) fn answer(&mut self, number: EventNo, answer: Answer) {
        let Some(event) = self.events.get_mut(&number) else { return };
        if event.canceled {
            self.events.remove(&number);
            return;
        }
        event.answer = Some(answer);
        if let Some(call) = &mut self.task_mut(number.0).call {
            call.rule = answer.rule;
        }
    }

    /// An event that was read waits for its answer.
    pub(crate) fn hand_over(&mut self, reader: Task, group: GroupNo, event: EventNo, fd: i32) {
        let timeout = self.group(group).watchdog;
        let of = self.group_mut(group);
        if of.down {
            // Whoever allows the others has not seen it.
            self.answer(event, Answer::allow(S1));
            return;
        }
        let timed = self.time_event(reader, timeout);
        let of = self.group_mut(group);
        of.void_fds.remove(&fd);
        let at = of.pending.partition_point(|pending| pending.fd <= fd);
        of.pending.insert(at, Pending { event, fd, timed });
    }

    /// The queue file is released: what is pending becomes unread again, ahead of everything that
    /// is unread, in the order of first queueing (R1, R2, R7); canceled events are freed (K3).
    pub(crate) fn restart(&mut self, group: GroupNo, by_exit: bool) {
        let rule = self.rule_of_restart(group, by_exit);
        self.group_mut(group).decided_by(rule);
        let pending = std::mem::take(&mut self.group_mut(group).pending);
        let mut restarted = Vec::new();
        for Pending { event: number, fd, .. } in pending {
            self.group_mut(group).void_fds.insert(fd);
            match self.events.get_mut(&number) {
                Some(event) if event.canceled => {
                    self.events.remove(&number);
                }
                Some(event) => {
                    event.restarted = true;
                    restarted.push((event.rank, number));
                    if let Some(call) = &mut self.task_mut(number.0).call {
                        // Its own event is not one that stays away.
                        call.rule = match rule {
                            K3 if by_exit => R8,
                            K3 => R1,
                            rule => rule,
                        };
                    }
                }
                None => {}
            }
        }
        // What is unread was queued behind everything that was ever taken.
        restarted.sort_unstable();
        let group = self.group_mut(group);
        group.queue = None;
        group.answers = Latest::default();
        group.unordered = false;
        group.unread.splice(0..0, restarted.into_iter().map(|(_, event)| Unread::Event(event)));
    }

    /// The control file, or a classic group's file, is released: no event comes any more (S1;
    /// `fanotify_release`).
    pub(crate) fn stop(&mut self, group: GroupNo) {
        let of = self.group_mut(group);
        of.down = true;
        of.unordered = false;
        let reads_it = |at: &At| matches!(at, At::Reading(reading) if reading.group == group);
        if of.restartable {
            for call in self.tasks.iter_mut().filter_map(|task| task.call.as_mut()) {
                if reads_it(&call.at) {
                    call.rule = S2;
                }
            }
        }
    }

    /// The events that are to be allowed now that the group has stopped.
    pub(crate) fn to_be_allowed(&self, group: GroupNo) -> Vec<EventNo> {
        let of = self.group(group);
        let unread = of.unread.iter().filter_map(|entry| match entry {
            Unread::Event(event) => Some(*event),
            Unread::Overflow => None,
        });
        of.pending.iter().map(|pending| pending.event).chain(unread).collect()
    }

    /// Allows an event of a group that has stopped.
    pub(crate) fn allow(&mut self, group: GroupNo, event: EventNo) {
        let of = self.group_mut(group);
        let rule = if of.restartable { S1 } else { MAINLINE };
        of.pending.retain(|pending| pending.event != event);
        of.unread.retain(|entry| *entry != Unread::Event(event));
        self.answer(event, Answer::allow(rule));
    }

    /// The marks of a group that has stopped go, and what else is left of it but what the queue
    /// file holds.
    pub(crate) fn tear_down(&mut self, group: GroupNo) {
        self.group_mut(group).unread.clear();
        self.remove_marks(group, |_| true);
    }

    /// The accessor of an event was killed (K2, K3; `fanotify_get_response`).
    pub(crate) fn abandon(&mut self, number: EventNo) {
        let Some(event) = self.events.get_mut(&number) else { return };
        let of = &mut self.groups[event.group.0];
        let unread = of.unread.iter().position(|entry| *entry == Unread::Event(number));
        match unread {
            Some(at) => {
                of.unread.remove(at);
                of.decided_by(K2);
                self.events.remove(&number);
            }
            None if event.answer.is_some() => {
                self.events.remove(&number);
            }
            None => event.canceled = true,
        }
    }

    /// The rule by which an access finds the queue full: it may be so by what has restarted.
    pub(crate) fn rule_of_full_queue(&self, group: GroupNo) -> Rule {
        let of = self.group(group);
        let restarted = |entry: &&Unread| match entry {
            Unread::Event(number) => self.events.get(number).is_some_and(|event| event.restarted),
            Unread::Overflow => false,
        };
        let others = of.unread.len() - of.unread.iter().filter(restarted).count();
        if of.limit.is_some_and(|limit| others < limit as usize) { R7 } else { Q9 }
    }

    /// Whether the event is pending in a restartable group.
    pub(crate) fn is_pending(&self, number: EventNo) -> bool {
        let pending = |group: &Group| group.pending.iter().any(|one| one.event == number);
        self.groups.iter().any(|group| group.restartable && pending(group))
    }

    /// The rule that keeps an accessor waiting for this event.
    pub(crate) fn rule_of_wait(&self, number: EventNo) -> Rule {
        let Some(event) = self.events.get(&number) else { return crate::rules::A1 };
        let group = self.group(event.group);
        // One without a limit of its own is where others would be at theirs.
        let limit = group.limit.or(self.limits.queued_events);
        if !group.restartable {
            MAINLINE
        } else if event.restarted {
            self.task(number.0).call.as_ref().map_or(R1, |call| call.rule)
        } else if limit.is_some_and(|limit| group.unread.len() >= limit as usize) {
            Q9
        } else if group.queue.is_none() {
            event.marked.or(crate::rules::R5)
        } else if group.unread.contains(&Unread::Event(number)) {
            // Nobody has read it: nothing shows that there is one.
            event.marked.or(crate::rules::A1)
        } else {
            crate::rules::R6
        }
    }
}

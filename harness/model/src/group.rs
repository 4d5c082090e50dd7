//! Groups: how one is made, and its queue.

use std::collections::BTreeSet;

use refan_abi::{Errno, InitFlags, METADATA_LEN, OpenFlags};
use refan_program::{Rule, Task};

use crate::Kernel;
use crate::mark::{FID, Mark};
use crate::rules::{CONTROL_FLAGS, I1, I3, MAINLINE, Q9, R1, S1};
use crate::state::{Answer, At, Event, EventNo, FileKind, FileNo, GroupNo, State};
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
    /// How long the queue can get.
    pub limit: Option<u32>,
    pub marks: Vec<Mark>,
    /// When its marks were last changed.
    pub changed: u32,
    /// A mark asks, or has asked, for other than permission events.
    pub hears_of_others: bool,
    /// What a read takes next comes first.
    pub unread: Vec<Unread>,
    /// In the order of hand-over.
    pub pending: Vec<Pending>,
    /// The open queue file of a restartable group.
    pub queue: Option<FileNo>,
    /// Event fd numbers whose events a queue release has made unread again.
    pub void_fds: BTreeSet<i32>,
    /// The control file, or a classic group's file, has been released.
    pub down: bool,
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
        let uid = self.task(task).uid;
        let needs_admin = restartable
            || named.intersects(ADMIN)
            || !named.intersects(FID | InitFlags::REPORT_MNT);
        if needs_admin && uid != 0 {
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
        if named.contains(InitFlags::ENABLE_AUDIT) && uid != 0 {
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
            limit: (!named.contains(InitFlags::UNLIMITED_QUEUE))
                .then_some(self.limits.queued_events)
                .flatten(),
            marks: Vec::new(),
            changed: 0,
            hears_of_others: false,
            unread: Vec::new(),
            pending: Vec::new(),
            queue: None,
            void_fds: BTreeSet::new(),
            down: false,
        };
        let rule = if restartable { CONTROL_FLAGS } else { rule };
        Init::Made(rule, Box::new(group), errors)
    }

    /// How many groups count against the user's limit: at most, and at least.
    fn groups_of(&self, uid: u16) -> (u32, u32) {
        let own = || self.groups.iter().filter(move |group| group.uid == uid);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (
            count(own().filter(|group| !group.down || group.queue.is_some()).count()),
            count(own().filter(|group| !group.down).count()),
        )
    }

    /// Queues an event; none where the access is let through without one (`fsnotify_insert_event`).
    pub(crate) fn queue_event(&mut self, event: Event) -> Option<EventNo> {
        let number = EventNo(self.events_made);
        let at = event.group;
        self.touched = true;
        let group = self.group_mut(at);
        if group.down {
            return None;
        }
        if group.limit.is_some_and(|limit| group.unread.len() >= limit as usize) {
            if !group.unread.contains(&Unread::Overflow) {
                group.unread.push(Unread::Overflow);
            }
            return None;
        }
        group.unread.push(Unread::Event(number));
        self.events_made += 1;
        self.events.insert(number, event);
        Some(number)
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
        self.touched = true;
        if event.canceled {
            self.events.remove(&number);
            return;
        }
        event.answer = Some(answer);
        let accessor = event.accessor;
        if let Some(call) = &mut self.task_mut(accessor).call {
            call.rule = answer.rule;
        }
    }

    /// The queue file is released: what is pending becomes unread again, ahead of everything that
    /// is unread, in the order of first queueing (R1, R2, R7); canceled events are freed (K3).
    pub(crate) fn restart(&mut self, group: GroupNo) {
        self.touched = true;
        let pending = std::mem::take(&mut self.group_mut(group).pending);
        let mut restarted = Vec::new();
        for Pending { event: number, fd } in pending {
            self.group_mut(group).void_fds.insert(fd);
            match self.events.get_mut(&number) {
                Some(event) if event.canceled => {
                    self.events.remove(&number);
                }
                Some(event) => {
                    event.restarted = true;
                    restarted.push(number);
                    let accessor = event.accessor;
                    if let Some(call) = &mut self.task_mut(accessor).call {
                        call.rule = R1;
                    }
                }
                None => {}
            }
        }
        let group = self.group_mut(group);
        group.queue = None;
        for entry in &group.unread {
            if let Unread::Event(number) = entry {
                restarted.push(*number);
            }
        }
        // Events are read from the head, so one order of first queueing goes through the events of
        // both lists; the overflow record keeps its place behind those it stood behind.
        let overflow = group
            .unread
            .iter()
            .position(|entry| *entry == Unread::Overflow)
            .map(|at| group.unread.len() - 1 - at);
        restarted.sort_unstable();
        group.unread = restarted.into_iter().map(Unread::Event).collect();
        if let Some(behind) = overflow {
            let at = group.unread.len().saturating_sub(behind);
            group.unread.insert(at, Unread::Overflow);
        }
    }

    /// The control file, or a classic group's file, is released: all accessors are allowed, the
    /// marks go (S1; `fanotify_release`).
    pub(crate) fn shut_down(&mut self, group: GroupNo) {
        self.touched = true;
        let of = self.group_mut(group);
        of.down = true;
        let rule = if of.restartable { S1 } else { MAINLINE };
        let pending = std::mem::take(&mut of.pending);
        let unread = std::mem::take(&mut of.unread);
        for one in pending {
            self.answer(one.event, Answer::allow(rule));
        }
        for entry in unread {
            if let Unread::Event(event) = entry {
                self.answer(event, Answer::allow(rule));
            }
        }
        self.remove_marks(group, |_| true);
        for task in &mut self.tasks {
            let reads_it = matches!(&task.call, Some(call) if matches!(&call.at,
                At::Reading { file, .. } if matches!(self.files.get(file),
                    Some(open) if open.kind == FileKind::Queue(group))));
            if let (true, Some(call)) = (reads_it, &mut task.call) {
                call.rule = crate::rules::S2;
            }
        }
    }

    /// The accessor of an event was killed (K2, K3; `fanotify_get_response`).
    pub(crate) fn abandon(&mut self, number: EventNo) {
        self.touched = true;
        let Some(event) = self.events.get_mut(&number) else { return };
        let group = event.group;
        let of = &mut self.groups[group.0];
        if of.pending.iter().any(|pending| pending.event == number) {
            event.canceled = true;
            return;
        }
        of.unread.retain(|entry| *entry != Unread::Event(number));
        self.events.remove(&number);
    }

    /// The rule that keeps an accessor waiting for this event.
    pub(crate) fn rule_of_wait(&self, number: EventNo) -> Rule {
        let Some(event) = self.events.get(&number) else { return crate::rules::A1 };
        let group = self.group(event.group);
        if !group.restartable {
            MAINLINE
        } else if event.restarted {
            R1
        } else if group.queue.is_none() {
            crate::rules::R5
        } else if group.limit.is_some_and(|limit| group.unread.len() >= limit as usize) {
            Q9
        } else {
            crate::rules::R6
        }
    }
}

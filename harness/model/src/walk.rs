//! The way of an access from group to group: who is asked, in what order (A3).
//!
//! `fsnotify`, `send_to_group` in fs/notify/fsnotify.c; `fanotify_handle_event`,
//! `fanotify_group_event_mask` in fs/notify/fanotify/fanotify.c.

use std::collections::BTreeSet;

use refan_abi::{Errno, EventMask, InitFlags};
use refan_program::{Path, PathKind, Task};

use crate::Stop;
use crate::access::Then;
use crate::context::Context;
use crate::group::Class;
use crate::mark::{Mark, On, heard};
use crate::rules::{F1, M4, MAINLINE, S1};
use crate::state::{At, Event, EventNo, GroupNo, Next, State, Walk};

impl State {
    /// The access asks every group that wants to hear of it, one after another; `then` is what it
    /// does when they have answered.
    pub(crate) fn raise(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        mask: EventMask,
        path: Path,
        range: Option<(u64, u64)>,
        then: Then,
    ) -> Result<(), Stop> {
        self.clock += 1;
        let walk = Walk {
            mask,
            path,
            range,
            with_parent: self.wanted_of_children(path, true).intersects(mask),
            passed: BTreeSet::new(),
            since: self.clock,
        };
        self.goes_on(cx, task, Next::LookUp { walk, then })
    }

    /// The event that the task waits for has been answered.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        let call = self.task(task).call.as_ref().map(|call| call.at.clone());
        let Some(At::Asking { event, walk, then }) = call else { return Ok(()) };
        self.unpin(task);
        let refusal = self
            .events
            .remove(&event)
            .and_then(|event| event.answer)
            .and_then(|answer| answer.refusal);
        match refusal {
            Some(_) => self.goes_on(cx, task, Next::After { then, refusal }),
            None => self.goes_on(cx, task, Next::LookUp { walk, then }),
        }
    }

    /// The walk goes to the next group that wants to hear of the access, or is at its end.
    pub(crate) fn look_up(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        mut walk: Walk,
        then: Then,
    ) -> Result<(), Stop> {
        loop {
            let floor = walk.passed.iter().map(|group| self.group(*group).class).min();
            let Some(group) = self.next_group(cx, &walk, floor) else {
                if self.is_ignored(&walk) {
                    self.set_rule(task, M4);
                }
                return self.goes_on(cx, task, Next::After { then, refusal: None });
            };
            walk.passed.insert(group);
            // Marks that were made during the walk can stand where it has been. A detached mark
            // of the group that another walk has pinned lets the access through
            // (fsnotify_prepare_user_wait).
            let missed =
                self.may_be_missed(&walk, group, floor) || self.lingers(walk.path, Some(group));
            if !missed || cx.choose(2) == 0 {
                return self.goes_on(cx, task, Next::Queue { group, walk, then });
            }
        }
    }

    /// The access asks the group, if that still takes events.
    pub(crate) fn ask(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        group: GroupNo,
        walk: Walk,
        then: Then,
    ) -> Result<(), Stop> {
        // An event without a limit is allocated so that it cannot fail (`__GFP_NOFAIL`).
        let of = self.group(group);
        let may_fail = !of.down && !of.flags.contains(InitFlags::UNLIMITED_QUEUE);
        if may_fail && self.fails_here(cx, task) {
            self.set_rule(task, F1);
            let refusal = Some(Errno::ENOMEM);
            return self.goes_on(cx, task, Next::After { then, refusal });
        }
        let event = Event {
            group,
            rank: 0,
            mask: walk.mask,
            path: walk.path,
            range: walk.range,
            restarted: false,
            answer: None,
            canceled: false,
            marked: std::mem::take(&mut self.group_mut(group).marked),
        };
        let number = EventNo(task);
        let full = self.rule_of_full_queue(group);
        let queued = self.queue_event(task, event);
        let of = self.group(group);
        let rule = match queued {
            true => self.rule_of_wait(number),
            false if !of.restartable => MAINLINE,
            false if of.down => S1,
            false => full,
        };
        self.set_rule(task, rule);
        if !queued {
            return self.goes_on(cx, task, Next::LookUp { walk, then });
        }
        self.sleeps(task, At::Asking { event: number, walk, then });
        Ok(())
    }

    /// The group that is asked next: of the highest class that is left, any.
    fn next_group(
        &self,
        cx: &mut Context<'_>,
        walk: &Walk,
        floor: Option<Class>,
    ) -> Option<GroupNo> {
        let left: Vec<GroupNo> = (0..self.groups.len())
            .map(GroupNo)
            .filter(|group| !walk.passed.contains(group))
            // One that has stopped lets every access through, whether its marks are there or not.
            .filter(|group| !self.group(*group).down)
            .filter(|group| floor.is_none_or(|floor| self.group(*group).class <= floor))
            .filter(|group| self.wants(*group, walk, |_| true))
            .collect();
        let class = left.iter().map(|group| self.group(*group).class).max()?;
        let same: Vec<GroupNo> =
            left.into_iter().filter(|group| self.group(*group).class == class).collect();
        Some(same[cx.choose(same.len())])
    }

    /// Whether a restartable group would hear of the access but for its ignore masks.
    fn is_ignored(&self, walk: &Walk) -> bool {
        let numbers = (0..self.groups.len()).map(GroupNo);
        let mut left = numbers.filter(|group| !walk.passed.contains(group));
        left.any(|group| {
            let of = self.group(group);
            of.restartable && !of.down && self.asked_of(group, walk, |_| true).0.contains(walk.mask)
        })
    }

    /// Whether the group wants to hear of the access by those marks.
    pub(crate) fn wants(&self, group: GroupNo, walk: &Walk, which: impl Fn(&Mark) -> bool) -> bool {
        let (asks, ignores) = self.asked_of(group, walk, which);
        (asks - ignores).contains(walk.mask)
    }

    /// What those marks of the group ask for where the access is, and what they ignore there.
    fn asked_of(
        &self,
        group: GroupNo,
        walk: &Walk,
        which: impl Fn(&Mark) -> bool,
    ) -> (EventMask, EventMask) {
        let is_dir = walk.path.kind == PathKind::Dir;
        let mut asks = EventMask::empty();
        let mut ignores = EventMask::empty();
        for mark in self.group(group).marks.iter().filter(|mark| which(mark)) {
            let Some(heard) = heard(mark.on, walk.path, walk.with_parent) else { continue };
            if mark.is_on_walk(heard) {
                asks |= mark.asks(is_dir, heard);
                ignores |= mark.ignores(is_dir, heard);
            }
        }
        (asks, ignores)
    }

    fn may_be_missed(&self, walk: &Walk, group: GroupNo, floor: Option<Class>) -> bool {
        let of = self.group(group);
        let changed =
            |(on, time): (&On, &u32)| *time > walk.since && heard(*on, walk.path, true).is_some();
        (floor == Some(of.class) && of.changed.iter().any(changed))
            || !self.wants(group, walk, |mark| mark.born <= walk.since)
    }

    /// Whether any group wants to hear of such an access.
    pub(crate) fn is_asked(&self, mask: EventMask, path: Path) -> bool {
        let walk = Walk {
            mask,
            path,
            range: None,
            with_parent: true,
            passed: BTreeSet::new(),
            since: self.clock,
        };
        (0..self.groups.len()).any(|group| self.wants(GroupNo(group), &walk, |_| true))
    }

    /// The tasks whose walks stand where they may have pinned a mark on `on`, and wait there for
    /// somebody.
    pub(crate) fn walks_over(&self, on: On) -> BTreeSet<Task> {
        (0u8..)
            .zip(&self.tasks)
            .filter(|(_, task)| {
                matches!(&task.call, Some(call) if matches!(&call.at,
                    At::Asking { walk, .. } | At::Next(Next::Queue { walk, .. })
                    if heard(on, walk.path, walk.with_parent).is_some()))
            })
            .filter(|(number, _)| {
                let event = self.events.get(&EventNo(Task(*number)));
                event.is_none_or(|event| event.answer.is_none())
            })
            .map(|(number, _)| Task(number))
            .collect()
    }

    /// The task's walk no longer stands anywhere.
    pub(crate) fn unpin(&mut self, task: Task) {
        for one in &mut self.lingering {
            one.pinned_by.remove(&task);
        }
        self.lingering.retain(|one| !one.pinned_by.is_empty());
    }

    /// Whether a walk may still have pinned a mark of the group.
    pub(crate) fn is_pinned(&self, group: GroupNo) -> bool {
        self.lingering.iter().any(|one| one.group == group)
    }
}

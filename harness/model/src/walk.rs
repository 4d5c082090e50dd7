//! The way of an access from group to group: who is asked, in what order (A3).
//!
//! `fsnotify`, `send_to_group` in fs/notify/fsnotify.c; `fanotify_handle_event`,
//! `fanotify_group_event_mask` in fs/notify/fanotify/fanotify.c.

use std::collections::BTreeSet;

use refan_abi::{Errno, EventMask};
use refan_program::{Path, PathKind, Task};

use crate::Stop;
use crate::access::Then;
use crate::context::Context;
use crate::group::Class;
use crate::mark::{Mark, On, heard};
use crate::rules::{MAINLINE, Q9, S1};
use crate::state::{At, Event, GroupNo, State, Walk};

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
        self.walk_on(cx, task, walk, then)
    }

    /// The event that the task waits for has been answered.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        let Some(call) = &mut self.task_mut(task).call else { return Ok(()) };
        let At::Asking { event, walk, then } = std::mem::replace(&mut call.at, At::Work) else {
            return Ok(());
        };
        self.unpin(task);
        let refusal = self
            .events
            .remove(&event)
            .and_then(|event| event.answer)
            .and_then(|answer| answer.refusal);
        match refusal {
            Some(errno) => self.after(cx, task, then, Some(errno)),
            None => self.walk_on(cx, task, walk, then),
        }
    }

    fn walk_on(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        mut walk: Walk,
        then: Then,
    ) -> Result<(), Stop> {
        loop {
            let floor = walk.passed.iter().map(|group| self.group(*group).class).min();
            let Some(next) = self.next_group(cx, &walk, floor) else {
                return self.after(cx, task, then, None::<Errno>);
            };
            walk.passed.insert(next);
            // Marks that were made during the walk can stand where it has been. A detached mark
            // of the group that another walk has pinned lets the access through
            // (fsnotify_prepare_user_wait).
            let missed =
                self.may_be_missed(&walk, next, floor) || self.lingers(walk.path, Some(next));
            if missed && cx.choose(2) == 1 {
                continue;
            }
            let event = Event {
                group: next,
                accessor: task,
                mask: walk.mask,
                path: walk.path,
                range: walk.range,
                restarted: false,
                answer: None,
                canceled: false,
            };
            let queued = self.queue_event(event);
            let group = self.group(next);
            let rule = match queued {
                Some(event) => self.rule_of_wait(event),
                None if !group.restartable => MAINLINE,
                None if group.down => S1,
                None => Q9,
            };
            if let Some(call) = &mut self.task_mut(task).call {
                call.rule = rule;
                if let Some(event) = queued {
                    call.at = At::Asking { event, walk, then };
                    return Ok(());
                }
            }
        }
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
            .filter(|group| floor.is_none_or(|floor| self.group(*group).class <= floor))
            .filter(|group| self.wants(*group, walk, |_| true))
            .collect();
        let class = left.iter().map(|group| self.group(*group).class).max()?;
        let same: Vec<GroupNo> =
            left.into_iter().filter(|group| self.group(*group).class == class).collect();
        Some(same[cx.choose(same.len())])
    }

    /// Whether the group wants to hear of the access by those marks.
    fn wants(&self, group: GroupNo, walk: &Walk, which: impl Fn(&Mark) -> bool) -> bool {
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
        (asks - ignores).contains(walk.mask)
    }

    fn may_be_missed(&self, walk: &Walk, group: GroupNo, floor: Option<Class>) -> bool {
        let of = self.group(group);
        (floor == Some(of.class) && of.changed > walk.since)
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

    /// The tasks whose walks stand where they may have pinned a mark on `on`.
    pub(crate) fn walks_over(&self, on: On) -> BTreeSet<Task> {
        (0u8..)
            .zip(&self.tasks)
            .filter(|(_, task)| {
                matches!(&task.call, Some(call) if matches!(&call.at, At::Asking { walk, .. }
                    if heard(on, walk.path, walk.with_parent).is_some()))
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

//! What each action that can come next touches, and what can come after it.

use refan_program::Task;

use super::Footprints;
use super::calls::Touches;
use super::resources::{Footprint, Resource};
use super::table::{Entry, known};
use crate::access::Then;
use crate::state::{At, EventNo, FileKind, Life, Next, Reading, State};

impl<'a> Footprints<'a> {
    /// What the first action of a call touches.
    pub(crate) fn first(&self, state: &State, task: Task, step: usize) -> Footprint {
        match self.calls.get(&step) {
            Some(Touches { reads: Some(from), .. }) if !self.strange => {
                self.taking(state, task, step, *from, 0).with(self.victim(task))
            }
            Some(call) => call.first,
            None => Footprint::ALL,
        }
    }

    /// What the rest of the call that the task is in touches, or that of a step which it begins,
    /// with its exit if that follows.
    pub(crate) fn whole(&self, state: &State, task: Task, begins: Option<usize>) -> Footprint {
        let of = state.task(task);
        let call = of.call.as_ref();
        let mut print = match (begins.or(call.map(|call| call.step)), call) {
            (_, Some(_)) if of.life == Life::Ended => Footprint::default(),
            (Some(step), _) if self.calls.contains_key(&step) => self.calls[&step].whole,
            (_, Some(call)) => self.rest_of(task, call.step, &call.at),
            (_, None) => Footprint::default(),
        };
        match of.life {
            Life::OneCall => print.join(self.exit(state, task)),
            Life::Ended if call.is_some() => print.join(self.exit(state, task)),
            _ => {}
        }
        if call.is_some_and(|call| matches!(call.at, At::Closing { .. })) {
            print.join(self.writes(&[Resource::Groups]));
        }
        print.with(self.victim(task))
    }

    /// The same, of a task that takes all of it in one go: nobody can do meanwhile what it would
    /// find undone.
    pub(crate) fn in_one_go(&self, state: &State, task: Task, begins: Option<usize>) -> Footprint {
        let whole = self.whole(state, task, begins);
        let reads = match (begins, state.task(task).call.as_ref().map(|call| &call.at)) {
            (Some(step), _) => {
                self.calls.get(&step).and_then(|call| call.reads).map(|(group, _)| group)
            }
            (
                None,
                Some(
                    At::Reading(reading)
                    | At::Next(Next::Take(reading) | Next::HandOver { reading, .. }),
                ),
            ) => Some(reading.group),
            _ => None,
        };
        reads.map_or(whole, |group| whole.with(self.looking(group)))
    }

    /// What the task will ever touch, which has these calls to make.
    pub(crate) fn future(&self, state: &State, task: Task, left: &[usize]) -> Footprint {
        let of = state.task(task);
        if of.life == Life::NotMade || (of.call.is_none() && left.is_empty() && !of.killed) {
            return if self.victims.contains(&task) && of.life != Life::Ended {
                self.exit(state, task).with(self.victim(task))
            } else {
                Footprint::default()
            };
        }
        let mut print = self.whole(state, task, None);
        for step in left {
            print.join(self.calls.get(step).map_or(Footprint::ALL, |call| call.whole));
        }
        if self.victims.contains(&task) && of.life != Life::Ended {
            print.join(self.death(state, task));
        }
        print
    }

    /// What the next action of the call touches that the task is in.
    pub(crate) fn next(&self, state: &State, task: Task) -> Footprint {
        let Some(call) = &state.task(task).call else { return Footprint::default() };
        let print = match &call.at {
            At::Next(next) => match next {
                Next::Begin => self.first(state, task, call.step),
                Next::Raise { path, .. } => self.marks(*path).with(self.reads(&[Resource::Masks])),
                Next::LookUp { walk, .. } => {
                    self.hearers(walk.path).fold(self.marks(walk.path), |print, group| {
                        let pins = self.pinned.contains(&group) && !state.group(group).down;
                        let pins = if pins {
                            self.reads(&[Resource::Pins(group)])
                        } else {
                            Footprint::default()
                        };
                        print.with(pins).with(self.reads(&[Resource::Down(group)]))
                    })
                }
                Next::Queue { group, .. } => self.queueing(*group),
                Next::After { then, .. } => self.ending(then),
                Next::Take(reading) => self.taking_on(state, task, call.step, reading),
                Next::HandOver { fd, reading, .. } => self
                    .pending(reading.group, *fd)
                    .with(self.reads(&[Resource::Down(reading.group)])),
                Next::Release { file, .. } => match state.files.get(file).map(|file| &file.kind) {
                    Some(kind) => self.release(Entry { known: known(kind, false), file: None }),
                    None => Footprint::default(),
                },
                Next::Allow { group, .. } => self.abandoning(*group),
                Next::TearDown { group, .. } => self.tearing_down(*group),
                Next::Exit => self.exit(state, task),
                Next::Exec => Footprint::ALL,
            },
            At::Asking { .. } => {
                let pins = state.lingering.iter().filter(|one| one.pinned_by.contains(&task));
                pins.fold(Footprint::default(), |print, one| {
                    print.with(self.adds(&[Resource::Pins(one.group)]))
                })
            }
            At::Reading(reading) => self.taking_on(state, task, call.step, reading),
            // Once it can go on, it always can.
            At::Closing { .. } => self.writes(&[Resource::Groups]),
            At::CopyingOut(transit) => self.in_hand(transit),
            At::Position { file, .. } => self.writes(&[Resource::Position(*file)]),
            At::Waiting => Footprint::default(),
        };
        print.with(self.victim(task))
    }

    fn taking_on(&self, state: &State, task: Task, step: usize, reading: &Reading) -> Footprint {
        if reading.missing {
            return self.missing(reading.group).with(self.status(Some(reading.file)));
        }
        self.taking(state, task, step, (reading.group, Some(reading.file)), reading.events)
    }

    /// What the last action of an access touches.
    fn ending(&self, then: &Then) -> Footprint {
        let position = then.position().map(|file| self.writes(&[Resource::Position(file)]));
        let content = self.content(then.path(), then.writes());
        let marks = match then {
            Then::ExecRead(..) | Then::Opened(_) | Then::OpenPerm(_) => self.marks(then.path()),
            Then::AccessPerm(_) | Then::Transferred(_) | Then::Truncated { .. } => {
                Footprint::default()
            }
        };
        content.with(marks).with(position.unwrap_or_default())
    }

    /// What the sleep of a task depends on.
    pub(crate) fn wake(&self, state: &State, task: Task) -> Footprint {
        let print = match state.task(task).call.as_ref().map(|call| &call.at) {
            Some(At::Asking { event, .. }) => match state.events.get(event) {
                Some(event) => self
                    .looking(event.group)
                    .with(self.reads(&[Resource::Pending(event.group, None)])),
                None => Footprint::default(),
            },
            Some(At::Reading(reading)) => {
                self.looking(reading.group).with(self.status(Some(reading.file)))
            }
            Some(At::Closing { group, .. }) => self.reads(&[Resource::Pins(*group)]),
            Some(At::Position { file, .. }) => self.reads(&[Resource::Position(*file)]),
            // Calls that let pages in are not known here, so they depend on everything.
            Some(At::CopyingOut(_) | At::Next(_) | At::Waiting) | None => Footprint::default(),
        };
        // Answers are given by number.
        let numbers = match state.task(task).call.as_ref().map(|call| &call.at) {
            Some(At::Asking { event, .. }) => state.events.get(event).map(|event| event.group),
            _ => None,
        };
        let slots = self.slots.borrow().clone();
        let all = slots
            .iter()
            .filter(|(of, _)| matches!(of, Resource::Pending(group, _) if Some(*group) == numbers));
        let reads = all.fold(0, |bits, (_, slot)| bits | 1u128 << slot);
        print.with(Footprint { reads, ..Footprint::default() }).with(self.victim(task))
    }

    /// What the death of a task touches that was killed.
    pub(crate) fn death(&self, state: &State, task: Task) -> Footprint {
        let mut print = self.exit(state, task).with(self.victim(task));
        if let Some(event) = state.events.get(&EventNo(task)) {
            print.join(self.abandoning(event.group));
            print.join(self.unpinning());
        }
        if let Some(At::CopyingOut(transit)) = state.task(task).call.as_ref().map(|call| &call.at) {
            print.join(self.in_hand(transit));
        }
        print
    }

    /// The rest of a call that was going on when the block began.
    fn rest_of(&self, task: Task, step: usize, at: &At) -> Footprint {
        match at {
            At::Reading(reading) if reading.missing => self.missing(reading.group),
            At::Reading(reading) => self.rest_of_read(task, step, reading),
            At::CopyingOut(transit) => self.missing(transit.reading.group),
            At::Asking { then, .. } => self.access_of(task, then),
            At::Position { then, .. } => self.access_of(task, then),
            At::Next(next) => match next {
                Next::Raise { then, .. }
                | Next::LookUp { then, .. }
                | Next::Queue { then, .. }
                | Next::After { then, .. } => self.access_of(task, then),
                Next::Take(reading) | Next::HandOver { reading, .. } => {
                    self.rest_of_read(task, step, reading)
                }
                _ => Footprint::ALL,
            },
            At::Closing { .. } | At::Waiting => Footprint::default(),
        }
    }

    fn rest_of_read(&self, task: Task, step: usize, reading: &Reading) -> Footprint {
        let size = reading.room + reading.done;
        self.reading(reading.group, Some(reading.file), task, self.back(step), size)
    }

    fn access_of(&self, task: Task, then: &Then) -> Footprint {
        let position = then.position().map(|file| self.writes(&[Resource::Position(file)]));
        self.walk(then.path(), then.writes(), task).with(position.unwrap_or_default())
    }

    /// What its exit touches, by which files that it has opened meanwhile lose a writer, for which an executor waits.
    fn exit(&self, state: &State, task: Task) -> Footprint {
        let files = state.task(task).fds.values().filter_map(|entry| state.files.get(&entry.file));
        let written = files.filter(|file| file.writable()).filter_map(|file| match file.kind {
            FileKind::File { path, .. } => Some(Resource::Content(path.inode())),
            _ => None,
        });
        let known = self.exits.get(&task).copied().unwrap_or_default();
        known.with(self.writes(&written.collect::<Vec<_>>()))
    }

    /// Every action of a task that may be killed depends on that.
    pub(super) fn victim(&self, task: Task) -> Footprint {
        if self.victims.contains(&task) {
            self.reads(&[Resource::Victim(task)])
        } else {
            Footprint::default()
        }
    }
}

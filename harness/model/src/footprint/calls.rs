//! What calls touch.

use refan_abi::{Errno, METADATA_LEN, MarkFlags, OpenFlags};
use refan_program::{Call, Inode, Path, PathKind, Task};

use super::Footprints;
use super::resources::{Footprint, Resource};
use super::table::{Entry, Known};
use crate::access::is_writing;
use crate::read::events_of;
use crate::state::{FileNo, GroupNo, State};
use crate::{Return, lookup};

/// What a call touches first, and in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touches {
    pub(super) first: Footprint,
    pub(super) whole: Footprint,
    /// It is a read from this group's queue, through that file if it is known.
    pub(super) reads: Option<(GroupNo, Option<FileNo>)>,
}

impl From<Footprint> for Touches {
    /// It is one action.
    fn from(whole: Footprint) -> Self {
        Self { first: whole, whole, reads: None }
    }
}

impl<'a> Footprints<'a> {
    pub(super) fn touches(
        &self,
        step: usize,
        call: &Call,
        task: Task,
        (entry, second): (Option<Entry>, i32),
    ) -> Touches {
        let back = self.back(step);
        let failed = back.is_some_and(|back| back.value < 0);
        let known = entry.map(|entry| entry.known);
        let file = entry.and_then(|entry| entry.file);
        let nothing = Footprint::default();
        if let Some(Known::Unknown) = known {
            return Footprint::ALL.into();
        }
        match call {
            Call::FanotifyInit { .. } => self.writes(&[Resource::Groups]).into(),
            Call::FanotifyMark { path, flags, .. } => {
                let path = lookup::marked(*path, *flags);
                let everywhere = MarkFlags::MOUNT | MarkFlags::FILESYSTEM | MarkFlags::FLUSH;
                let alone = !flags.intersects(everywhere)
                    && path.kind != PathKind::Dir
                    && self.start.limits.marks.is_none();
                let print = match known {
                    Some(Known::Control(group) | Known::Classic(group)) if !failed => {
                        let marks = if alone {
                            self.writes(&[Resource::Marks(Some(path.inode()))])
                                .with(self.reads(&[Resource::Marks(None)]))
                        } else {
                            self.writes(&[Resource::Marks(None), Resource::Masks])
                        };
                        marks.with(self.writes(&[Resource::Pins(group)]))
                    }
                    _ => self.marks(path),
                };
                print.with(self.reads(&[Resource::Content(path.inode())])).into()
            }
            Call::OpenQueue { .. } => match known {
                Some(Known::Control(group)) if failed => self.reads(&[Resource::Slot(group)]),
                Some(Known::Control(group)) => self.writes(&[Resource::Slot(group)]),
                _ => nothing,
            }
            .into(),
            Call::Read { size, .. } => match known {
                Some(Known::Queue(group) | Known::Classic(group)) => {
                    let whole = self.reading(group, file, task, back, *size);
                    Touches { reads: Some((group, file)), ..whole.into() }
                }
                _ => self.transfer(known, file, task, false),
            },
            Call::Pread { .. } => self.transfer(known, None, task, false),
            Call::Write { .. } => match known {
                Some(Known::Queue(group) | Known::Classic(group)) => {
                    let number = Resource::Pending(group, Some(second));
                    let all = Resource::Pending(group, None);
                    let print = if failed { self.reads(&[number]) } else { self.writes(&[number]) };
                    print.with(self.reads(&[all, Resource::Down(group)])).into()
                }
                _ => self.transfer(known, file, task, true),
            },
            Call::Close { .. } => match entry {
                Some(entry) => {
                    let drop = self.drop(entry);
                    Touches { whole: drop.with(self.release(entry)), ..drop.into() }
                }
                None => nothing.into(),
            },
            Call::Poll { .. } | Call::Fionread { .. } => match known {
                Some(Known::Queue(group) | Known::Classic(group)) => self.looking(group),
                Some(Known::File { path, .. }) => {
                    let position = file.map(|file| self.reads(&[Resource::Position(file)]));
                    self.reads(&[Resource::Content(path.inode())])
                        .with(position.unwrap_or_default())
                }
                _ => nothing,
            }
            .into(),
            Call::GetFl { .. } => self.status(file).into(),
            Call::SetFl { .. } => {
                file.map_or(nothing, |file| self.writes(&[Resource::Status(file)])).into()
            }
            Call::Fdinfo { .. } => self.all_marks().into(),
            Call::Open { path, flags } => {
                let writes = is_writing(*flags) || flags.contains(OpenFlags::O_TRUNC);
                self.access(lookup::opened(*path, *flags), writes, task)
            }
            Call::Truncate { path, .. } => self.access(lookup::truncated(*path), true, task),
            Call::Exec { path } => self.access(lookup::executed(*path), false, task),
            Call::Kill { task: victim } if *victim != task => {
                self.writes(&[Resource::Victim(*victim)]).into()
            }
            Call::Kill { .. } | Call::Exit => {
                self.exits.get(&task).copied().unwrap_or(Footprint::ALL).into()
            }
            _ => nothing.into(),
        }
    }

    /// A read from a queue, into a buffer with so much room.
    pub(super) fn reading(
        &self,
        group: GroupNo,
        file: Option<FileNo>,
        task: Task,
        back: Option<&Return>,
        room: u32,
    ) -> Footprint {
        let mut print = self.reads(&[Resource::Down(group)]).with(self.status(file));
        match back {
            Some(back) if !events_of(back).is_empty() => {
                print.join(self.writes(&[Resource::Head(group)]));
                for seen in events_of(back) {
                    print.join(self.pending(group, seen.event.fd));
                }
                if i64::from(room) - back.value >= METADATA_LEN as i64 {
                    print.join(self.coming_to_nothing(group, task, Some(back)));
                }
            }
            back => print.join(self.coming_to_nothing(group, task, back)),
        }
        print
    }

    /// A read comes to the last event that it was seen to return, or to none. It can take one more, of which nobody
    /// sees more than its denial.
    fn coming_to_nothing(&self, group: GroupNo, task: Task, back: Option<&Return>) -> Footprint {
        const TAKES_NOTHING: [i64; 3] = [0, -(Errno::EAGAIN.0 as i64), -(Errno::EINVAL.0 as i64)];
        let takes = match back {
            None => self.is_unseen(task),
            Some(back) if events_of(back).is_empty() => !TAKES_NOTHING.contains(&back.value),
            Some(_) => self.refuses,
        };
        if takes { self.abandoning(group) } else { self.looking(group) }
    }

    /// Whether a call of the task can end without being seen to.
    pub(super) fn is_unseen(&self, task: Task) -> bool {
        self.scene.foresees || self.scene.history.bound.is_some() || self.victims.contains(&task)
    }

    /// The next action of a read.
    pub(super) fn taking(
        &self,
        state: &State,
        task: Task,
        step: usize,
        (group, file): (GroupNo, Option<FileNo>),
        nth: u32,
    ) -> Footprint {
        let back = self.back(step);
        let seen = back.and_then(|back| events_of(back).get(nth as usize));
        let print = self.reads(&[Resource::Down(group)]).with(self.status(file));
        match seen {
            Some(seen) if state.is_first(group, seen) => {
                print.with(self.writes(&[Resource::Head(group)]))
            }
            // It waits for that to come to the head.
            Some(_) => print.with(self.writes(&[Resource::Head(group)])).with(self.looking(group)),
            None => print.with(self.coming_to_nothing(group, task, back)),
        }
    }

    /// Something depends on whether the file lets a read sleep.
    pub(super) fn status(&self, file: Option<FileNo>) -> Footprint {
        file.map_or_else(Footprint::default, |file| self.reads(&[Resource::Status(file)]))
    }

    /// Something depends on what is unread.
    pub(super) fn looking(&self, group: GroupNo) -> Footprint {
        self.reads(&[Resource::Unread(group), Resource::Head(group), Resource::Down(group)])
    }

    /// An event becomes pending, or is answered, under this number.
    pub(super) fn pending(&self, group: GroupNo, fd: i32) -> Footprint {
        self.writes(&[Resource::Pending(group, Some(fd))])
            .with(self.reads(&[Resource::Pending(group, None)]))
    }

    /// Bytes of a file are read or written.
    pub(super) fn transfer(
        &self,
        known: Option<Known>,
        position: Option<FileNo>,
        task: Task,
        writes: bool,
    ) -> Touches {
        let Some(Known::File { path, .. }) = known else { return Footprint::default().into() };
        let first = position.map(|file| self.writes(&[Resource::Position(file)]));
        let first = first.unwrap_or_default();
        Touches { whole: first.with(self.walk(path, writes, task)), ..first.into() }
    }

    /// A file is opened.
    pub(super) fn access(&self, path: Path, writes: bool, task: Task) -> Touches {
        let mut first = self.marks(path).with(self.content(path, writes));
        first.join(self.reads(&[Resource::Masks]));
        for group in &self.pinned {
            first.join(self.reads(&[Resource::Pins(*group)]));
        }
        Touches { whole: first.with(self.walk(path, writes, task)), ..first.into() }
    }

    /// An access asks whoever wants to hear of it, and then takes place.
    pub(super) fn walk(&self, path: Path, writes: bool, task: Task) -> Footprint {
        let mut print = self.marks(path).with(self.reads(&[Resource::Masks]));
        print.join(self.content(path, writes));
        print.join(self.unpinning());
        for group in self.hearers(path) {
            print.join(self.queueing(group));
            if self.pinned.contains(&group) {
                print.join(self.reads(&[Resource::Pins(group)]));
            }
            if self.victims.contains(&task) {
                print.join(self.abandoning(group));
            }
        }
        print
    }

    /// Something depends on the marks that an access to the file meets.
    pub(super) fn marks(&self, path: Path) -> Footprint {
        self.reads(&[Resource::Marks(Some(path.inode())), Resource::Marks(None)])
    }

    /// Something depends on all marks.
    fn all_marks(&self) -> Footprint {
        Inode::all().fold(self.reads(&[Resource::Marks(None), Resource::Masks]), |print, inode| {
            print.with(self.reads(&[Resource::Marks(Some(inode))]))
        })
    }

    pub(super) fn content(&self, path: Path, writes: bool) -> Footprint {
        if writes {
            // Ignore masks that do not survive it go.
            self.writes(&[Resource::Content(path.inode()), Resource::Marks(None), Resource::Masks])
        } else {
            self.reads(&[Resource::Content(path.inode())])
        }
    }
}

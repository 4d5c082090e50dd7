//! What actions depend on and change: two that do not touch the same come to the same in either
//! order.
//!
//! What a call will ever do is foretold from what its fds are when the block begins and from what
//! the calls before it in its branch were seen to return. Foretelling too much costs time only.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use refan_abi::{Errno, METADATA_LEN, MarkFlags, OpenFlags};
use refan_program::{Bind, Call, Fd, Inode, Path, PathKind, Task, Var};

use crate::access::{Then, is_writing};
use crate::explore::Scene;
use crate::lookup;
use crate::mark::heard;
use crate::read::{events_of, pidfd_of};
use crate::state::{At, EventNo, FileKind, FileNo, GroupNo, Life, Next, Reading, State, Transit};
use crate::{Object, Return, Seen};

/// Something that actions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    /// The marks on a file, or those that stand where accesses to many files meet them, of groups
    /// that have not stopped; with their ignore masks.
    Marks(Option<Inode>),
    /// The masks of files, which marks of stopped groups are part of until they are removed.
    Masks,
    /// Which walks stand where they may have pinned a mark of the group.
    Pins(GroupNo),
    /// Which groups there are, and what is known of the kernel.
    Groups,
    /// What is unread in a group. To queue an event adds to it.
    Unread(GroupNo),
    /// Which unread event is the first, which an event that is queued behind it does not change.
    Head(GroupNo),
    /// What is pending in a group under any number, or under this one.
    Pending(GroupNo, Option<i32>),
    /// Whether a group has stopped.
    Down(GroupNo),
    /// The group's queue file.
    Slot(GroupNo),
    /// Who drops the last reference to a file.
    Last(FileNo),
    /// A file's status flags.
    Status(FileNo),
    Position(FileNo),
    /// What a file holds, who writes to it and who executes it.
    Content(Inode),
    /// A task that may be killed.
    Victim(Task),
}

/// What an action or call touches, a bit for each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    reads: u128,
    writes: u128,
    /// Additions that commute with each other.
    adds: u128,
}

impl Footprint {
    const ALL: Self = Self { reads: 0, writes: u128::MAX, adds: 0 };

    /// Whether the order of two matters.
    pub(crate) fn conflicts(self, other: Self) -> bool {
        let touched = |print: Self| print.reads | print.writes | print.adds;
        self.writes & touched(other) != 0
            || other.writes & touched(self) != 0
            || self.adds & other.reads != 0
            || other.adds & self.reads != 0
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.reads |= other.reads;
        self.writes |= other.writes;
        self.adds |= other.adds;
    }

    fn with(mut self, other: Self) -> Self {
        self.join(other);
        self
    }
}

/// What a call touches first, and in all.
#[derive(Clone, Copy, Debug)]
struct Touches {
    first: Footprint,
    whole: Footprint,
    /// It is a read from this group's queue.
    reads: Option<GroupNo>,
}

impl From<Footprint> for Touches {
    /// It is one action.
    fn from(whole: Footprint) -> Self {
        Self { first: whole, whole, reads: None }
    }
}

/// What an fd is open on, as far as a branch can tell before it runs.
#[derive(Clone, Copy, Debug)]
enum Known {
    Control(GroupNo),
    Queue(GroupNo),
    Classic(GroupNo),
    File {
        path: Path,
        writable: bool,
    },
    Other,
    /// It could be anything.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Known,
    /// The open file description, if it was there when the block began.
    file: Option<FileNo>,
}

/// The footprints of everything in a step or block.
pub(crate) struct Footprints<'a> {
    scene: &'a Scene<'a>,
    /// As the block begins.
    start: &'a State,
    slots: RefCell<BTreeMap<Resource, u32>>,
    calls: BTreeMap<usize, Touches>,
    exits: BTreeMap<Task, Footprint>,
    victims: BTreeSet<Task>,
    /// How often a file can be dropped.
    drops: BTreeMap<FileNo, u32>,
    /// Groups that marks are added to.
    marked: BTreeSet<GroupNo>,
    /// A call is made that is not known here.
    strange: bool,
    /// The groups whose marks can go while walks go on.
    pinned: BTreeSet<GroupNo>,
}

/// The fds of one branch, call after call.
struct Table {
    fds: BTreeMap<i32, Entry>,
    vars: BTreeMap<Var, i32>,
    /// Everything that was ever in it.
    all: Vec<Entry>,
}

impl<'a> Footprints<'a> {
    /// Of what can happen from a state on.
    pub(crate) fn new(scene: &'a Scene<'a>, start: &'a State) -> Self {
        let mut prints = Self {
            scene,
            start,
            slots: RefCell::default(),
            calls: BTreeMap::new(),
            exits: BTreeMap::new(),
            victims: BTreeSet::new(),
            drops: BTreeMap::new(),
            marked: BTreeSet::new(),
            strange: false,
            pinned: start.lingering.iter().map(|one| one.group).collect(),
        };
        let tasks = (0u8..).zip(&start.tasks).map(|(number, _)| Task(number));
        let mut exiting: BTreeSet<Task> =
            tasks.filter(|task| prints.exits_by_itself(*task)).collect();
        prints.victims = exiting.iter().copied().filter(|task| start.task(*task).killed).collect();
        // Which fds there are, who can drop what, who can end.
        let mut tables = BTreeMap::new();
        let mut uses = Vec::new();
        for branch in &scene.history.branches {
            let mut table = Table::of(start, branch.task);
            for &step in &branch.steps {
                let call = scene.program.steps[step].call.innermost();
                let of = prints.look_at(&mut table, step, call, branch.task, &mut exiting);
                uses.push((step, of, branch.task));
            }
            tables.insert(branch.task, table);
        }
        for &task in &exiting {
            let table = tables.entry(task).or_insert_with(|| Table::of(start, task));
            for file in table.fds.values().filter_map(|entry| entry.file) {
                *prints.drops.entry(file).or_default() += 1;
            }
        }
        let go =
            tables.values().flat_map(|table| &table.all).filter_map(|entry| match entry.known {
                Known::Control(group) | Known::Classic(group) => {
                    prints.can_be_last(*entry).then_some(group)
                }
                _ => None,
            });
        let go: Vec<GroupNo> = go.collect();
        prints.pinned.extend(go);
        for task in exiting {
            let fds = tables.get(&task).map_or(&[][..], |table| &table.all);
            let print = fds.iter().fold(Footprint::default(), |print, entry| {
                print.with(prints.drop(*entry)).with(prints.release(*entry))
            });
            // Who executes a file keeps writers off it.
            let runs = start.task(task).runs.is_some();
            let print = if prints.strange || runs { Footprint::ALL } else { print };
            prints.exits.insert(task, print);
        }
        for (step, of, task) in uses {
            let call = scene.program.steps[step].call.innermost();
            let mut touches = match of {
                _ if prints.strange => Footprint::ALL.into(),
                Some(of) => prints.touches(step, call, task, of),
                None => Footprint::ALL.into(),
            };
            touches.first.join(prints.victim(task));
            touches.whole.join(prints.victim(task));
            prints.calls.insert(step, touches);
        }
        prints
    }

    fn exits_by_itself(&self, task: Task) -> bool {
        let of = self.start.task(task);
        of.killed
            || match of.life {
                Life::OneCall => true,
                Life::Ended => of.call.is_some(),
                Life::Lives | Life::NotMade => false,
            }
    }

    /// Notes what a call does to its branch's fds; says what its first fd is, and the number that
    /// its second fd stands for. None of a call that is not known here.
    fn look_at(
        &mut self,
        table: &mut Table,
        step: usize,
        call: &Call,
        task: Task,
        exiting: &mut BTreeSet<Task>,
    ) -> Option<(Option<Entry>, i32)> {
        // What an earlier call binds that is still going on is known only when it returns.
        if call.fds().any(|fd| self.is_unsettled(fd)) {
            self.strange = true;
            return None;
        }
        let mut fds = call.fds();
        let number = fds.next().map(|fd| table.number(self.start, fd));
        let second = fds.next().map_or(-1, |fd| table.number(self.start, fd));
        let entry = number.and_then(|number| table.fds.get(&number).copied());
        let known = entry.map(|entry| entry.known);
        let back = self.back(step);
        let made = match call {
            Call::Close { .. } => {
                if let Some(number) = number
                    && let Some(file) = table.fds.remove(&number).and_then(|entry| entry.file)
                {
                    *self.drops.entry(file).or_default() += 1;
                }
                None
            }
            Call::Dup { .. } => entry,
            Call::FanotifyInit { .. } => Some(Entry { known: Known::Unknown, file: None }),
            Call::OpenQueue { .. } => match known {
                Some(Known::Control(group)) => {
                    Some(Entry { known: Known::Queue(group), file: None })
                }
                Some(Known::Unknown) => entry,
                _ => None,
            },
            Call::Open { path, flags } => {
                let path = lookup::opened(*path, *flags);
                let known = Known::File { path, writable: is_writing(*flags) };
                Some(Entry { known, file: None })
            }
            Call::FanotifyMark { flags, .. } => {
                if let Some(Known::Control(group) | Known::Classic(group)) = known {
                    self.marked.insert(group);
                    if flags.intersects(MarkFlags::REMOVE | MarkFlags::FLUSH) {
                        self.pinned.insert(group);
                    }
                }
                None
            }
            Call::Exit => {
                exiting.insert(task);
                None
            }
            Call::Exec { path } if path.kind != PathKind::Waiter => {
                exiting.insert(task);
                None
            }
            Call::Kill { task } => {
                self.victims.insert(*task);
                exiting.insert(*task);
                None
            }
            Call::Read { .. } => {
                self.note_events(table, step, known);
                None
            }
            // It holds all files of its branch once more.
            Call::Fork => return None,
            Call::Pread { .. }
            | Call::Write { .. }
            | Call::Poll { .. }
            | Call::Epoll { .. }
            | Call::Fionread { .. }
            | Call::GetFl { .. }
            | Call::SetFl { .. }
            | Call::GetFd { .. }
            | Call::Readlink { .. }
            | Call::Fdinfo { .. }
            | Call::Setuid { .. }
            | Call::Truncate { .. }
            | Call::RlimitNofile { .. } => None,
            _ => {
                self.strange = true;
                return None;
            }
        };
        if let (Some(made), Some(back)) = (made, back)
            && let Ok(fd) = i32::try_from(back.value)
            && fd >= 0
        {
            table.fds.insert(fd, made);
            table.all.push(made);
            if let Bind::Fd(var) = &self.scene.program.steps[step].bind {
                table.vars.insert(*var, fd);
            }
        }
        if made.is_some() && back.is_none() {
            // A call whose end nobody saw.
            table.all.extend(made);
        }
        Some((entry, second))
    }

    /// Whether the fd is named by a variable that a call binds which went on when the block began.
    fn is_unsettled(&self, fd: Fd) -> bool {
        let Fd::Var(var) = fd else { return false };
        let going_on = self.start.tasks.iter().filter_map(|task| task.call.as_ref());
        let mut binds = going_on.filter_map(|call| self.scene.program.steps.get(call.step));
        binds.any(|step| match &step.bind {
            Bind::Fd(bound) => *bound == var,
            Bind::Events(bound) => bound.contains(&var),
            Bind::Task(_) | Bind::None => false,
        })
    }

    /// The event fds that a read returned.
    fn note_events(&self, table: &mut Table, step: usize, known: Option<Known>) {
        let writable = match known {
            Some(Known::Queue(group) | Known::Classic(group)) => {
                is_writing(self.start.group(group).event_flags)
            }
            _ => true,
        };
        let Some(Seen::Events(events)) = self.back(step).map(|back| &back.data) else { return };
        for seen in events {
            let known = match seen.object {
                // Its fd raises nothing, so it does not matter which mount it came through.
                Object::File(inode) => Known::File { path: inode.path(), writable },
                _ => Known::Other,
            };
            let entry = Entry { known, file: None };
            table.fds.insert(seen.event.fd, entry);
            table.all.push(entry);
            if let Some(fd) = pidfd_of(seen) {
                table.fds.insert(fd, Entry { known: Known::Other, file: None });
            }
        }
        if let Bind::Events(vars) = &self.scene.program.steps[step].bind {
            for (var, seen) in vars.iter().zip(events) {
                table.vars.insert(*var, seen.event.fd);
            }
        }
    }

    fn back(&self, step: usize) -> Option<&'a Return> {
        self.scene.seen.returns.iter().find(|back| back.step == step)
    }

    fn touches(
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
                    Touches { reads: Some(group), ..whole.into() }
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
            Call::GetFl { .. } => {
                file.map_or(nothing, |file| self.reads(&[Resource::Status(file)])).into()
            }
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
            Call::Kill { task } => self.writes(&[Resource::Victim(*task)]).into(),
            Call::Exit => self.exits.get(&task).copied().unwrap_or(Footprint::ALL).into(),
            _ => nothing.into(),
        }
    }

    /// A read from a queue, into a buffer with so much room.
    fn reading(
        &self,
        group: GroupNo,
        file: Option<FileNo>,
        task: Task,
        back: Option<&Return>,
        room: u32,
    ) -> Footprint {
        const TAKES_NOTHING: [i64; 3] = [0, -(Errno::EAGAIN.0 as i64), -(Errno::EINVAL.0 as i64)];
        let status = file.map(|file| self.reads(&[Resource::Status(file)]));
        let mut print = self.reads(&[Resource::Down(group)]).with(status.unwrap_or_default());
        match back {
            Some(back) if !events_of(back).is_empty() => {
                print.join(self.writes(&[Resource::Head(group)]));
                for seen in events_of(back) {
                    print.join(self.pending(group, seen.event.fd));
                }
                if i64::from(room) - back.value >= METADATA_LEN as i64 {
                    print.join(self.looking(group));
                }
            }
            None if !self.is_unseen(task) => print.join(self.looking(group)),
            Some(back) if TAKES_NOTHING.contains(&back.value) => print.join(self.looking(group)),
            _ => print.join(self.abandoning(group)),
        }
        print
    }

    /// Whether a call of the task can end without being seen to.
    fn is_unseen(&self, task: Task) -> bool {
        self.scene.foresees || self.scene.history.bound.is_some() || self.victims.contains(&task)
    }

    /// The next action of a read.
    fn taking(
        &self,
        state: &State,
        task: Task,
        step: usize,
        group: GroupNo,
        nth: u32,
    ) -> Footprint {
        let back = self.back(step);
        let seen = back.and_then(|back| events_of(back).get(nth as usize));
        let print = self.reads(&[Resource::Down(group)]);
        match seen {
            Some(seen) if state.is_first(group, seen) => {
                print.with(self.writes(&[Resource::Head(group)]))
            }
            // It waits for that to come to the head.
            Some(_) => print.with(self.writes(&[Resource::Head(group)])).with(self.looking(group)),
            None if back.is_none() && self.is_unseen(task) => print.with(self.abandoning(group)),
            None => print.with(self.looking(group)),
        }
    }

    /// Something depends on what is unread.
    fn looking(&self, group: GroupNo) -> Footprint {
        self.reads(&[Resource::Unread(group), Resource::Head(group), Resource::Down(group)])
    }

    /// An event becomes pending, or is answered, under this number.
    fn pending(&self, group: GroupNo, fd: i32) -> Footprint {
        self.writes(&[Resource::Pending(group, Some(fd))])
            .with(self.reads(&[Resource::Pending(group, None)]))
    }

    /// Bytes of a file are read or written.
    fn transfer(
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
    fn access(&self, path: Path, writes: bool, task: Task) -> Touches {
        let mut first = self.marks(path).with(self.content(path, writes));
        first.join(self.reads(&[Resource::Masks]));
        for group in &self.pinned {
            first.join(self.reads(&[Resource::Pins(*group)]));
        }
        Touches { whole: first.with(self.walk(path, writes, task)), ..first.into() }
    }

    /// An access asks whoever wants to hear of it, and then takes place.
    fn walk(&self, path: Path, writes: bool, task: Task) -> Footprint {
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
    fn marks(&self, path: Path) -> Footprint {
        self.reads(&[Resource::Marks(Some(path.inode())), Resource::Marks(None)])
    }

    /// Something depends on all marks.
    fn all_marks(&self) -> Footprint {
        Inode::all().fold(self.reads(&[Resource::Marks(None), Resource::Masks]), |print, inode| {
            print.with(self.reads(&[Resource::Marks(Some(inode))]))
        })
    }

    fn content(&self, path: Path, writes: bool) -> Footprint {
        if writes {
            // Ignore masks that do not survive it go.
            self.writes(&[Resource::Content(path.inode()), Resource::Marks(None), Resource::Masks])
        } else {
            self.reads(&[Resource::Content(path.inode())])
        }
    }

    fn queueing(&self, group: GroupNo) -> Footprint {
        // Of a group that was made in the block nothing is known.
        let Some(of) = self.start.groups.get(group.0) else { return Footprint::ALL };
        let limited = of.limit.is_some();
        let print = if limited {
            self.writes(&[Resource::Unread(group), Resource::Head(group)])
        } else {
            self.adds(&[Resource::Unread(group)])
        };
        print.with(self.reads(&[Resource::Down(group)]))
    }

    fn abandoning(&self, group: GroupNo) -> Footprint {
        self.writes(&[
            Resource::Unread(group),
            Resource::Head(group),
            Resource::Pending(group, None),
        ])
    }

    /// An event in transit is handed over, or dropped with its reader.
    fn in_hand(&self, transit: &Transit) -> Footprint {
        let group = transit.reading.group;
        self.writes(&[Resource::Pending(group, None)]).with(self.reads(&[Resource::Down(group)]))
    }

    /// A read that can sleep for its buffer takes and hands over what nobody has seen yet.
    fn missing(&self, group: GroupNo) -> Footprint {
        self.abandoning(group).with(self.looking(group))
    }

    /// The marks of a group that has stopped go, but for those that are pinned by accesses that
    /// wait for others.
    fn tearing_down(&self, group: GroupNo) -> Footprint {
        let mut print = self.writes(&[Resource::Masks, Resource::Pins(group)]);
        let slots: Vec<Resource> = self.slots.borrow().keys().copied().collect();
        for resource in slots {
            if matches!(resource, Resource::Pending(of, _) | Resource::Down(of) if of != group) {
                print.join(self.reads(&[resource]));
            }
        }
        print
    }

    /// A walk no longer stands where it may have pinned marks.
    fn unpinning(&self) -> Footprint {
        self.pinned.iter().fold(Footprint::default(), |print, group| {
            print.with(self.adds(&[Resource::Pins(*group)]))
        })
    }

    /// The groups that can hear of an access.
    fn hearers(&self, path: Path) -> impl Iterator<Item = GroupNo> {
        let groups = (0..).zip(&self.start.groups).map(|(number, group)| (GroupNo(number), group));
        groups
            .filter(move |(number, group)| {
                self.marked.contains(number)
                    || group.marks.iter().any(|mark| heard(mark.on, path, true).is_some())
            })
            .map(|(number, _)| number)
    }

    /// Whether a reference to the file can be the last one when it goes.
    fn can_be_last(&self, entry: Entry) -> bool {
        let Some(file) = entry.file else { return true };
        let refs = self.start.files.get(&file).map_or(0, |file| file.refs);
        self.strange || self.drops.get(&file).is_some_and(|drops| *drops >= refs)
    }

    /// An fd goes.
    fn drop(&self, entry: Entry) -> Footprint {
        match (entry.file, entry.known) {
            _ if !self.can_be_last(entry) => Footprint::default(),
            (_, Known::Unknown) => Footprint::ALL,
            (_, Known::File { path, writable: true }) => {
                self.writes(&[Resource::Content(path.inode())])
            }
            (Some(file), _) => self.writes(&[Resource::Last(file)]),
            (None, _) => Footprint::default(),
        }
    }

    /// A file is released, if it can be.
    fn release(&self, entry: Entry) -> Footprint {
        if !self.can_be_last(entry) {
            return Footprint::default();
        }
        match entry.known {
            Known::Queue(group) => self
                .writes(&[
                    Resource::Slot(group),
                    Resource::Unread(group),
                    Resource::Head(group),
                    Resource::Pending(group, None),
                ])
                .with(self.reads(&[Resource::Down(group)])),
            Known::Control(group) | Known::Classic(group) => self.writes(&[
                Resource::Down(group),
                Resource::Unread(group),
                Resource::Head(group),
                Resource::Pending(group, None),
                Resource::Masks,
                Resource::Pins(group),
                Resource::Groups,
            ]),
            Known::File { .. } | Known::Other => Footprint::default(),
            Known::Unknown => Footprint::ALL,
        }
    }

    /// What the first action of a call touches.
    pub(crate) fn first(&self, state: &State, task: Task, step: usize) -> Footprint {
        match self.calls.get(&step) {
            Some(Touches { reads: Some(group), .. }) if !self.strange => {
                self.taking(state, task, step, *group, 0).with(self.victim(task))
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
            Life::OneCall => print.join(self.exit(task)),
            Life::Ended if call.is_some() => print.join(self.exit(task)),
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
            (Some(step), _) => self.calls.get(&step).and_then(|call| call.reads),
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
                self.exit(task).with(self.victim(task))
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
                Next::Take(reading) => {
                    self.taking(state, task, call.step, reading.group, reading.events)
                }
                Next::HandOver { fd, reading, .. } => self
                    .pending(reading.group, *fd)
                    .with(self.reads(&[Resource::Down(reading.group)])),
                Next::Release { file, .. } => match state.files.get(file).map(|file| &file.kind) {
                    Some(kind) => self.release(Entry { known: known(kind, false), file: None }),
                    None => Footprint::default(),
                },
                Next::Allow { group, .. } => self.abandoning(*group),
                Next::TearDown { group, .. } => self.tearing_down(*group),
                Next::Exit => self.exit(task),
                Next::Exec => Footprint::ALL,
            },
            At::Asking { .. } => {
                let pins = state.lingering.iter().filter(|one| one.pinned_by.contains(&task));
                pins.fold(Footprint::default(), |print, one| {
                    print.with(self.adds(&[Resource::Pins(one.group)]))
                })
            }
            At::Reading(reading) => {
                self.taking(state, task, call.step, reading.group, reading.events)
            }
            // Once it can go on, it always can.
            At::Closing { .. } => self.writes(&[Resource::Groups]),
            At::CopyingOut(transit) => self.in_hand(transit),
            At::Position { file, .. } => self.writes(&[Resource::Position(*file)]),
            At::Waiting => Footprint::default(),
        };
        print.with(self.victim(task))
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
            Some(At::Reading(reading)) => self.looking(reading.group),
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
        let mut print = self.exit(task).with(self.victim(task));
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

    fn exit(&self, task: Task) -> Footprint {
        self.exits.get(&task).copied().unwrap_or_default()
    }

    /// Every action of a task that may be killed depends on that.
    fn victim(&self, task: Task) -> Footprint {
        if self.victims.contains(&task) {
            self.reads(&[Resource::Victim(task)])
        } else {
            Footprint::default()
        }
    }

    /// The resource's bit. What has none of its own shares the last.
    fn bits(&self, resources: &[Resource]) -> u128 {
        let mut slots = self.slots.borrow_mut();
        resources.iter().fold(0, |bits, resource| {
            let free = slots.len().min(127) as u32;
            bits | 1 << *slots.entry(*resource).or_insert(free)
        })
    }

    fn reads(&self, resources: &[Resource]) -> Footprint {
        Footprint { reads: self.bits(resources), ..Footprint::default() }
    }

    fn writes(&self, resources: &[Resource]) -> Footprint {
        Footprint { writes: self.bits(resources), ..Footprint::default() }
    }

    fn adds(&self, resources: &[Resource]) -> Footprint {
        Footprint { adds: self.bits(resources), ..Footprint::default() }
    }
}

impl Table {
    /// The fds of a task as the block begins.
    fn of(start: &State, task: Task) -> Self {
        let fds: BTreeMap<i32, Entry> = start
            .task(task)
            .fds
            .iter()
            .map(|(number, entry)| {
                let known = start
                    .files
                    .get(&entry.file)
                    .map_or(Known::Unknown, |file| known(&file.kind, file.writable()));
                (*number, Entry { known, file: Some(entry.file) })
            })
            .collect();
        Self { all: fds.values().copied().collect(), fds, vars: BTreeMap::new() }
    }

    fn number(&self, start: &State, fd: Fd) -> i32 {
        match fd {
            Fd::Var(var) => match self.vars.get(&var) {
                Some(number) => *number,
                None => start.number(fd),
            },
            Fd::Number(number) => number,
        }
    }
}

fn known(kind: &FileKind, writable: bool) -> Known {
    match *kind {
        FileKind::Classic(group) => Known::Classic(group),
        FileKind::Control(group) => Known::Control(group),
        FileKind::Queue(group) => Known::Queue(group),
        FileKind::File { path, .. } => Known::File { path, writable },
        FileKind::Pidfd | FileKind::Handle(_) => Known::Other,
        // What is received depends on what was sent, and can be any file.
        FileKind::Socket => Known::Unknown,
    }
}

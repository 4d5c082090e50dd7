//! What the steps so far have most likely made, if each call does what it is made for: groups with
//! marks, queues, accessors that wait, events that are pending. Bytes that name nothing by its place
//! are read as what takes a program further from there; it is no more than a guess.

use refan_abi::{EventMask, InitFlags, MarkFlags, OpenFlags};

use super::tables::Op;
use crate::{Bind, Call, Fd, Mount, Path, PathKind, Step, Task, Var};

/// What is likely there.
#[derive(Default)]
pub(super) struct Outlook {
    groups: Vec<Group>,
    queues: Vec<Queue>,
    files: Vec<File>,
    /// Accessors whose events are unread, and the group that has them, in the order of the queue.
    unread: Vec<(Task, usize)>,
    in_transit: Vec<InTransit>,
    pending: Vec<Pending>,
    forked: Vec<Task>,
    /// Forked tasks and `main` that wait for an event to read.
    readers: Vec<Task>,
}

/// An fd, and who has it.
struct Held {
    var: Var,
    holders: Vec<Task>,
}

struct Group {
    control: Held,
    flags: InitFlags,
    marks: Vec<Mark>,
}

struct Mark {
    path: Path,
    mask: EventMask,
    /// Whether it is one of the mount or file system, not of the inode.
    on: MarkFlags,
}

/// What says that of a mark.
const TYPE: MarkFlags = MarkFlags::MOUNT.union(MarkFlags::FILESYSTEM);

struct Queue {
    fd: Held,
    group: usize,
}

/// A file that was opened without anybody's being asked.
struct File {
    fd: Held,
    path: Path,
}

/// An event whose reader sleeps for a page.
struct InTransit {
    reader: Task,
    accessor: Task,
    group: usize,
    /// What the reader binds it to.
    var: Option<Var>,
}

struct Pending {
    var: Var,
    accessor: Task,
    group: usize,
}

/// What an fd can be wanted as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Control,
    Queue,
    Event,
    File,
}

/// What opening a file raises.
const OPENS: EventMask = EventMask::OPEN_PERM.union(EventMask::OPEN_EXEC_PERM);

/// What access to its contents raises.
const ACCESSES: EventMask = EventMask::ACCESS_PERM.union(EventMask::PRE_ACCESS);

/// Accessors beyond which a further one is less likely.
const MANY_WAIT: usize = 3;

impl Held {
    fn new(var: Var, holder: Task) -> Self {
        Self { var, holders: vec![holder] }
    }

    fn drop_by(&mut self, task: Task) {
        self.holders.retain(|holder| *holder != task);
    }
}

impl Mark {
    fn covers(&self, path: Path) -> bool {
        let path = path.followed();
        let is_ext4 = |path: Path| path.mount() == Mount::Ext4;
        let reached = match self.on {
            MarkFlags::MOUNT => self.path.mount() == path.mount(),
            MarkFlags::FILESYSTEM => is_ext4(self.path) == is_ext4(path),
            _ => self.path.inode() == path.inode(),
        };
        let child = self.path.kind == PathKind::Dir
            && path.kind == PathKind::Child
            && self.path.index == path.index
            && self.mask.contains(EventMask::EVENT_ON_CHILD);
        let dir = path.kind != PathKind::Dir || self.mask.contains(EventMask::ONDIR);
        dir && (reached || child)
    }
}

/// Whether there is a group with permission events of such flags.
fn makes_group(flags: InitFlags, event_flags: OpenFlags) -> bool {
    const FLAGS: InitFlags = InitFlags::CLASS
        .union(InitFlags::RESTARTABLE)
        .union(InitFlags::CLOEXEC)
        .union(InitFlags::NONBLOCK)
        .union(InitFlags::UNLIMITED_QUEUE)
        .union(InitFlags::UNLIMITED_MARKS)
        .union(InitFlags::REPORT_PIDFD)
        .union(InitFlags::REPORT_FD_ERROR);
    const OF_EVENTS: OpenFlags = OpenFlags::O_RDWR
        .union(OpenFlags::O_CLOEXEC)
        .union(OpenFlags::O_NONBLOCK)
        .union(OpenFlags::O_LARGEFILE);
    flags.intersects(InitFlags::CLASS)
        && !flags.contains(InitFlags::CLASS)
        && FLAGS.contains(flags)
        && OF_EVENTS.contains(event_flags)
}

impl Outlook {
    /// Takes the next step of the program.
    pub(super) fn observe(&mut self, step: &Step) {
        let by = match (&step.call, &step.bind) {
            (Call::Spawn { .. }, Bind::Task(task)) => *task,
            _ => step.task,
        };
        let bound = match step.bind {
            Bind::Fd(var) => Some(var),
            _ => None,
        };
        match step.call.innermost() {
            Call::FanotifyInit { flags, event_flags } if makes_group(*flags, *event_flags) => {
                if let Some(var) = bound {
                    let control = Held::new(var, by);
                    self.groups.push(Group { control, flags: *flags, marks: Vec::new() });
                }
            }
            Call::FanotifyMark { group: Fd::Var(var), flags, mask, path } => {
                self.mark(*var, *flags, *mask, *path);
            }
            Call::OpenQueue { control: Fd::Var(var) } => {
                let group = self.groups.iter().position(|group| group.control.var == *var);
                if let (Some(var), Some(group)) = (bound, group)
                    && !self.has_queue(group)
                {
                    self.queues.push(Queue { fd: Held::new(var, by), group });
                }
            }
            Call::Dup { fd: Fd::Var(var) } => {
                let group = self.queues.iter().find(|queue| queue.fd.var == *var);
                if let (Some(var), Some(group)) = (bound, group.map(|queue| queue.group)) {
                    self.queues.push(Queue { fd: Held::new(var, by), group });
                }
            }
            Call::Open { path, .. } | Call::Exec { path } => {
                match self.groups.iter().position(|group| group.asks(*path)) {
                    Some(group) => self.unread.push((by, group)),
                    None => {
                        let opened = bound.map(|var| File { fd: Held::new(var, by), path: *path });
                        self.files.extend(opened);
                    }
                }
            }
            Call::Read { fd: Fd::Var(var), .. } if self.is_queue(*var) => {
                self.read(*var, by, &step.bind);
            }
            Call::ReadMissing { fd: Fd::Var(var), .. } => self.read_missing(*var, by, &step.bind),
            Call::PageIn { task } => self.page_in(*task),
            Call::Read { fd: Fd::Var(var), .. }
            | Call::Pread { fd: Fd::Var(var), .. }
            | Call::Pwrite { fd: Fd::Var(var), .. }
            | Call::Fallocate { fd: Fd::Var(var), .. }
            | Call::Ftruncate { fd: Fd::Var(var), .. }
            | Call::Mmap { fd: Fd::Var(var), .. } => self.access(*var, by),
            Call::Write { event: Fd::Var(var), .. } => {
                self.pending.retain(|pending| pending.var != *var);
            }
            Call::Close { fd: Fd::Var(var) } => self.close(*var, by),
            Call::Fork => {
                if let Bind::Task(child) = step.bind {
                    self.forked.push(child);
                    let copied = self.held().filter(|held| held.holders.contains(&by));
                    copied.for_each(|held| held.holders.push(child));
                }
            }
            Call::Exit => self.end(by),
            Call::Kill { task } => self.end(*task),
            _ => {}
        }
    }

    fn held(&mut self) -> impl Iterator<Item = &mut Held> {
        let controls = self.groups.iter_mut().map(|group| &mut group.control);
        let queues = self.queues.iter_mut().map(|queue| &mut queue.fd);
        controls.chain(queues).chain(self.files.iter_mut().map(|file| &mut file.fd))
    }

    fn is_queue(&self, var: Var) -> bool {
        self.queues.iter().any(|queue| queue.fd.var == var)
    }

    /// What is in a file is accessed.
    fn access(&mut self, var: Var, by: Task) {
        let Some(file) = self.files.iter().find(|file| file.fd.var == var) else { return };
        let asks = |group: &Group| group.asks_of(file.path, ACCESSES);
        self.unread.extend(self.groups.iter().position(asks).map(|group| (by, group)));
    }

    /// Whether there is an open file whose contents are asked about.
    fn has_watched_file(&self) -> bool {
        let is_open = |file: &&File| !file.fd.holders.is_empty();
        let mut open = self.files.iter().filter(is_open);
        open.any(|file| self.live().any(|(_, group)| group.asks_of(file.path, ACCESSES)))
    }

    fn has_queue(&self, group: usize) -> bool {
        self.queues.iter().any(|queue| queue.group == group && !queue.fd.holders.is_empty())
    }

    /// Whether there is a queue that only forked tasks have: with the last of them it is released.
    fn is_held_by_forked(&self) -> bool {
        let held = |queue: &&Queue| !queue.fd.holders.is_empty();
        self.queues.iter().filter(held).any(|queue| !queue.fd.holders.contains(&Task::MAIN))
    }

    fn mark(&mut self, group: Var, flags: MarkFlags, mask: EventMask, path: Path) {
        let Some(group) = self.groups.iter_mut().find(|of| of.control.var == group) else { return };
        let follows = !flags.contains(MarkFlags::DONT_FOLLOW);
        let path = if follows { path.followed() } else { path };
        let on = flags & TYPE;
        let takes = EventMask::PERM | EventMask::FLAGS;
        let pre_access = mask.contains(EventMask::PRE_ACCESS)
            && (path.kind != PathKind::Ext || !group.flags.contains(InitFlags::CLASS_PRE_CONTENT));
        if flags.contains(MarkFlags::FLUSH) {
            group.marks.retain(|mark| mark.on != on);
        } else if flags.contains(MarkFlags::REMOVE) {
            group.marks.retain(|mark| mark.on != on || mark.path != path);
        } else if flags.contains(MarkFlags::ADD)
            && !flags.intersects(MarkFlags::IGNORED_MASK | MarkFlags::IGNORE)
            && mask.intersects(EventMask::PERM)
            && takes.contains(mask)
            && !pre_access
        {
            group.marks.push(Mark { path, mask, on });
        }
    }

    fn read(&mut self, queue: Var, by: Task, bind: &Bind) {
        let Some(queue) = self.queues.iter().find(|of| of.fd.var == queue) else { return };
        let group = queue.group;
        let Bind::Events(vars) = bind else { return };
        for (number, var) in vars.iter().enumerate() {
            match self.unread.iter().position(|(_, of)| *of == group) {
                Some(at) => {
                    let (accessor, group) = self.unread.remove(at);
                    self.pending.push(Pending { var: *var, accessor, group });
                }
                None if number == 0 => self.readers.push(by),
                None => {}
            }
        }
    }

    fn read_missing(&mut self, queue: Var, reader: Task, bind: &Bind) {
        let Some(queue) = self.queues.iter().find(|of| of.fd.var == queue) else { return };
        let Some(at) = self.unread.iter().position(|(_, of)| *of == queue.group) else {
            return self.readers.push(reader);
        };
        let (accessor, group) = self.unread.remove(at);
        let var = match bind {
            Bind::Events(vars) => vars.first().copied(),
            _ => None,
        };
        self.in_transit.push(InTransit { reader, accessor, group, var });
    }

    fn page_in(&mut self, reader: Task) {
        let Some(at) = self.in_transit.iter().position(|it| it.reader == reader) else { return };
        let InTransit { accessor, group, var, .. } = self.in_transit.remove(at);
        self.pending.extend(var.map(|var| Pending { var, accessor, group }));
        self.settle();
    }

    fn close(&mut self, var: Var, by: Task) {
        if let Some(held) = self.held().find(|held| held.var == var) {
            held.drop_by(by);
        }
        self.settle();
    }

    /// A task is gone, and what it held alone.
    fn end(&mut self, task: Task) {
        self.unread.retain(|(accessor, _)| *accessor != task);
        self.in_transit.retain(|event| event.accessor != task && event.reader != task);
        self.pending.retain(|pending| pending.accessor != task);
        self.forked.retain(|forked| *forked != task);
        self.held().for_each(|held| held.drop_by(task));
        self.settle();
    }

    /// What is pending without a queue becomes unread, and what waits for no group goes on.
    fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let (kept, restarted): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|pending| self.has_queue(pending.group));
        self.pending = kept;
        let restarted = restarted.into_iter().map(|pending| (pending.accessor, pending.group));
        self.unread.splice(0..0, restarted);
        let gone = |group: usize| self.groups[group].control.holders.is_empty();
        self.unread.retain(|(_, group)| !gone(*group));
        self.pending.retain(|pending| !gone(pending.group));
    }

    /// The groups that somebody has, the newest one first.
    fn live(&self) -> impl Iterator<Item = (usize, &Group)> {
        let groups = self.groups.iter().enumerate().rev();
        groups.filter(|(_, group)| !group.control.holders.is_empty())
    }

    /// What takes the program further, the likelier the more often. Of a block so many steps are made.
    pub(super) fn due(&self, of_block: Option<usize>) -> Vec<Op> {
        use Op::*;
        let mut due = Vec::new();
        let mut add = |op: Op, weight: usize| due.extend(std::iter::repeat_n(op, weight));
        let Some((number, group)) = self.live().next() else {
            // Somebody may still be in transit, and a queue outlives its group.
            add(FanotifyInit, 2);
            add(PageIn, 6 * self.in_transit.len());
            let is_open = |queue: &Queue| !queue.fd.holders.is_empty();
            if self.queues.iter().any(is_open) {
                [Read, Poll, Fionread, Close].into_iter().for_each(|op| add(op, 1));
            }
            return due;
        };
        if group.marks.is_empty() {
            return vec![FanotifyMark];
        }
        let has_queue = self.has_queue(number);
        let waits = self.unread.len() + self.pending.len();
        add(FanotifyMark, 1);
        add(OpenQueue, if has_queue { 1 } else { 8 });
        add(Spawn, if waits < MANY_WAIT { 6 } else { 1 });
        if !self.has_watched_file() && !self.to_open().is_empty() {
            add(Open, 4);
        }
        if has_queue && !self.unread.is_empty() {
            add(Read, 8);
            add(ReadMissing, 2 * usize::from(!self.forked.is_empty()));
        }
        if !self.in_transit.is_empty() {
            add(PageIn, 4);
            add(Close, 3);
            add(Kill, 2);
        }
        if !self.pending.is_empty() {
            add(Write, 4);
            add(Close, 5);
        }
        if waits > 0 {
            add(Close, 1);
            add(Kill, if self.is_held_by_forked() { 4 } else { 1 });
        }
        if !self.readers.is_empty() {
            // What else would a reader wait for than the end of its group?
            add(Close, 3);
        }
        if waits > 0 || !self.readers.is_empty() {
            add(Signal, usize::from(of_block.is_none()));
        }
        match of_block {
            Some(steps) => add(EndBlock, 2 * steps * steps),
            None => {
                add(BeginBlock, if waits > 0 { 3 } else { 1 });
                add(Fork, usize::from(self.forked.is_empty()));
            }
        }
        due
    }

    /// Of these tasks those that are not likely to be in a call: `main` as often as all others.
    pub(super) fn idle(&self, tasks: &[Task]) -> Vec<Task> {
        let waits = |task: Task| {
            self.unread.iter().any(|(accessor, _)| *accessor == task)
                || self.pending.iter().any(|pending| pending.accessor == task)
                || self.in_transit.iter().any(|event| event.reader == task)
                || self.readers.contains(&task)
        };
        let there = |task: Task| task == Task::MAIN || self.forked.contains(&task);
        let idle = tasks.iter().copied().filter(|task| there(*task) && !waits(*task));
        let others = idle.clone().filter(|task| *task != Task::MAIN).count().max(1);
        idle.flat_map(|task| std::iter::repeat_n(task, if task == Task::MAIN { others } else { 1 }))
            .collect()
    }

    /// Fds that are wanted, the newest of each kind first: those that the task has, if there are any.
    pub(super) fn fds(&self, wants: &[Want], task: Task) -> Vec<Var> {
        let of = |held: &Held, by: Option<Task>| {
            let has = by.map_or(!held.holders.is_empty(), |task| held.holders.contains(&task));
            has.then_some(held.var)
        };
        let found = |by| {
            let mut vars = Vec::new();
            for want in wants {
                match want {
                    Want::Control => {
                        vars.extend(self.groups.iter().rev().filter_map(|g| of(&g.control, by)));
                    }
                    Want::Queue => {
                        vars.extend(self.queues.iter().rev().filter_map(|q| of(&q.fd, by)));
                    }
                    Want::Event => vars.extend(self.pending.iter().map(|pending| pending.var)),
                    Want::File => {
                        vars.extend(self.files.iter().rev().filter_map(|file| of(&file.fd, by)));
                    }
                }
            }
            vars
        };
        let own = found(Some(task));
        if own.is_empty() { found(None) } else { own }
    }

    /// The tasks that wait for an answer, and the forked ones.
    pub(super) fn victims(&self) -> Vec<Task> {
        let unread = self.unread.iter().map(|(accessor, _)| *accessor);
        let pending = self.pending.iter().map(|pending| pending.accessor);
        let in_transit = self.in_transit.iter().map(|event| event.accessor);
        unread.chain(in_transit).chain(pending).chain(self.forked.iter().copied()).collect()
    }

    /// The tasks that sleep for a page.
    pub(super) fn readers_in_transit(&self) -> Vec<Task> {
        self.in_transit.iter().map(|event| event.reader).collect()
    }

    /// The tasks that wait for an answer, or for an event to read.
    pub(super) fn sleepers(&self) -> Vec<Task> {
        let unread = self.unread.iter().map(|(accessor, _)| *accessor);
        let pending = self.pending.iter().map(|pending| pending.accessor);
        unread.chain(pending).chain(self.readers.iter().copied()).collect()
    }

    /// What an access of this kind is asked about.
    pub(super) fn watched(&self, exec: bool) -> Vec<Path> {
        let runs = |path: &Path| matches!(path.kind, PathKind::Exec | PathKind::Waiter);
        let asks = |path: &Path| self.live().any(|(_, group)| group.asks(*path));
        Path::all().filter(|path| runs(path) == exec && asks(path)).collect()
    }

    /// What a spawned task calls most often.
    pub(super) fn spawned(&self) -> &'static [Op] {
        if self.has_watched_file() { &Op::SPAWNED_WITH_FILE } else { &Op::SPAWNED_OFTEN }
    }

    /// Whose contents are asked about and whose open is not.
    pub(super) fn to_open(&self) -> Vec<Path> {
        let asks = |path: &Path, events| self.live().any(|(_, group)| group.asks_of(*path, events));
        Path::all().filter(|path| asks(path, ACCESSES) && !asks(path, OPENS)).collect()
    }

    /// The flags of the group behind an fd.
    pub(super) fn flags_of(&self, group: Fd) -> InitFlags {
        let of = self.groups.iter().find(|of| group == Fd::Var(of.control.var));
        of.map_or(InitFlags::empty(), |group| group.flags)
    }
}

impl Group {
    /// Whether it is asked before the path is opened.
    fn asks(&self, path: Path) -> bool {
        self.asks_of(path, OPENS)
    }

    /// Whether any of these events is raised for the path.
    fn asks_of(&self, path: Path, events: EventMask) -> bool {
        self.marks.iter().any(|mark| mark.mask.intersects(events) && mark.covers(path))
    }
}

//! One state that the kernel can be in, as far as the contract tells states apart.

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::{Errno, EventMask, OpenFlags};
use refan_program::{Inode, Mount, Path, Rule, Task};

use crate::access::Then;
use crate::group::Group;
use crate::latest::Latest;
use crate::mark::Mark;
use crate::read::Due;
use crate::watchdog::Watch;

/// An open file description: the task that made it, and how many that had made before. So the name
/// does not depend on what other tasks do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileNo(Task, u32);

/// A permission event, by its accessor: a task waits for one event at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EventNo(pub Task);

/// A group, an index into [`State::groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupNo(pub usize);

/// A file system of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileSystem {
    /// It raises no `PRE_ACCESS`.
    Tmpfs,
    /// It does (`SB_I_ALLOW_HSM`, `ext4_fill_super`).
    Ext4,
}

impl FileSystem {
    pub(crate) fn of(path: Path) -> Self {
        match path.mount() {
            Mount::Tmpfs | Mount::Second => Self::Tmpfs,
            Mount::Ext4 => Self::Ext4,
        }
    }
}

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub tasks: Vec<TaskState>,
    pub files: BTreeMap<FileNo, OpenFile>,
    pub groups: Vec<Group>,
    pub events: BTreeMap<EventNo, Event>,
    /// What the program's variables hold.
    pub vars: Vec<i32>,
    /// What the files hold that were written to.
    pub written: BTreeMap<Inode, Vec<u8>>,
    pub limits: Limits,
    /// Marks that were removed whole while an accessor's walk stood on their object.
    pub lingering: Vec<Lingering>,
    /// Whether the kernel has auditing, once that was seen.
    pub audit: Option<bool>,
    /// What the watchdog may have to say, if the program asks for that.
    pub watch: Watch,
    /// Messages in flight, by the socket that holds them, the one that was sent first in front.
    pub in_flight: BTreeMap<FileNo, Vec<Message>>,
    /// Steps whose returns were accounted for in this observation.
    pub matched: BTreeSet<usize>,
    /// Counts changes of marks and beginnings of walks.
    pub clock: u32,
}

/// Limits of `/proc/sys/fs/fanotify`. None where no program reaches the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    pub queued_events: Option<u32>,
    pub groups: u32,
    pub marks: Option<u32>,
    /// Seconds until the watchdog names whoever does not answer; 0 is never.
    pub watchdog: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // FANOTIFY_DEFAULT_MAX_GROUPS; events 16384; marks 8192 or more, by the memory's size.
        Self { queued_events: None, groups: 128, marks: None, watchdog: 0 }
    }
}

/// A mark that has been taken off its group's list but still stands on its object's, since a walk
/// has pinned it (`fsnotify_prepare_user_wait`, `fsnotify_put_mark` in fs/notify/mark.c). It raises
/// nothing any more, but the object's mask is computed anew only when the pin goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lingering {
    pub group: GroupNo,
    pub mark: Mark,
    /// The tasks whose walks can have pinned it.
    pub pinned_by: BTreeSet<Task>,
}

/// A permission event, from its queueing until its accessor goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub group: GroupNo,
    /// Its place in the order in which the group's events were first queued. Events of equal ranks
    /// were queued at the same time, in an order that nothing has shown yet.
    pub rank: u32,
    pub mask: EventMask,
    pub path: Path,
    /// Offset and count of a `PRE_ACCESS`.
    pub range: Option<(u64, u64)>,
    /// It has been pending and became unread again.
    pub restarted: bool,
    pub answer: Option<Answer>,
    /// Its accessor was killed while it was in transit or pending.
    pub canceled: bool,
    /// The rule by which the marks ask for it, where that was decided last.
    pub marked: Latest,
}

/// How an event was answered, and the rule by which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    /// The error of a refusal.
    pub refusal: Option<Errno>,
    pub rule: Rule,
}

impl Answer {
    pub(crate) fn allow(rule: Rule) -> Self {
        Self { refusal: None, rule }
    }

    pub(crate) fn deny(errno: Errno, rule: Rule) -> Self {
        Self { refusal: Some(errno), rule }
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskState {
    pub life: Life,
    pub pid: i32,
    pub fds: BTreeMap<i32, FdEntry>,
    /// `RLIMIT_NOFILE`: fd numbers are below it, if that was set.
    pub fd_limit: Option<i32>,
    pub uid: u16,
    /// It is in a user namespace of its own: root there, and nobody elsewhere.
    pub has_user_namespace: bool,
    /// What an allocation that failed in its call has brought about is settled.
    pub fault_is_spent: bool,
    pub call: Option<Running>,
    /// The file that it executes and that nobody may open for writing meanwhile.
    pub runs: Option<Inode>,
    /// A SIGKILL is on its way to it.
    pub killed: bool,
    /// Another signal is, until its call is over, which it does not end.
    pub signaled: bool,
    /// How many open file descriptions it has made.
    pub files_made: u32,
    /// The rule by which it ends that was killed.
    pub ends_by: Latest,
}

/// Whether a task is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    NotMade,
    /// It makes steps.
    Lives,
    /// It makes one call and exits.
    OneCall,
    /// It exits, as long as it is in a call; else it is gone.
    Ended,
}

/// An fd number in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FdEntry {
    pub file: FileNo,
    pub cloexec: bool,
}

/// The call that a task is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Running {
    pub step: usize,
    /// The rule that decides how it goes on.
    pub rule: Rule,
    pub at: At,
}

/// Where a call stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// It goes on with this action.
    Next(Next),
    /// It waits for the answer to an event.
    Asking { event: EventNo, walk: Walk, then: Then },
    /// It reads from an empty queue.
    Reading(Reading),
    /// It has taken an event and sleeps where it copies it out: the event is in transit.
    CopyingOut(Box<Transit>),
    /// It closes a group's file and waits for accessors of other groups (S1).
    Closing { group: GroupNo, then: Closed },
    /// It waits for another read or write of the same open file.
    Position { file: FileNo, then: Box<Then> },
    /// The task has become a program that waits until it is killed.
    Waiting,
}

/// An atomic action of a call (X4), behind the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Next {
    /// The call begins.
    Begin,
    /// An access begins its walk.
    Raise { mask: EventMask, path: Path, range: Option<(u64, u64)>, then: Then },
    /// The walk looks which group is next.
    LookUp { walk: Walk, then: Then },
    /// It queues its event to that group.
    Queue { group: GroupNo, walk: Walk, then: Then },
    /// All events of a stage of the access are answered, or one is refused.
    After { then: Then, refusal: Option<Errno> },
    /// A read takes the next event.
    Take(Reading),
    /// It hands the event over that it has taken: the answer to it, or the number for its fd.
    HandOver { event: EventNo, fd: i32, reading: Reading },
    /// The last reference to a file has gone, the file is released.
    Release { file: FileNo, then: Closed },
    /// Of a group that has stopped the accessors are allowed, one after another.
    Allow { group: GroupNo, then: Closed },
    /// The marks of a group that has stopped go.
    TearDown { group: GroupNo, then: Closed },
    /// An exiting task lets go of an fd.
    Exit,
    /// An exec that succeeds lets go of an fd with close-on-exec.
    Exec,
}

/// What follows the release of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Closed {
    /// The call returns this.
    Return(i64),
    /// The exit goes on.
    Exit,
    /// The exec goes on, in which the task becomes a program that waits.
    Exec,
}

/// A buffer as a call is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Buffer {
    /// Its length in bytes.
    pub size: u32,
    /// How many bytes from its beginning on are memory.
    pub good: u32,
    /// The rest is missing until it is let in, rather than no memory.
    pub missing: bool,
}

impl Buffer {
    /// One that is there.
    pub(crate) fn whole(size: u32) -> Self {
        Self { size, good: size, missing: false }
    }
}

/// A read from a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    pub file: FileNo,
    pub group: GroupNo,
    /// Bytes that are left in the buffer, and how many of them are memory.
    pub room: u32,
    pub good: u32,
    /// The rest is missing until it is let in.
    pub missing: bool,
    /// Bytes that are there already, and of how many events.
    pub done: u32,
    pub events: u32,
    /// What was delivered before the read was seen to return, and under which numbers.
    pub unseen: Vec<(Due, i32, Option<i32>)>,
}

/// An event that a reader has taken and not handed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transit {
    /// None of an overflow record.
    pub event: Option<EventNo>,
    pub due: Due,
    /// What it is answered with in place of becoming pending.
    pub refusal: Option<Answer>,
    pub reading: Reading,
}

/// One access on its way from group to group (`fsnotify` in fs/notify/fsnotify.c).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Walk {
    /// The one event bit that is asked for.
    pub mask: EventMask,
    pub path: Path,
    pub range: Option<(u64, u64)>,
    /// Whether the directory that holds the file was interested when the walk began.
    pub with_parent: bool,
    /// The groups that it has passed.
    pub passed: BTreeSet<GroupNo>,
    /// When it began.
    pub since: u32,
}

/// An open file description.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OpenFile {
    pub kind: FileKind,
    /// How many fds there are on it.
    pub refs: u32,
    /// What `F_GETFL` shows.
    pub status: OpenFlags,
}

/// What an open file description is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileKind {
    /// What `fanotify_init` returns without the flag.
    Classic(GroupNo),
    /// What it returns with it.
    Control(GroupNo),
    Queue(GroupNo),
    Pidfd,
    /// A socket that is connected to itself.
    Socket,
    File {
        path: Path,
        raises: Raises,
        pos: u64,
    },
    /// Opened with `O_PATH`.
    Handle(Target),
}

/// What an `O_PATH` fd stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Path(Path),
    /// The inode behind a group's files or a socket, by the name that the file has.
    Group(&'static str),
    /// The link that `/proc/self/fd/N` is.
    Link,
}

/// A message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub len: u32,
    /// The file that it has a reference to.
    pub file: Option<FileNo>,
}

/// Which events the use of an open file raises (`FMODE_FSNOTIFY_MASK` in include/linux/fs.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Raises {
    /// `FMODE_NONOTIFY`: none at all; an event fd.
    Nothing,
    /// `FMODE_NONOTIFY_PERM`: no permission events.
    NoPermission,
    /// Both bits: `PRE_ACCESS` but no `ACCESS_PERM`.
    PreAccess,
    /// Every event.
    All,
}

impl OpenFile {
    pub(crate) fn readable(&self) -> bool {
        // OPEN_FMODE() of include/linux/fs.h: access mode 3 is neither.
        matches!(self.status & OpenFlags::ACCMODE, OpenFlags::O_RDONLY | OpenFlags::O_RDWR)
    }

    pub(crate) fn writable(&self) -> bool {
        matches!(self.status & OpenFlags::ACCMODE, OpenFlags::O_WRONLY | OpenFlags::O_RDWR)
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.status.contains(OpenFlags::O_NONBLOCK)
    }

    pub(crate) fn group(&self) -> Option<GroupNo> {
        match self.kind {
            FileKind::Classic(group) | FileKind::Control(group) | FileKind::Queue(group) => {
                Some(group)
            }
            _ => None,
        }
    }
}

impl State {
    /// The state that a program starts in.
    pub(crate) fn new(tasks: usize, vars: usize) -> Self {
        let task = TaskState {
            life: Life::NotMade,
            pid: 0,
            fds: BTreeMap::new(),
            fd_limit: None,
            uid: 0,
            has_user_namespace: false,
            fault_is_spent: false,
            call: None,
            runs: None,
            killed: false,
            signaled: false,
            files_made: 0,
            ends_by: Latest::default(),
        };
        let mut tasks = vec![task; tasks.max(1)];
        tasks[0].life = Life::Lives;
        Self {
            tasks,
            files: BTreeMap::new(),
            groups: Vec::new(),
            events: BTreeMap::new(),
            vars: vec![-1; vars],
            written: BTreeMap::new(),
            limits: Limits::default(),
            lingering: Vec::new(),
            audit: None,
            watch: Watch::default(),
            in_flight: BTreeMap::new(),
            matched: BTreeSet::new(),
            clock: 0,
        }
    }

    pub(crate) fn group(&self, group: GroupNo) -> &Group {
        &self.groups[group.0]
    }

    pub(crate) fn group_mut(&mut self, group: GroupNo) -> &mut Group {
        &mut self.groups[group.0]
    }

    pub(crate) fn task(&self, task: Task) -> &TaskState {
        &self.tasks[usize::from(task.0)]
    }

    pub(crate) fn task_mut(&mut self, task: Task) -> &mut TaskState {
        &mut self.tasks[usize::from(task.0)]
    }

    /// The file behind a task's fd number.
    pub(crate) fn file(&self, task: Task, fd: i32) -> Option<(FileNo, &OpenFile)> {
        let file = self.task(task).fds.get(&fd)?.file;
        Some((file, self.files.get(&file)?))
    }

    /// The lowest fd number that the task has not in use.
    pub(crate) fn lowest_free(&self, task: Task) -> i32 {
        let fds = &self.task(task).fds;
        (0..).find(|fd| !fds.contains_key(fd)).unwrap_or_default()
    }

    /// The step whose call the task is in.
    pub(crate) fn step_of(&self, task: Task) -> Option<usize> {
        self.task(task).call.as_ref().map(|call| call.step)
    }

    /// Whether it has the capabilities of root in the initial user namespace.
    pub(crate) fn is_admin(&self, task: Task) -> bool {
        let task = self.task(task);
        task.uid == 0 && !task.has_user_namespace
    }

    /// How many more fds the task can have, if that is limited.
    pub(crate) fn fds_left(&self, task: Task) -> Option<usize> {
        let task = self.task(task);
        let limit = task.fd_limit?;
        Some((0..limit).filter(|fd| !task.fds.contains_key(fd)).count())
    }

    /// The tasks in a call that has not returned, asleep: what *blocked* is when nothing runs.
    pub(crate) fn sleeping(&self) -> BTreeSet<Task> {
        (0u8..)
            .zip(&self.tasks)
            .filter(|(_, task)| task.call.is_some())
            .map(|(number, _)| Task(number))
            .collect()
    }

    /// Whether somebody executes the file and keeps writers off (`deny_write_access`).
    pub(crate) fn is_run(&self, inode: Inode) -> bool {
        self.tasks.iter().any(|task| task.runs == Some(inode))
    }

    /// Whether the task is in no call, nor in its exit.
    pub(crate) fn is_idle(&self, task: Task) -> bool {
        self.task(task).call.is_none()
    }

    /// What the file holds, if that is known.
    pub(crate) fn contents(&self, inode: Inode) -> Option<Vec<u8>> {
        self.written.get(&inode).cloned().or_else(|| inode.contents())
    }

    /// Adds an open file description without fds, made by the task.
    pub(crate) fn add_file(&mut self, task: Task, kind: FileKind, status: OpenFlags) -> FileNo {
        let made = &mut self.task_mut(task).files_made;
        let number = FileNo(task, *made);
        *made += 1;
        self.files.insert(number, OpenFile { kind, refs: 0, status });
        number
    }

    /// Gives the task an fd on the file.
    pub(crate) fn install(&mut self, task: Task, fd: i32, file: FileNo, cloexec: bool) {
        if let Some(open) = self.files.get_mut(&file) {
            open.refs += 1;
            self.task_mut(task).fds.insert(fd, FdEntry { file, cloexec });
        }
    }

    /// Brings counters whose differences alone matter into a form of which there is one only.
    pub(crate) fn normalize(&mut self) {
        let mut begun: Vec<u32> = self.walks().map(|walk| walk.since).collect();
        begun.sort_unstable();
        begun.dedup();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // What is compared is whether something came behind the beginning of a walk.
        let earlier = |time: u32| number(begun.partition_point(|since| *since < time));
        self.clock = number(begun.len());
        for group in &mut self.groups {
            group.changed.retain(|_, time| {
                *time = earlier(*time);
                *time > 0
            });
            for mark in &mut group.marks {
                mark.born = earlier(mark.born);
            }
        }
        for call in self.tasks.iter_mut().filter_map(|task| task.call.as_mut()) {
            if let Some(walk) = call.at.walk_mut() {
                walk.since = earlier(walk.since);
            }
        }
        for one in &mut self.lingering {
            one.mark.born = 0;
        }
        for group in 0..self.groups.len() {
            self.normalize_ranks(GroupNo(group));
        }
    }

    fn walks(&self) -> impl Iterator<Item = &Walk> {
        self.tasks.iter().filter_map(|task| task.call.as_ref()?.at.walk())
    }
}

impl At {
    /// The walk that a call stands in.
    pub(crate) fn walk(&self) -> Option<&Walk> {
        match self {
            Self::Asking { walk, .. }
            | Self::Next(Next::LookUp { walk, .. } | Next::Queue { walk, .. }) => Some(walk),
            _ => None,
        }
    }

    fn walk_mut(&mut self) -> Option<&mut Walk> {
        match self {
            Self::Asking { walk, .. }
            | Self::Next(Next::LookUp { walk, .. } | Next::Queue { walk, .. }) => Some(walk),
            _ => None,
        }
    }

    /// What an access does when its events are answered.
    pub(crate) fn then(&self) -> Option<&Then> {
        match self {
            Self::Asking { then, .. }
            | Self::Next(
                Next::Raise { then, .. }
                | Next::LookUp { then, .. }
                | Next::Queue { then, .. }
                | Next::After { then, .. },
            ) => Some(then),
            Self::Position { .. }
            | Self::Reading(_)
            | Self::CopyingOut(_)
            | Self::Closing { .. }
            | Self::Waiting
            | Self::Next(_) => None,
        }
    }
}

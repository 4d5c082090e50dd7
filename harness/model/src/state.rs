//! One state that the kernel can be in, as far as the contract tells states apart.

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::{Errno, EventMask, OpenFlags};
use refan_program::{Path, PathKind, Rule, Task};

use crate::access::Then;
use crate::group::Group;
use crate::mark::Mark;

/// An open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileNo(pub u32);

/// A permission event. Numbers grow in the order in which events were first queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EventNo(pub u32);

/// A group, an index into [`State::groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupNo(pub usize);

/// A file system of the program. Each has one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileSystem {
    /// It raises no `PRE_ACCESS`.
    Tmpfs,
    /// It does (`SB_I_ALLOW_HSM`, `ext4_fill_super`).
    Ext4,
}

impl FileSystem {
    pub(crate) fn of(path: Path) -> Self {
        if path.kind == PathKind::Ext { Self::Ext4 } else { Self::Tmpfs }
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
    /// What the files hold that have known contents.
    pub contents: BTreeMap<Path, Vec<u8>>,
    pub limits: Limits,
    /// Marks that were removed whole while an accessor's walk stood on their object.
    pub lingering: Vec<Lingering>,
    /// Whether the kernel has auditing, once that was seen.
    pub audit: Option<bool>,
    /// Steps whose returns were accounted for in this observation.
    pub matched: BTreeSet<usize>,
    /// Something that other tasks can see was done since this was last cleared.
    pub touched: bool,
    pub files_made: u32,
    pub events_made: u32,
    /// Counts changes of marks and beginnings of walks.
    pub clock: u32,
}

/// Limits of `/proc/sys/fs/fanotify`. None where no program reaches the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    pub queued_events: Option<u32>,
    pub groups: u32,
    pub marks: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        // FANOTIFY_DEFAULT_MAX_GROUPS; events 16384; marks 8192 or more, by the memory's size.
        Self { queued_events: None, groups: 128, marks: None }
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
    pub accessor: Task,
    pub mask: EventMask,
    pub path: Path,
    /// Offset and count of a `PRE_ACCESS`.
    pub range: Option<(u64, u64)>,
    /// It has been pending and became unread again.
    pub restarted: bool,
    pub answer: Option<Answer>,
    /// Its accessor was killed while it was pending.
    pub canceled: bool,
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
    pub call: Option<Running>,
}

/// Whether a task is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    NotMade,
    /// It makes steps.
    Lives,
    /// It makes one call and exits.
    OneCall,
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
    /// It has just begun, or goes on at once.
    Work,
    /// It waits for the answer to an event.
    Asking { event: EventNo, walk: Walk, then: Then },
    /// It reads from an empty queue.
    Reading { file: FileNo, size: u32 },
    /// It closes a group's file and waits for accessors of other groups (S1).
    Closing { group: GroupNo },
    /// The task has made its call and closes a group's file in its exit, as above.
    Exiting { group: GroupNo },
    /// It waits for another read or write of the same open file.
    Position { file: FileNo, then: Box<Then> },
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
    File {
        path: Path,
        raises: Raises,
        pos: u64,
    },
    /// Opened with `O_PATH`.
    Handle(Path),
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
            call: None,
        };
        let mut tasks = vec![task; tasks.max(1)];
        tasks[0].life = Life::Lives;
        Self {
            tasks,
            files: BTreeMap::new(),
            groups: Vec::new(),
            events: BTreeMap::new(),
            vars: vec![-1; vars],
            contents: Path::all()
                .filter_map(|path| path.contents().map(|bytes| (path, bytes)))
                .collect(),
            limits: Limits::default(),
            lingering: Vec::new(),
            audit: None,
            matched: BTreeSet::new(),
            touched: false,
            files_made: 0,
            events_made: 0,
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

    /// Adds an open file description without fds.
    pub(crate) fn add_file(&mut self, kind: FileKind, status: OpenFlags) -> FileNo {
        let number = FileNo(self.files_made);
        self.files_made += 1;
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
}

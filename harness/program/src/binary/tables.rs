//! What a byte stands for: places in tables, and beyond their ends what is likely to be of use. What
//! is likelier stands there more than once; what is written is a place in the table.

use refan_abi::{Errno, EventMask, FdFlags, InitFlags, MarkFlags, OpenFlags, Response};

use crate::{Call, Path, PathKind, Program};

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    FanotifyInit,
    FanotifyMark,
    OpenQueue,
    Read,
    Pread,
    Write,
    Close,
    Dup,
    Poll,
    Epoll,
    Fionread,
    GetFl,
    SetFl,
    GetFd,
    Readlink,
    Fdinfo,
    Reopen,
    Open,
    Exec,
    Setuid,
    Sysctl,
    RlimitNofile,
    ReadFault,
    ReadMissing,
    PageIn,
    WriteFault,
    Pwrite,
    Ftruncate,
    Fallocate,
    Mmap,
    Readdir,
    Dup2,
    PidfdGetfd,
    Select,
    SetFd,
    OpenQueue32,
    Socket,
    SendFd,
    RecvFd,
    UnshareUser,
    FailNth,
    Sleep,
    KernelLog,
    Spawn,
    Fork,
    Exit,
    Kill,
    Await,
    BeginBlock,
    EndBlock,
    Truncate,
    Signal,
}

impl Op {
    pub(super) fn of(call: &Call) -> Self {
        match call {
            Call::FanotifyInit { .. } => Self::FanotifyInit,
            Call::FanotifyMark { .. } => Self::FanotifyMark,
            Call::OpenQueue { .. } => Self::OpenQueue,
            Call::Read { .. } => Self::Read,
            Call::Pread { .. } => Self::Pread,
            Call::Write { .. } => Self::Write,
            Call::Close { .. } => Self::Close,
            Call::Dup { .. } => Self::Dup,
            Call::Poll { .. } => Self::Poll,
            Call::Epoll { .. } => Self::Epoll,
            Call::Fionread { .. } => Self::Fionread,
            Call::GetFl { .. } => Self::GetFl,
            Call::SetFl { .. } => Self::SetFl,
            Call::GetFd { .. } => Self::GetFd,
            Call::Readlink { .. } => Self::Readlink,
            Call::Fdinfo { .. } => Self::Fdinfo,
            Call::Reopen { .. } => Self::Reopen,
            Call::Open { .. } => Self::Open,
            Call::Exec { .. } => Self::Exec,
            Call::Setuid { .. } => Self::Setuid,
            Call::Sysctl { .. } => Self::Sysctl,
            Call::RlimitNofile { .. } => Self::RlimitNofile,
            Call::ReadFault { .. } => Self::ReadFault,
            Call::ReadMissing { .. } => Self::ReadMissing,
            Call::PageIn { .. } => Self::PageIn,
            Call::WriteFault { .. } => Self::WriteFault,
            Call::Pwrite { .. } => Self::Pwrite,
            Call::Truncate { .. } => Self::Truncate,
            Call::Ftruncate { .. } => Self::Ftruncate,
            Call::Fallocate { .. } => Self::Fallocate,
            Call::Mmap { .. } => Self::Mmap,
            Call::Readdir { .. } => Self::Readdir,
            Call::Dup2 { .. } => Self::Dup2,
            Call::PidfdGetfd { .. } => Self::PidfdGetfd,
            Call::Select { .. } => Self::Select,
            Call::SetFd { .. } => Self::SetFd,
            Call::OpenQueue32 { .. } => Self::OpenQueue32,
            Call::Socket => Self::Socket,
            Call::SendFd { .. } => Self::SendFd,
            Call::RecvFd { .. } => Self::RecvFd,
            Call::UnshareUser => Self::UnshareUser,
            Call::FailNth { .. } => Self::FailNth,
            Call::Sleep { .. } => Self::Sleep,
            Call::KernelLog => Self::KernelLog,
            Call::Spawn { .. } => Self::Spawn,
            Call::Fork => Self::Fork,
            Call::Exit => Self::Exit,
            Call::Kill { .. } => Self::Kill,
            Call::Signal { .. } => Self::Signal,
            Call::Await { .. } => Self::Await,
        }
    }

    /// What a step calls.
    pub(super) const STEPS: [Self; 52] = {
        use Op::*;
        [
            FanotifyInit,
            FanotifyMark,
            OpenQueue,
            Read,
            Pread,
            Write,
            Close,
            Dup,
            Poll,
            Epoll,
            Fionread,
            GetFl,
            SetFl,
            GetFd,
            Readlink,
            Fdinfo,
            Reopen,
            Open,
            Setuid,
            Sysctl,
            RlimitNofile,
            Exec,
            ReadFault,
            WriteFault,
            Pwrite,
            Ftruncate,
            Fallocate,
            Mmap,
            Readdir,
            Dup2,
            PidfdGetfd,
            Select,
            SetFd,
            OpenQueue32,
            Socket,
            SendFd,
            RecvFd,
            UnshareUser,
            FailNth,
            Sleep,
            KernelLog,
            Spawn,
            Fork,
            Exit,
            Kill,
            Await,
            BeginBlock,
            EndBlock,
            ReadMissing,
            PageIn,
            Truncate,
            Signal,
        ]
    };

    /// What a spawned task calls.
    pub(super) const SPAWNED: [Self; 40] = {
        use Op::*;
        [
            Open,
            Exec,
            Read,
            FanotifyInit,
            FanotifyMark,
            OpenQueue,
            Pread,
            Write,
            Close,
            Dup,
            Poll,
            Epoll,
            Fionread,
            GetFl,
            SetFl,
            GetFd,
            Readlink,
            Fdinfo,
            Reopen,
            Setuid,
            Sysctl,
            RlimitNofile,
            ReadFault,
            WriteFault,
            Pwrite,
            Ftruncate,
            Fallocate,
            Mmap,
            Readdir,
            Dup2,
            PidfdGetfd,
            Select,
            SetFd,
            OpenQueue32,
            Socket,
            SendFd,
            RecvFd,
            UnshareUser,
            ReadMissing,
            Truncate,
        ]
    };

    /// What it calls most often.
    pub(super) const SPAWNED_OFTEN: [Self; 14] = {
        use Op::*;
        [Open, Open, Open, Open, Open, Open, Open, Open, Open, Exec, Exec, Read, Write, OpenQueue]
    };

    /// The same where a file is open whose contents are asked about.
    pub(super) const SPAWNED_WITH_FILE: [Self; 12] = {
        use Op::*;
        [Pread, Pread, Pread, Pread, Pread, Read, Mmap, Pwrite, Fallocate, Ftruncate, Open, Open]
    };
}

/// The paths, in the order of [`Path::all`].
pub(super) const PATHS: [Path; PathKind::ALL.len() * Path::PER_KIND as usize] = {
    const PER_KIND: usize = Path::PER_KIND as usize;
    let mut paths = [Path { kind: PathKind::ALL[0], index: 0 }; PathKind::ALL.len() * PER_KIND];
    let mut at = 0;
    while at < paths.len() {
        paths[at] = Path { kind: PathKind::ALL[at / PER_KIND], index: (at % PER_KIND) as u8 };
        at += 1;
    }
    paths
};

/// Fd flags.
pub(super) const FD_FLAGS: &[FdFlags] = &[FdFlags::CLOEXEC, FdFlags::empty()];

/// Sizes of reads: all that is there, one event, two, none, one with a range, and sizes beside.
pub(super) const READ_SIZES: [u32; 8] = [Call::DEFAULT_READ, 24, 48, 0, 23, 47, 1, 72];

/// Sizes of most reads.
pub(super) const READ_SIZES_OFTEN: [u32; 8] = [
    Call::DEFAULT_READ,
    Call::DEFAULT_READ,
    Call::DEFAULT_READ,
    Call::DEFAULT_READ,
    24,
    48,
    72,
    47,
];

/// How many bytes of the memory that is missing most reads find there: not those of the first event, of the
/// second, or of what follows.
pub(super) const GOOD_SIZES_OFTEN: [u32; 6] = [0, 0, 0, 23, 24, 48];

/// How many events of a read get a name: mostly the one that most reads return.
pub(super) const EVENT_COUNTS: [usize; 64] = {
    let mut table = [1; 64];
    let mut count = 0;
    while count <= Program::MAX_BOUND_EVENTS {
        table[count] = count;
        count += 1;
    }
    // The most frequent one stands first.
    table[0] = 1;
    table[1] = 0;
    table
};

pub(super) const INIT: &[InitFlags] = &[
    InitFlags::CLASS_CONTENT.union(InitFlags::RESTARTABLE),
    InitFlags::CLASS_PRE_CONTENT.union(InitFlags::RESTARTABLE),
    InitFlags::CLASS_CONTENT.union(InitFlags::RESTARTABLE).union(InitFlags::NONBLOCK),
    InitFlags::CLASS_PRE_CONTENT.union(InitFlags::RESTARTABLE).union(InitFlags::NONBLOCK),
    InitFlags::CLASS_CONTENT.union(InitFlags::RESTARTABLE).union(InitFlags::UNLIMITED_QUEUE),
    InitFlags::CLASS_CONTENT.union(InitFlags::RESTARTABLE).union(InitFlags::REPORT_FD_ERROR),
    InitFlags::CLASS_CONTENT.union(InitFlags::RESTARTABLE).union(InitFlags::REPORT_PIDFD),
    InitFlags::CLASS_CONTENT,
];

/// Most groups.
pub(super) const INIT_OFTEN: &[InitFlags] = &[
    INIT[0],
    INIT[0],
    INIT[1],
    INIT[2],
    INIT[2],
    INIT[2],
    INIT[3],
    INIT[3],
    INIT[3],
    INIT[4],
    INIT[5],
    INIT[6],
    InitFlags::CLASS_PRE_CONTENT
        .union(InitFlags::RESTARTABLE)
        .union(InitFlags::REPORT_PIDFD)
        .union(InitFlags::REPORT_FD_ERROR),
    InitFlags::CLASS_PRE_CONTENT.union(InitFlags::RESTARTABLE).union(InitFlags::CLOEXEC),
    InitFlags::CLASS_PRE_CONTENT,
];

pub(super) const OPEN: &[OpenFlags] = &[
    OpenFlags::O_RDONLY,
    OpenFlags::O_RDWR,
    OpenFlags::O_WRONLY,
    OpenFlags::O_NONBLOCK,
    OpenFlags::O_CLOEXEC,
    OpenFlags::O_RDWR.union(OpenFlags::O_TRUNC),
    OpenFlags::O_PATH,
];

/// How most event fds are opened.
pub(super) const EVENT_OPEN_OFTEN: &[OpenFlags] =
    &[OpenFlags::O_RDONLY, OpenFlags::O_RDONLY, OpenFlags::O_RDWR, OpenFlags::O_CLOEXEC];

/// How most files are.
pub(super) const OPEN_OFTEN: &[OpenFlags] = &[
    OpenFlags::O_RDONLY,
    OpenFlags::O_RDONLY,
    OpenFlags::O_RDONLY,
    OpenFlags::O_RDWR,
    OpenFlags::O_RDWR,
    OpenFlags::O_RDWR,
    OpenFlags::O_NONBLOCK,
    OpenFlags::O_NOFOLLOW,
];

pub(super) const MARK: &[MarkFlags] = &[
    MarkFlags::ADD,
    MarkFlags::REMOVE,
    MarkFlags::FLUSH,
    MarkFlags::ADD.union(MarkFlags::MOUNT),
    MarkFlags::ADD.union(MarkFlags::FILESYSTEM),
    MarkFlags::REMOVE.union(MarkFlags::MOUNT),
    MarkFlags::FLUSH.union(MarkFlags::MOUNT),
    MarkFlags::FLUSH.union(MarkFlags::FILESYSTEM),
    MarkFlags::ADD.union(MarkFlags::IGNORE).union(MarkFlags::IGNORED_SURV_MODIFY),
    MarkFlags::ADD.union(MarkFlags::IGNORED_MASK),
];

/// Most of what is done to marks.
pub(super) const MARK_OFTEN: &[MarkFlags] = &[
    MARK[0],
    MARK[0],
    MARK[0],
    MARK[0],
    MARK[0],
    MARK[0],
    MARK[3],
    MARK[3],
    MARK[4],
    MARK[1],
    MARK[2],
    MarkFlags::ADD.union(MarkFlags::DONT_FOLLOW),
    MarkFlags::ADD
        .union(MarkFlags::MOUNT)
        .union(MarkFlags::IGNORE)
        .union(MarkFlags::IGNORED_SURV_MODIFY),
];

pub(super) const EVENTS: &[EventMask] = &[
    EventMask::OPEN_PERM,
    EventMask::ACCESS_PERM,
    EventMask::OPEN_PERM.union(EventMask::ACCESS_PERM),
    EventMask::OPEN_EXEC_PERM,
    EventMask::PRE_ACCESS,
    EventMask::OPEN_PERM.union(EventMask::ONDIR),
    EventMask::OPEN_PERM.union(EventMask::EVENT_ON_CHILD),
    EventMask::empty(),
    EventMask::OPEN,
];

/// What marks of a group mostly ask for; where marks are flushed, which looks at no mask, anything.
pub(super) fn events_often(of: InitFlags, flags: MarkFlags) -> &'static [EventMask] {
    const CONTENT: &[EventMask] =
        &[EVENTS[0], EVENTS[0], EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[3], EVENTS[5]];
    const PRE_CONTENT: &[EventMask] = &[
        EVENTS[0],
        EVENTS[0],
        EVENTS[2],
        EVENTS[3],
        EVENTS[4],
        EVENTS[6],
        EventMask::OPEN_PERM.union(EventMask::PRE_ACCESS),
        EventMask::OPEN_PERM.union(EventMask::ACCESS_PERM).union(EventMask::PRE_ACCESS),
    ];
    match of.contains(InitFlags::CLASS_PRE_CONTENT) {
        _ if flags.contains(MarkFlags::FLUSH) => EVENTS,
        true => PRE_CONTENT,
        false => CONTENT,
    }
}

/// Objects on which such a mask raises something.
pub(super) fn paths_for(mask: EventMask) -> Vec<Path> {
    let kinds: &[PathKind] = if mask.contains(EventMask::PRE_ACCESS) {
        &[PathKind::Ext]
    } else if mask.contains(EventMask::OPEN_EXEC_PERM) {
        &[PathKind::Exec, PathKind::Waiter]
    } else if mask.intersects(EventMask::FLAGS) {
        &[PathKind::Dir]
    } else {
        &[
            PathKind::File,
            PathKind::File,
            PathKind::File,
            PathKind::Exec,
            PathKind::Child,
            PathKind::Ext,
            PathKind::Symlink,
            PathKind::Mounted,
        ]
    };
    let few = (0..2).flat_map(|index| kinds.iter().map(move |kind| Path { kind: *kind, index }));
    few.collect()
}

/// Most answers.
pub(super) const RESPONSES_OFTEN: &[Response] = &[Response::ALLOW, Response::ALLOW, Response::DENY];

pub(super) fn responses() -> [Response; 6] {
    [
        Response::ALLOW,
        Response::DENY,
        Response::deny_errno(Errno::EIO),
        Response::deny_errno(Errno::EBUSY),
        Response::ALLOW | Response::AUDIT,
        Response::DENY | Response::AUDIT | Response::INFO,
    ]
}

//! What a step can call.

use refan_abi::{EventMask, FdFlags, InitFlags, MarkFlags, OpenFlags, Response};

use crate::{Path, Task, Var};

/// An fd as a call names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fd {
    /// The number that the variable holds: of an event, its event fd. A variable that no call has
    /// filled holds -1.
    Var(Var),
    /// This number.
    Number(i32),
}

/// A limit of fanotify under `/proc/sys/fs/fanotify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sysctl {
    /// `max_queued_events`: of groups that are made from now on.
    MaxQueuedEvents,
    /// `max_user_groups`.
    MaxUserGroups,
    /// `max_user_marks`.
    MaxUserMarks,
    /// `watchdog_timeout`, in seconds; 0 is off.
    WatchdogTimeout,
}

impl Sysctl {
    /// Every limit.
    pub const ALL: [Self; 4] =
        [Self::MaxQueuedEvents, Self::MaxUserGroups, Self::MaxUserMarks, Self::WatchdogTimeout];

    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxQueuedEvents => "max_queued_events",
            Self::MaxUserGroups => "max_user_groups",
            Self::MaxUserMarks => "max_user_marks",
            Self::WatchdogTimeout => "watchdog_timeout",
        }
    }
}

/// What a call needs of the kernel that not every kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Facility {
    /// Calls of 32-bit tasks: `CONFIG_IA32_EMULATION`.
    CompatCalls,
    /// Sockets that pass fds: `CONFIG_UNIX`.
    Sockets,
    /// Allocations that fail on demand: `/proc/self/fail-nth`, which `CONFIG_FAULT_INJECTION` and
    /// `CONFIG_FAILSLAB` bring, and its settings in debugfs.
    FaultInjection,
    /// The watchdog of permission events, which is newer than those: the limit
    /// `watchdog_timeout`.
    Watchdog,
    /// Pages that are missing until they are let in: `CONFIG_USERFAULTFD`.
    MissingPages,
    /// The ext4, which is on a RAM disk: `CONFIG_EXT4_FS` and `CONFIG_BLK_DEV_RAM`.
    Ext4,
}

impl Facility {
    /// Every facility.
    pub const ALL: [Self; 6] = [
        Self::CompatCalls,
        Self::Sockets,
        Self::FaultInjection,
        Self::Watchdog,
        Self::MissingPages,
        Self::Ext4,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::CompatCalls => "32-bit calls",
            Self::Sockets => "sockets",
            Self::FaultInjection => "fault injection",
            Self::Watchdog => "a watchdog of permission events",
            Self::MissingPages => "userfaultfd",
            Self::Ext4 => "an ext4 on a RAM disk",
        }
    }
}

/// A call. Each one's text form stands in its documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `fanotify_init(FLAGS, EVENT_FLAGS)`; returns a group's fd: of a restartable one, its control
    /// fd.
    FanotifyInit {
        /// What the group is.
        flags: InitFlags,
        /// What event fds are opened with.
        event_flags: OpenFlags,
    },
    /// `fanotify_mark(fd, FLAGS, MASK, path)`.
    FanotifyMark {
        /// The group.
        group: Fd,
        /// Command, type and options.
        flags: MarkFlags,
        /// Events and event flags.
        mask: EventMask,
        /// The object, or where its mount or file system is found.
        path: Path,
    },
    /// `open_queue(fd)`: the ioctl `FAN_IOC_OPEN_QUEUE_FD`; returns the queue fd.
    OpenQueue {
        /// The control fd.
        control: Fd,
    },
    /// `open_queue32(fd)`: the same as a 32-bit task makes it.
    OpenQueue32 {
        /// The control fd.
        control: Fd,
    },
    /// `read(fd)` or `read(fd, size)`: of a queue it returns events, else bytes.
    Read {
        /// The queue or file.
        fd: Fd,
        /// Bytes in the buffer.
        size: u32,
    },
    /// `pread(fd, size)` at offset 0.
    Pread {
        /// The file.
        fd: Fd,
        /// Bytes in the buffer.
        size: u32,
    },
    /// `write(fd, event, RESPONSE)` or `write(fd, event, RESPONSE, size)`: answers an event. With
    /// `INFO` an audit rule record of zeros follows the response.
    Write {
        /// The queue.
        fd: Fd,
        /// The event that is answered, or a bare number in its place.
        event: Fd,
        /// The decision.
        response: Response,
        /// How many bytes of the response are written, if not all; beyond its end are zeros.
        size: Option<u32>,
    },
    /// `read_fault(fd, size, good)`: a read into a buffer of which only the first bytes are there;
    /// behind them is no memory.
    ReadFault {
        /// The queue or file.
        fd: Fd,
        /// Bytes in the buffer, as the call is told.
        size: u32,
        /// How many of them are there.
        good: u32,
    },
    /// `read_missing(fd, size, good)`: a read into a buffer of which only the first bytes are there;
    /// the pages behind them are missing (`userfaultfd(2)`): who copies to them sleeps until
    /// [`Call::PageIn`] lets them in. A reader that sleeps so has its event *in transit*.
    ReadMissing {
        /// The queue.
        fd: Fd,
        /// Bytes in the buffer, as the call is told.
        size: u32,
        /// How many of them are there.
        good: u32,
    },
    /// `page_in(task)`: lets in what is missing of the buffer of the `read_missing` that the task is
    /// in; returns 0, also where it is in none.
    PageIn {
        /// The reader.
        task: Task,
    },
    /// `write_fault(fd, event, RESPONSE, good)`: writes a whole response of which only the first
    /// bytes are there; behind them is no memory.
    WriteFault {
        /// The queue.
        fd: Fd,
        /// The event that is answered, or a bare number in its place.
        event: Fd,
        /// The decision.
        response: Response,
        /// How many bytes are there.
        good: u32,
    },
    /// `pwrite(fd, "text")` at offset 0.
    Pwrite {
        /// The file.
        fd: Fd,
        /// What is written: ASCII.
        text: String,
    },
    /// `truncate(path, size)`.
    Truncate {
        /// The file.
        path: Path,
        /// Its new length in bytes.
        size: u32,
    },
    /// `ftruncate(fd, size)`.
    Ftruncate {
        /// The file.
        fd: Fd,
        /// Its new length in bytes.
        size: u32,
    },
    /// `fallocate(fd, size)`: mode 0 from offset 0: a shorter file gets this length.
    Fallocate {
        /// The file.
        fd: Fd,
        /// Bytes.
        size: u32,
    },
    /// `mmap(fd, size)`: maps the file from offset 0 on, private and read-only, reads what it holds
    /// there and unmaps it; returns the bytes.
    Mmap {
        /// The file.
        fd: Fd,
        /// Length of the mapping in bytes.
        size: u32,
    },
    /// `readdir(fd)`: `getdents64(2)`, once; returns 0.
    Readdir {
        /// The directory.
        fd: Fd,
    },
    /// `close(fd)`.
    Close {
        /// The fd.
        fd: Fd,
    },
    /// `dup(fd)`; returns the new fd.
    Dup {
        /// The fd.
        fd: Fd,
    },
    /// `dup2(fd, other)`: the second number becomes a duplicate of the first; returns it.
    Dup2 {
        /// The fd.
        fd: Fd,
        /// The number that becomes a duplicate; what is open there is closed.
        to: Fd,
    },
    /// `pidfd_getfd(task, fd)`: a duplicate of another task's fd; returns the new fd.
    PidfdGetfd {
        /// Whose fd it is.
        task: Task,
        /// Its number there.
        fd: Fd,
    },
    /// `socket()`: a datagram socket of `AF_UNIX` that is connected to itself, so that it holds what
    /// is sent on it; returns its fd.
    Socket,
    /// `send_fd(socket, fd)`: sends the fd (`SCM_RIGHTS`); returns 0.
    SendFd {
        /// The socket.
        socket: Fd,
        /// What is sent.
        fd: Fd,
    },
    /// `recv_fd(socket)`: receives the fd that was sent first, without waiting; returns the new fd.
    RecvFd {
        /// The socket.
        socket: Fd,
    },
    /// `select(fd)`: `select(2)` without waiting, for reading, writing and exceptions; returns what
    /// is ready as `IN`, `OUT` and `PRI`.
    Select {
        /// The fd.
        fd: Fd,
    },
    /// `poll(fd)`: what is ready now, asked for `IN | PRI | OUT | RDNORM | WRNORM | RDHUP`.
    Poll {
        /// The fd.
        fd: Fd,
    },
    /// `epoll(fd)`: adds it to an epoll instance of its own, which is then closed.
    Epoll {
        /// The fd.
        fd: Fd,
    },
    /// `fionread(fd)`: the ioctl `FIONREAD`; returns the number of bytes.
    Fionread {
        /// The fd.
        fd: Fd,
    },
    /// `getfl(fd)`: `fcntl(F_GETFL)`.
    GetFl {
        /// The fd.
        fd: Fd,
    },
    /// `setfl(fd, FLAGS)`: `fcntl(F_SETFL)`.
    SetFl {
        /// The fd.
        fd: Fd,
        /// The status flags.
        flags: OpenFlags,
    },
    /// `getfd(fd)`: `fcntl(F_GETFD)`.
    GetFd {
        /// The fd.
        fd: Fd,
    },
    /// `setfd(fd, FLAGS)`: `fcntl(F_SETFD)`.
    SetFd {
        /// The fd.
        fd: Fd,
        /// The fd flags.
        flags: FdFlags,
    },
    /// `readlink(fd)`: what `/proc/self/fd/N` links to.
    Readlink {
        /// The fd.
        fd: Fd,
    },
    /// `fdinfo(fd)`: the lines of `/proc/self/fdinfo/N` that begin with `fanotify`.
    Fdinfo {
        /// The fd.
        fd: Fd,
    },
    /// `reopen(fd)` or `reopen(fd, FLAGS)`: opens `/proc/self/fd/N`, with `O_RDONLY` if no flags
    /// are named; returns the new fd.
    Reopen {
        /// The fd.
        fd: Fd,
        /// How it is opened.
        flags: OpenFlags,
    },
    /// `open(path, FLAGS)`; returns the fd.
    Open {
        /// The file.
        path: Path,
        /// How it is opened.
        flags: OpenFlags,
    },
    /// `exec(path)`: becomes the program at the path, which exits with status 0, or of a `w` path
    /// never exits. Returns only on failure; a success counts as 0 when the program has exited.
    /// `main` cannot.
    Exec {
        /// The executable.
        path: Path,
    },
    /// `setuid(uid)`: from 0 to another uid, which gives up all capabilities.
    Setuid {
        /// The uid.
        uid: u16,
    },
    /// `unshare_user()`: the task enters a user namespace of its own, in which it has every
    /// capability, and loses those that it had.
    UnshareUser,
    /// `fail_nth(n)`: of the allocations that the task's next call makes, the n-th fails, counted
    /// from 1 (`/proc/self/fail-nth`).
    FailNth {
        /// Which one.
        nth: u8,
    },
    /// `sleep(ms)`: so much time passes, for everyone.
    Sleep {
        /// Milliseconds.
        ms: u32,
    },
    /// `kernel_log()`: whom fanotify's watchdog has named since the program began or this was last
    /// asked (`perm_group_watchdog` in fanotify_user.c), each time it did: tasks by name, in the
    /// order of the kernel's log, with commas between them.
    KernelLog,
    /// `sysctl(name, value)`: writes the limit; back to what it was at the end of the program.
    Sysctl {
        /// The limit.
        name: Sysctl,
        /// Its new value.
        value: u32,
    },
    /// `rlimit_nofile(n)`: `RLIMIT_NOFILE` of the calling task to the fds that it has open now and
    /// `n` more: `n` further fds can be had.
    RlimitNofile {
        /// How many more.
        more: u8,
    },
    /// `a = spawn CALL`: a new task makes the call and exits when it has returned. It is a process
    /// of its own that holds just the fds that the call names; with its exit they are released.
    Spawn {
        /// The call, no spawn, fork, exit, kill, signal or await.
        call: Box<Call>,
    },
    /// `d = fork()`: a new task with copies of all fds of the calling one. It makes the steps that
    /// name it, `d: CALL`.
    Fork,
    /// `d: exit()`: the task exits.
    Exit,
    /// `kill(a)`: SIGKILL, and it is waited until the task is reaped. In a block a task sends the
    /// signal, which is all that it waits for.
    Kill {
        /// The victim, not `main`.
        task: Task,
    },
    /// `signal(a)`: a signal for which tasks have a handler that does nothing; `signal(a, RESTART)`:
    /// one of which the handler was set with `SA_RESTART`. Programs that were executed have none, so
    /// it ends them. Returns 0, also where the task has ended.
    Signal {
        /// Who gets it.
        task: Task,
        /// Whether a call that it interrupts is begun anew.
        restart: bool,
    },
    /// `a` alone: how the latest call of the task stands.
    Await {
        /// The task.
        task: Task,
    },
}

/// What a call names, in the order of its arguments: shared or to be changed, as the call is.
macro_rules! named_fds {
    ($call:expr) => {
        match $call {
            Call::FanotifyMark { group: fd, .. }
            | Call::OpenQueue { control: fd }
            | Call::OpenQueue32 { control: fd }
            | Call::RecvFd { socket: fd }
            | Call::Read { fd, .. }
            | Call::Pread { fd, .. }
            | Call::ReadFault { fd, .. }
            | Call::ReadMissing { fd, .. }
            | Call::Pwrite { fd, .. }
            | Call::Ftruncate { fd, .. }
            | Call::Fallocate { fd, .. }
            | Call::Mmap { fd, .. }
            | Call::Readdir { fd }
            | Call::Select { fd }
            | Call::SetFd { fd, .. }
            | Call::Close { fd }
            | Call::Dup { fd }
            | Call::Poll { fd }
            | Call::Epoll { fd }
            | Call::Fionread { fd }
            | Call::GetFl { fd }
            | Call::SetFl { fd, .. }
            | Call::GetFd { fd }
            | Call::Readlink { fd }
            | Call::Fdinfo { fd }
            | Call::Reopen { fd, .. } => [Some(fd), None],
            Call::Write { fd, event, .. } | Call::WriteFault { fd, event, .. } => {
                [Some(fd), Some(event)]
            }
            Call::SendFd { socket, fd } => [Some(socket), Some(fd)],
            Call::Dup2 { fd, to } => [Some(fd), Some(to)],
            Call::PidfdGetfd { fd, .. } => [Some(fd), None],
            Call::FanotifyInit { .. }
            | Call::Open { .. }
            | Call::Exec { .. }
            | Call::Truncate { .. }
            | Call::Setuid { .. }
            | Call::Socket
            | Call::PageIn { .. }
            | Call::UnshareUser
            | Call::FailNth { .. }
            | Call::Sleep { .. }
            | Call::KernelLog
            | Call::Sysctl { .. }
            | Call::RlimitNofile { .. }
            | Call::Spawn { .. }
            | Call::Fork
            | Call::Exit
            | Call::Kill { .. }
            | Call::Signal { .. }
            | Call::Await { .. } => [None, None],
        }
        .into_iter()
        .flatten()
    };
}

impl Call {
    /// Buffer size of a read that names none, in bytes.
    pub const DEFAULT_READ: u32 = 4096;

    /// What the calls are called in the text form, `spawn` included.
    pub const NAMES: [&'static str; 49] = [
        "fanotify_init",
        "fanotify_mark",
        "open_queue",
        "open_queue32",
        "read",
        "pread",
        "write",
        "read_fault",
        "read_missing",
        "page_in",
        "write_fault",
        "pwrite",
        "truncate",
        "ftruncate",
        "fallocate",
        "mmap",
        "readdir",
        "close",
        "dup",
        "dup2",
        "pidfd_getfd",
        "socket",
        "send_fd",
        "recv_fd",
        "select",
        "poll",
        "epoll",
        "fionread",
        "getfl",
        "setfl",
        "getfd",
        "setfd",
        "readlink",
        "fdinfo",
        "reopen",
        "open",
        "exec",
        "setuid",
        "unshare_user",
        "fail_nth",
        "sleep",
        "kernel_log",
        "sysctl",
        "rlimit_nofile",
        "spawn",
        "fork",
        "exit",
        "kill",
        "signal",
    ];

    /// Its name in the text form; a call that waits for a task has none.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::FanotifyInit { .. } => "fanotify_init",
            Self::FanotifyMark { .. } => "fanotify_mark",
            Self::OpenQueue { .. } => "open_queue",
            Self::OpenQueue32 { .. } => "open_queue32",
            Self::Read { .. } => "read",
            Self::Pread { .. } => "pread",
            Self::Write { .. } => "write",
            Self::ReadFault { .. } => "read_fault",
            Self::ReadMissing { .. } => "read_missing",
            Self::PageIn { .. } => "page_in",
            Self::WriteFault { .. } => "write_fault",
            Self::Pwrite { .. } => "pwrite",
            Self::Truncate { .. } => "truncate",
            Self::Ftruncate { .. } => "ftruncate",
            Self::Fallocate { .. } => "fallocate",
            Self::Mmap { .. } => "mmap",
            Self::Readdir { .. } => "readdir",
            Self::Close { .. } => "close",
            Self::Dup { .. } => "dup",
            Self::Dup2 { .. } => "dup2",
            Self::PidfdGetfd { .. } => "pidfd_getfd",
            Self::Socket => "socket",
            Self::SendFd { .. } => "send_fd",
            Self::RecvFd { .. } => "recv_fd",
            Self::Select { .. } => "select",
            Self::Poll { .. } => "poll",
            Self::Epoll { .. } => "epoll",
            Self::Fionread { .. } => "fionread",
            Self::GetFl { .. } => "getfl",
            Self::SetFl { .. } => "setfl",
            Self::GetFd { .. } => "getfd",
            Self::SetFd { .. } => "setfd",
            Self::Readlink { .. } => "readlink",
            Self::Fdinfo { .. } => "fdinfo",
            Self::Reopen { .. } => "reopen",
            Self::Open { .. } => "open",
            Self::Exec { .. } => "exec",
            Self::Setuid { .. } => "setuid",
            Self::UnshareUser => "unshare_user",
            Self::FailNth { .. } => "fail_nth",
            Self::Sleep { .. } => "sleep",
            Self::KernelLog => "kernel_log",
            Self::Sysctl { .. } => "sysctl",
            Self::RlimitNofile { .. } => "rlimit_nofile",
            Self::Spawn { .. } => "spawn",
            Self::Fork => "fork",
            Self::Exit => "exit",
            Self::Kill { .. } => "kill",
            Self::Signal { .. } => "signal",
            Self::Await { .. } => return None,
        })
    }

    /// The fds that it names, in the order of its arguments.
    pub fn fds(&self) -> impl Iterator<Item = Fd> {
        named_fds!(self.innermost()).copied()
    }

    /// The same, to be changed.
    pub(crate) fn fds_mut(&mut self) -> impl Iterator<Item = &mut Fd> {
        named_fds!(self.innermost_mut())
    }

    /// The task that it is about, to be changed.
    pub(crate) fn task_mut(&mut self) -> Option<&mut Task> {
        match self.innermost_mut() {
            Self::Kill { task }
            | Self::Await { task }
            | Self::Signal { task, .. }
            | Self::PageIn { task }
            | Self::PidfdGetfd { task, .. } => Some(task),
            _ => None,
        }
    }

    /// Those of them that are fds of the calling task. The event of a response is a number to the
    /// kernel, and what `pidfd_getfd` copies is another task's.
    pub fn own_fds(&self) -> impl Iterator<Item = Fd> {
        let own = match self.innermost() {
            Self::Write { .. } | Self::WriteFault { .. } => 1,
            Self::PidfdGetfd { .. } => 0,
            _ => usize::MAX,
        };
        self.fds().take(own)
    }

    /// The path that it names.
    pub fn path(&self) -> Option<Path> {
        match self.innermost() {
            Self::FanotifyMark { path, .. }
            | Self::Open { path, .. }
            | Self::Exec { path }
            | Self::Truncate { path, .. } => Some(*path),
            _ => None,
        }
    }

    /// The call that a spawned task makes, else the call itself.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::Spawn { call } => call,
            call => call,
        }
    }

    /// The same, to be changed.
    pub fn innermost_mut(&mut self) -> &mut Self {
        match self {
            Self::Spawn { call } => call,
            call => call,
        }
    }

    /// What it needs that not every kernel has, beside what its files need.
    pub fn needs(&self) -> Option<Facility> {
        match self.innermost() {
            Self::OpenQueue32 { .. } => Some(Facility::CompatCalls),
            Self::Socket | Self::SendFd { .. } | Self::RecvFd { .. } => Some(Facility::Sockets),
            Self::FailNth { .. } => Some(Facility::FaultInjection),
            Self::ReadMissing { .. } | Self::PageIn { .. } => Some(Facility::MissingPages),
            Self::Sysctl { name: Sysctl::WatchdogTimeout, .. } => Some(Facility::Watchdog),
            _ => None,
        }
    }

    /// Whether it makes a group with the feature under test.
    pub fn asks_for_restartable(&self) -> bool {
        matches!(self, Self::FanotifyInit { flags, .. } if flags.contains(InitFlags::RESTARTABLE))
    }

    /// Whether a success returns a new fd. Which number it is says nothing: it counts as 0.
    pub fn returns_fd(&self) -> bool {
        matches!(
            self,
            Self::FanotifyInit { .. }
                | Self::OpenQueue { .. }
                | Self::OpenQueue32 { .. }
                | Self::Socket
                | Self::RecvFd { .. }
                | Self::Dup { .. }
                | Self::Dup2 { .. }
                | Self::PidfdGetfd { .. }
                | Self::Reopen { .. }
                | Self::Open { .. }
        )
    }
}

//! What each call of a program does.

use std::collections::BTreeSet;

use refan_abi::{
    AuditRule, Errno, FdFlags, InitFlags, OpenFlags, PollFlags, RESPONSE_LEN, Response,
};
use refan_program::{Bind, Call, Fd, PathKind, Rule, Sysctl, Task};

use crate::access::{DIRECT, Direction, contradicts_itself};
use crate::context::Context;
use crate::group::{Class, Init};
use crate::latest::Latest;
use crate::lookup;
use crate::rules::{
    A1, C1, C2, C4, C5, C6, F2, I1, I3, K3, M1, MAINLINE, Q1, Q2, Q3, Q5, Q6, R3, R4, S1, S2,
};
use crate::state::{
    Answer, At, Buffer, Closed, FileKind, FileNo, GroupNo, Life, Next, Reading, Running, State,
    Target,
};
use crate::violation::{Allowed, returned};
use crate::{Seen, Stop};

/// What poll is asked for and can report: `IN | PRI | OUT | RDNORM | WRNORM | RDHUP`, `HUP`.
const ALWAYS_READY: PollFlags =
    PollFlags::IN.union(PollFlags::OUT).union(PollFlags::RDNORM).union(PollFlags::WRNORM);
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDNORM);

/// `SETFL_MASK` of fs/fcntl.c, with `O_DIRECT`.
const SETTABLE: OpenFlags =
    OpenFlags::O_APPEND.union(OpenFlags::O_NONBLOCK).union(OpenFlags::O_NOATIME).union(DIRECT);
/// Flags that `F_GETFL` shows and that say something: no O_CLOEXEC, which only event fds show, no
/// O_LARGEFILE, which the kernel adds, and none that newer kernels have and older ones drop.
const SHOWN: OpenFlags = OpenFlags::ACCMODE
    .union(SETTABLE)
    .union(OpenFlags::O_DSYNC)
    .union(OpenFlags::O_DIRECTORY)
    .union(OpenFlags::O_NOFOLLOW)
    .union(OpenFlags::O_PATH);

/// What `/proc/self/fd` calls a group's file, and a queue file.
const GROUP_NAME: &str = "anon_inode:[fanotify]";
const QUEUE_NAME: &str = "anon_inode:[fanotify-queue]";
/// The same of sockets, up to what tells one from another.
const SOCKET_NAME: &str = "socket:[";

/// `INR_OPEN_CUR`: the limit that a task starts with.
const DEFAULT_FD_LIMIT: i32 = 1024;
/// How many fds `select(2)` can name, and how many the smallest table has (`BITS_PER_LONG`).
const FD_SETSIZE: i32 = 1024;
const FD_TABLE: i32 = 64;

/// A response as a call writes it.
#[derive(Clone, Copy)]
struct Written {
    event: i32,
    response: Response,
    /// Bytes that the call is told of, and how many of them are memory.
    len: usize,
    good: usize,
}

impl Written {
    fn new(event: i32, response: Response, size: Option<u32>, good: Option<u32>) -> Self {
        let info = if response.contains(Response::INFO) { AuditRule::LEN } else { 0 };
        let len = size.map_or(RESPONSE_LEN + info, |size| size as usize);
        let good = good.map_or(len, |good| len.min(good as usize));
        Self { event, response, len, good }
    }

    /// The bytes, zeros beyond the response's end.
    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.event.to_ne_bytes().to_vec();
        bytes.extend(self.response.bits().to_ne_bytes());
        if self.response.contains(Response::INFO) {
            let rule = AuditRule { rule_number: 0, subject_trust: 0, object_trust: 0 };
            bytes.extend(rule.to_bytes());
        }
        bytes.resize(self.len, 0);
        bytes
    }
}

/// The highest value that a limit can be set to (`ft_int_max` in fanotify_user.c).
const SYSCTL_MAX: u32 = i32::MAX as u32;

impl State {
    /// The number that an fd of a call stands for.
    pub(crate) fn number(&self, fd: Fd) -> i32 {
        match fd {
            Fd::Number(number) => number,
            Fd::Var(var) => self.vars.get(usize::from(var.0)).copied().unwrap_or(-1),
        }
    }

    /// The first action of a call, which for most calls is all.
    pub(crate) fn call(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        call: &Call,
    ) -> Result<(), Stop> {
        let step = self.step_of(task).unwrap_or(cx.step);
        if self.fails_at_once(cx, task, call)? {
            return Ok(());
        }
        let number = |fd: &Fd| self.number(*fd);
        match call {
            Call::FanotifyInit { flags, event_flags } => {
                self.make_group(cx, task, *flags, *event_flags)
            }
            Call::FanotifyMark { group, flags, mask, path } => {
                let group = number(group);
                let path = lookup::marked(*path, *flags);
                let (rule, allowed) = self.mark(task, group, *flags, *mask, path);
                // A limit that is not reached is one of those that refuse nothing.
                let refused =
                    rule == M1 && cx.peek_of(self, task).is_some_and(|back| back.is(Errno::ENOSPC));
                let rule = if refused { F2 } else { rule };
                self.finish(cx, task, rule, &allowed)
            }
            Call::OpenQueue { control } => self.open_queue(cx, task, number(control), Q2),
            Call::OpenQueue32 { control } => self.open_queue(cx, task, number(control), C5),
            Call::Read { fd, size } => self.read(cx, task, number(fd), Buffer::whole(*size)),
            Call::ReadFault { fd, size, good } => {
                let buffer = Buffer { size: *size, good: *good, missing: false };
                self.read(cx, task, number(fd), buffer)
            }
            Call::ReadMissing { fd, size, good } => {
                let buffer = Buffer { size: *size, good: *good, missing: true };
                self.read(cx, task, number(fd), buffer)
            }
            Call::PageIn { task: reader } => self.page_in(cx, task, *reader),
            Call::Pread { fd, size } => self.pread(cx, task, number(fd), *size),
            Call::Write { fd, event, response, size } => {
                let written = Written::new(number(event), *response, *size, None);
                self.write(cx, task, number(fd), written)
            }
            Call::WriteFault { fd, event, response, good } => {
                let written = Written::new(number(event), *response, None, Some(*good));
                self.write(cx, task, number(fd), written)
            }
            Call::Pwrite { fd, text } => self.pwrite(cx, task, number(fd), text),
            Call::Truncate { path, size } => {
                self.set_rule(task, A1);
                self.truncate(cx, task, lookup::truncated(*path), *size)
            }
            Call::Ftruncate { fd, size } => self.ftruncate(cx, task, number(fd), *size),
            Call::Fallocate { fd, size } => self.fallocate(cx, task, number(fd), *size),
            Call::Mmap { fd, size } => self.mmap(cx, task, number(fd), *size),
            Call::Readdir { fd } => self.readdir(cx, task, number(fd)),
            Call::Close { fd } => self.close(cx, task, number(fd)),
            Call::Dup { fd } => self.dup(cx, task, number(fd)),
            Call::Dup2 { fd, to } => self.dup2(cx, task, number(fd), number(to)),
            Call::PidfdGetfd { task: owner, fd } => self.pidfd_getfd(cx, task, *owner, number(fd)),
            Call::Socket => self.socket(cx, task),
            Call::SendFd { socket, fd } => self.send_fd(cx, task, number(socket), number(fd)),
            Call::RecvFd { socket } => self.recv_fd(cx, task, number(socket)),
            Call::Select { fd } => self.select(cx, task, number(fd)),
            Call::Poll { fd } => self.poll(cx, task, number(fd)),
            Call::Epoll { fd } => self.epoll(cx, task, number(fd)),
            Call::Fionread { fd } => self.fionread(cx, task, number(fd)),
            Call::GetFl { fd } => self.getfl(cx, task, number(fd)),
            Call::SetFl { fd, flags } => self.setfl(cx, task, number(fd), *flags),
            Call::GetFd { fd } => {
                let entry = self.task(task).fds.get(&number(fd)).copied();
                let rule = self.rule_of_flags(entry.map(|entry| entry.file));
                // Fds come into spawned tasks by pidfd_getfd(2), which sets close-on-exec.
                let handed_over = self.task(task).life == Life::OneCall;
                let allowed = match entry {
                    Some(_) if handed_over => vec![Allowed::Value(0), Allowed::Value(1)],
                    Some(entry) => vec![Allowed::Value(entry.cloexec.into())],
                    None => vec![Allowed::Errno(Errno::EBADF)],
                };
                self.finish(cx, task, rule, &allowed)
            }
            Call::SetFd { fd, flags } => {
                let fd = number(fd);
                let allowed = match self.task_mut(task).fds.get_mut(&fd) {
                    Some(entry) => {
                        entry.cloexec = flags.contains(FdFlags::CLOEXEC);
                        Allowed::Value(0)
                    }
                    None => Allowed::Errno(Errno::EBADF),
                };
                self.finish(cx, task, MAINLINE, &[allowed])
            }
            Call::Readlink { fd } => self.readlink(cx, task, number(fd)),
            Call::Fdinfo { fd } => self.fdinfo(cx, task, number(fd)),
            Call::Reopen { fd, flags } => self.reopen(cx, task, number(fd), *flags),
            Call::Open { path, flags } => {
                self.set_rule(task, A1);
                self.open(cx, task, lookup::opened(*path, *flags), *flags)
            }
            Call::Exec { path } => {
                self.set_rule(task, A1);
                self.exec(cx, task, lookup::executed(*path))
            }
            Call::UnshareUser => {
                // Whoever is in a namespace in which its user has no number can make no further one,
                // and not every kernel lets others than root make one.
                let inside = self.task(task).has_user_namespace;
                let refused = (inside || self.task(task).uid != 0).then_some(Errno::EPERM);
                // It is entered by an fd.
                let full = self.fds_left(task) == Some(0);
                let allowed: Vec<Allowed> = match (inside, full) {
                    (true, _) => None,
                    (false, true) => Some(Allowed::Errno(Errno::EMFILE)),
                    (false, false) => Some(Allowed::Value(0)),
                }
                .into_iter()
                .chain(refused.map(Allowed::Errno))
                .collect();
                let back = cx.returns(self, task, MAINLINE, &allowed)?;
                self.task_mut(task).has_user_namespace |= back.value == 0;
                self.leave(cx, task)
            }
            Call::FailNth { .. } => self.finish(cx, task, MAINLINE, &[Allowed::Value(0)]),
            Call::Setuid { .. } if self.task(task).has_user_namespace => {
                self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EINVAL)])
            }
            Call::Setuid { uid } => {
                let allowed = match self.task(task).uid {
                    own if own == 0 || own == *uid => {
                        self.task_mut(task).uid = *uid;
                        Allowed::Value(0)
                    }
                    _ => Allowed::Errno(Errno::EPERM),
                };
                self.finish(cx, task, MAINLINE, &[allowed])
            }
            Call::Sysctl { name, value } => self.sysctl(cx, task, *name, *value),
            Call::RlimitNofile { more } => {
                let fds = &self.task(task).fds;
                let limit = (0..).filter(|fd| !fds.contains_key(fd)).nth(usize::from(*more));
                // Nobody may raise a hard limit but root.
                let raises = self.task(task).fd_limit < limit && self.task(task).fd_limit.is_some();
                let allowed = if raises && !self.is_admin(task) {
                    Allowed::Errno(Errno::EPERM)
                } else {
                    self.task_mut(task).fd_limit = limit;
                    Allowed::Value(0)
                };
                self.finish(cx, task, MAINLINE, &[allowed])
            }
            Call::Fork => {
                if let Some(Bind::Task(child)) = cx.program.steps.get(step).map(|step| &step.bind) {
                    self.fork(cx, task, *child)?;
                }
                self.finish(cx, task, MAINLINE, &[Allowed::Value(0)])
            }
            Call::Exit => {
                // The call returns in the task's end, if at all.
                self.matched.insert(step);
                self.task_mut(task).life = Life::OneCall;
                self.leave(cx, task)
            }
            Call::Kill { task: victim } => {
                let ended = self.task(*victim).life == Life::Ended;
                let mut allowed = vec![Allowed::Value(0)];
                if ended {
                    allowed.push(Allowed::Errno(Errno::ESRCH));
                }
                if !self.is_admin(task) {
                    // It is a matter of both users (kill_ok_by_cred in kernel/signal.c).
                    allowed.push(Allowed::Errno(Errno::EPERM));
                }
                let back = cx.returns(self, task, MAINLINE, &allowed)?;
                if back.value == 0 && !ended {
                    self.task_mut(*victim).killed = true;
                }
                self.leave(cx, task)
            }
            Call::Signal { task: to, restart } => self.signal(cx, task, *to, *restart),
            Call::Spawn { .. } | Call::Await { .. } | Call::Sleep { .. } | Call::KernelLog => {
                self.task_mut(task).call = None;
                Ok(())
            }
        }
    }

    /// Notes how the task's call would return.
    pub(crate) fn foresee(&self, cx: &Context<'_>, task: Task, value: i64, data: Seen) {
        if let Some(step) = self.step_of(task) {
            cx.foresee(step, value, data);
        }
    }

    /// The task's call is over.
    pub(crate) fn leave(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        if self.task(task).life == Life::OneCall {
            return self.exit(cx, task);
        }
        let of = self.task_mut(task);
        (of.call, of.signaled) = (None, false);
        Ok(())
    }

    /// A task is killed, and it is waited until it is gone.
    pub(crate) fn kill(&mut self, cx: &mut Context<'_>, victim: Task) -> Result<(), Stop> {
        // Killing and reaping is the executor's; when the victim is gone, it says so.
        self.matched.insert(cx.step);
        if let Some(At::Position { .. }) = self.task(victim).call.as_ref().map(|call| &call.at) {
            return Err(Stop::Unjudgeable(format!(
                "{} is killed while it waits for a file's position, unkillably",
                cx.name(victim)
            )));
        }
        if let Some(Running { rule, at: At::Closing { then, .. }, .. }) =
            &mut self.task_mut(victim).call
        {
            // It dies when it has closed.
            *rule = S1;
            *then = Closed::Exit;
            self.task_mut(victim).life = Life::Ended;
            return Ok(());
        }
        self.die(cx, victim)
    }

    /// `a = spawn CALL`: the task is made, with the fds that the call names.
    pub(crate) fn make(
        &mut self,
        cx: &Context<'_>,
        spawner: Task,
        child: Task,
        call: &Call,
    ) -> Result<(), Stop> {
        self.start(cx, child, Life::OneCall)?;
        self.task_mut(child).uid = self.task(spawner).uid;
        self.task_mut(child).has_user_namespace = self.task(spawner).has_user_namespace;
        let numbers: BTreeSet<i32> = call.own_fds().map(|fd| self.number(fd)).collect();
        for number in numbers {
            if let Some(entry) = self.task(spawner).fds.get(&number).copied() {
                self.install(child, number, entry.file, entry.cloexec);
            }
        }
        Ok(())
    }

    fn fork(&mut self, cx: &Context<'_>, task: Task, child: Task) -> Result<(), Stop> {
        self.start(cx, child, Life::Lives)?;
        let parent = self.task(task).clone();
        self.task_mut(child).uid = parent.uid;
        self.task_mut(child).has_user_namespace = parent.has_user_namespace;
        self.task_mut(child).fd_limit = parent.fd_limit;
        for (number, entry) in parent.fds {
            self.install(child, number, entry.file, entry.cloexec);
        }
        Ok(())
    }

    fn start(&mut self, cx: &Context<'_>, child: Task, life: Life) -> Result<(), Stop> {
        if usize::from(child.0) >= self.tasks.len() || self.task(child).life != Life::NotMade {
            return Err(Stop::Unjudgeable("a task is made twice".to_owned()));
        }
        let Some((_, pid)) = cx.seen.started.iter().find(|(task, _)| *task == child) else {
            return Err(Stop::Unjudgeable(format!("{} was not seen to start", cx.name(child))));
        };
        self.task_mut(child).life = life;
        self.task_mut(child).pid = *pid;
        Ok(())
    }

    fn make_group(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        flags: InitFlags,
        event_flags: OpenFlags,
    ) -> Result<(), Stop> {
        let (rule, group, errors) = match self.init(cx.kernel, task, flags, event_flags) {
            Init::Only(rule, allowed) => return self.finish(cx, task, rule, &allowed),
            Init::Made(rule, group, errors) => (rule, group, errors),
        };
        let allowed: Vec<Allowed> = [Allowed::Fd].into_iter().chain(errors).collect();
        // A success or failure that is not allowed breaks I1, or I3 where limits decide.
        let full = cx.peek_of(self, task).is_some_and(|back| back.is(Errno::EMFILE));
        let refusal = match group.restartable {
            true if full => I3,
            true => I1,
            false => rule,
        };
        let back = cx.returns(self, task, refusal, &allowed)?;
        let audits = flags.contains(InitFlags::ENABLE_AUDIT);
        if let Some(errno) = Errno::from_return(back.value) {
            if audits && errno == Errno::EINVAL {
                self.audit = Some(false);
            }
            return self.leave(cx, task);
        }
        if audits {
            self.audit = Some(true);
        }
        let number = GroupNo(self.groups.len());
        let nonblock = if flags.contains(InitFlags::NONBLOCK) {
            OpenFlags::O_NONBLOCK
        } else {
            OpenFlags::empty()
        };
        let (kind, status) = if group.restartable {
            (FileKind::Control(number), OpenFlags::O_RDONLY)
        } else {
            (FileKind::Classic(number), OpenFlags::O_RDWR | nonblock)
        };
        self.groups.push(*group);
        let file = self.add_file(task, kind, status);
        self.install(task, back.value as i32, file, flags.contains(InitFlags::CLOEXEC));
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }

    /// The fd that the task's call returned gets its name.
    pub(crate) fn bind_fd(&mut self, cx: &Context<'_>, task: Task, fd: i32) {
        let step = self.task(task).call.as_ref().map_or(cx.step, |call| call.step);
        if let Some(Bind::Fd(var)) = cx.program.steps.get(step).map(|step| &step.bind)
            && let Some(value) = self.vars.get_mut(usize::from(var.0))
        {
            *value = fd;
        }
    }

    fn open_queue(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        rule: Rule,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let group = match self.file(task, fd).map(|(_, file)| &file.kind) {
            None | Some(FileKind::Handle(_)) => {
                return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
            }
            Some(FileKind::Control(group)) => *group,
            Some(FileKind::Classic(_) | FileKind::Queue(_)) => {
                return self.finish(cx, task, C2, &fail(Errno::ENOTTY));
            }
            Some(_) => return self.finish(cx, task, MAINLINE, &fail(Errno::ENOTTY)),
        };
        let full = self.fds_left(task) == Some(0);
        if self.group(group).queue.is_some() {
            let errors = [Errno::EBUSY, Errno::EMFILE].map(Allowed::Errno);
            return self.finish(cx, task, rule, &errors[..1 + usize::from(full)]);
        }
        if full {
            return self.finish(cx, task, rule, &fail(Errno::EMFILE));
        }
        let back = cx.returns(self, task, rule, &[Allowed::Fd])?;
        let flags = self.group(group).flags;
        let nonblock = if flags.contains(InitFlags::NONBLOCK) {
            OpenFlags::O_NONBLOCK
        } else {
            OpenFlags::empty()
        };
        let file = self.add_file(task, FileKind::Queue(group), OpenFlags::O_RDWR | nonblock);
        self.group_mut(group).queue = Some(file);
        self.install(task, back.value as i32, file, flags.contains(InitFlags::CLOEXEC));
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        buffer: Buffer,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some((number, file)) = self.file(task, fd) else {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        };
        match file.kind {
            FileKind::Control(_) => self.finish(cx, task, C1, &fail(Errno::EINVAL)),
            FileKind::Classic(group) | FileKind::Queue(group) => {
                self.take(cx, task, Reading::new(number, group, buffer))
            }
            FileKind::Pidfd => self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL)),
            FileKind::Socket => self.read_socket(cx, task, number, buffer),
            FileKind::File { .. } if file.readable() && buffer.missing => {
                Err(Stop::Unjudgeable("a read from a file that may sleep for a page".to_owned()))
            }
            FileKind::File { .. } if file.readable() => {
                self.set_rule(task, A1);
                self.transfer(cx, task, number, Direction::Read(buffer), true)
            }
            FileKind::File { .. } if self.position_is_held(number) => Err(refused_at_position()),
            FileKind::File { .. } | FileKind::Handle(_) => {
                self.finish(cx, task, MAINLINE, &fail(Errno::EBADF))
            }
        }
    }

    /// The rest of a reader's buffer is there from now on.
    fn page_in(&mut self, cx: &mut Context<'_>, task: Task, reader: Task) -> Result<(), Stop> {
        let Some(of) = self.tasks.get_mut(usize::from(reader.0)) else {
            return Err(Stop::Unjudgeable("a step names no task of the program".to_owned()));
        };
        let reading = match of.call.as_mut().map(|call| &mut call.at) {
            Some(At::Reading(reading) | At::Next(Next::Take(reading))) => Some(reading),
            Some(At::Next(Next::HandOver { reading, .. })) => Some(reading),
            Some(At::CopyingOut(transit)) => Some(&mut transit.reading),
            _ => None,
        };
        if let Some(reading) = reading {
            reading.good = reading.room;
            reading.missing = false;
        }
        // It takes two more fds while it lasts, and the right to look into others.
        let full = self.fds_left(task).is_some_and(|left| left < 2);
        if full || !self.is_admin(task) {
            return Err(Stop::Unjudgeable("whether the agent can let a page in".to_owned()));
        }
        self.finish(cx, task, MAINLINE, &[Allowed::Value(0)])
    }

    fn pread(&mut self, cx: &mut Context<'_>, task: Task, fd: i32, size: u32) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some((number, file)) = self.file(task, fd) else {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        };
        match file.kind {
            FileKind::Control(_) => self.finish(cx, task, C1, &fail(Errno::ESPIPE)),
            // No file of anon_inode_getfile() has FMODE_PREAD.
            FileKind::Pidfd => self.at_offset_of_pidfd(cx, task),
            FileKind::Classic(_) | FileKind::Queue(_) | FileKind::Socket => {
                self.finish(cx, task, MAINLINE, &fail(Errno::ESPIPE))
            }
            FileKind::File { .. } if file.readable() => {
                self.set_rule(task, A1);
                let read = Direction::Read(Buffer::whole(size));
                self.transfer(cx, task, number, read, false)
            }
            FileKind::File { .. } | FileKind::Handle(_) => {
                self.finish(cx, task, MAINLINE, &fail(Errno::EBADF))
            }
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        written: Written,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some((number, file)) = self.file(task, fd) else {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        };
        match file.kind {
            FileKind::Control(_) => self.finish(cx, task, C1, &fail(Errno::EBADF)),
            FileKind::Classic(group) | FileKind::Queue(group) => {
                self.respond(cx, task, group, written)
            }
            FileKind::File { path, .. }
                if (!file.writable() || path.kind == PathKind::Dir)
                    && self.position_is_held(number) =>
            {
                Err(refused_at_position())
            }
            // generic_read_dir() has no counterpart: a directory lacks FMODE_CAN_WRITE.
            FileKind::File { path, .. } if file.writable() && path.kind == PathKind::Dir => {
                self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL))
            }
            FileKind::File { .. } if file.writable() => {
                self.set_rule(task, A1);
                let write = Direction::Write { bytes: written.bytes(), good: written.good };
                self.transfer(cx, task, number, write, true)
            }
            FileKind::Pidfd => self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL)),
            FileKind::Socket => self.write_socket(cx, task, number, written.len, written.good),
            FileKind::File { .. } | FileKind::Handle(_) => {
                self.finish(cx, task, MAINLINE, &fail(Errno::EBADF))
            }
        }
    }

    /// `process_access_response` in fs/notify/fanotify/fanotify_user.c.
    fn respond(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        group: GroupNo,
        written: Written,
    ) -> Result<(), Stop> {
        let Written { event: fd, response, len, good } = written;
        let of = self.group(group);
        let rule = if of.restartable { Q6 } else { MAINLINE };
        if len >= RESPONSE_LEN && good < RESPONSE_LEN {
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
        }
        let decision = response & (Response::ALLOW | Response::DENY);
        let known = Response::ALLOW | Response::DENY | Response::AUDIT | Response::INFO;
        let errno = response.errno();
        const ERRNOS: [Errno; 7] = [
            Errno::EIO,
            Errno::EPERM,
            Errno::EBUSY,
            Errno::ETXTBSY,
            Errno::EAGAIN,
            Errno::ENOSPC,
            Errno::EDQUOT,
        ];
        let well_formed = len >= RESPONSE_LEN
            && (response.without_errno() - known).is_empty()
            && match (decision, errno) {
                (Response::ALLOW, errno) => errno.is_none(),
                (Response::DENY, None) => true,
                (Response::DENY, Some(errno)) => {
                    of.class == Class::PreContent && ERRNOS.contains(&errno)
                }
                _ => false,
            }
            && (!response.contains(Response::AUDIT) || of.flags.contains(InitFlags::ENABLE_AUDIT))
            && (!response.contains(Response::INFO) || len == RESPONSE_LEN + AuditRule::LEN);
        if well_formed && good < len {
            // The info record is fetched before the number is looked at.
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
        }
        let answers_nothing = response.contains(Response::INFO) && fd == refan_abi::NO_FD;
        if !well_formed || (fd < 0 && !answers_nothing) {
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EINVAL)]);
        }
        let written =
            RESPONSE_LEN + if response.contains(Response::INFO) { AuditRule::LEN } else { 0 };
        let written = Allowed::Value(written as i64);
        let down = of.restartable && of.down;
        if answers_nothing {
            // S2 makes every well-formed write ENOENT, this one never looked for an event.
            let allowed = [written, Allowed::Errno(Errno::ENOENT)];
            return self.finish(cx, task, rule, &allowed[..1 + usize::from(down)]);
        }
        // A group that has stopped may still have events that it has not allowed yet.
        let Some(at) = of.pending.iter().position(|pending| pending.fd == fd) else {
            let answers = cx.peek_of(self, task).is_some_and(|back| back.value >= 0);
            let rule = match rule {
                Q6 if down => S2,
                Q6 if answers && of.void_fds.contains(&fd) => R4,
                Q6 if answers && self.vars.contains(&fd) => R3,
                rule => rule,
            };
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::ENOENT)]);
        };
        let canceled = self.events.get(&of.pending[at].event).is_some_and(|event| event.canceled);
        let rule = if canceled && of.restartable { K3 } else { rule };
        cx.returns(self, task, rule, &[written])?;
        let of = self.group_mut(group);
        of.answers = Latest::by(R3);
        let event = of.pending.remove(at).event;
        let answer = match decision {
            Response::ALLOW => Answer::allow(rule),
            _ => Answer::deny(errno.unwrap_or(Errno::EPERM), rule),
        };
        self.answer(event, answer);
        self.leave(cx, task)
    }

    fn close(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let Some(entry) = self.task_mut(task).fds.remove(&fd) else {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
        };
        let rule = match self.files.get(&entry.file).map(|file| &file.kind) {
            Some(FileKind::Control(_)) => S1,
            _ => MAINLINE,
        };
        self.set_rule(task, rule);
        self.put(cx, task, entry.file, Closed::Return(0))
    }

    fn dup(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let Some(entry) = self.task(task).fds.get(&fd).copied() else {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
        };
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EMFILE)]);
        }
        let back = cx.returns(self, task, MAINLINE, &[Allowed::Fd])?;
        self.install(task, back.value as i32, entry.file, false);
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }

    /// `dup2(2)`: `ksys_dup3` and `do_dup2` in fs/file.c.
    fn dup2(&mut self, cx: &mut Context<'_>, task: Task, fd: i32, to: i32) -> Result<(), Stop> {
        let entry = self.task(task).fds.get(&fd).copied();
        let limit = self.task(task).fd_limit.unwrap_or(DEFAULT_FD_LIMIT);
        let entry = match entry {
            Some(entry) if fd == to || (0..limit).contains(&to) => entry,
            _ => return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]),
        };
        if fd == to {
            return self.closed(cx, task, Closed::Return(to.into()));
        }
        let replaced = self.task_mut(task).fds.remove(&to);
        self.install(task, to, entry.file, false);
        let then = Closed::Return(to.into());
        match replaced {
            Some(replaced) => {
                let kind = self.files.get(&replaced.file).map(|file| &file.kind);
                if matches!(kind, Some(FileKind::Control(_))) {
                    self.set_rule(task, S1);
                }
                self.put(cx, task, replaced.file, then)
            }
            None => self.closed(cx, task, then),
        }
    }

    /// `pidfd_open(2)`, `pidfd_getfd(2)` and the close of the pidfd.
    fn pidfd_getfd(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        owner: Task,
        fd: i32,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some(of) = self.tasks.get(usize::from(owner.0)) else {
            return Err(Stop::Unjudgeable("a step names no task of the program".to_owned()));
        };
        let entry = of.fds.get(&fd).copied();
        match of.life {
            Life::NotMade => return self.finish(cx, task, MAINLINE, &fail(Errno::ESRCH)),
            // One that is still in its exit has a pid, and no fds any more.
            Life::Ended => {
                let mut allowed = vec![Allowed::Errno(Errno::ESRCH)];
                if of.call.is_some() {
                    allowed.extend([Errno::EBADF, Errno::EMFILE].map(Allowed::Errno));
                }
                return self.finish(cx, task, MAINLINE, &allowed);
            }
            Life::Lives | Life::OneCall => {}
        }
        let left = self.fds_left(task);
        if left == Some(0) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
        }
        // Whoever is not root may not look into others (ptrace_may_access), and whether it is
        // another that it looks into is a matter of more than uids.
        let refused = (!self.is_admin(task)).then_some(Allowed::Errno(Errno::EPERM));
        // Its own pidfd has the lowest number.
        let is_pidfd = owner == task && fd == self.lowest_free(task);
        let outcome = match entry {
            None if !is_pidfd => Allowed::Errno(Errno::EBADF),
            _ if left == Some(1) => Allowed::Errno(Errno::EMFILE),
            _ => Allowed::Fd,
        };
        let allowed: Vec<Allowed> = [outcome].into_iter().chain(refused).collect();
        let back = cx.returns(self, task, MAINLINE, &allowed)?;
        if let Ok(number @ 0..) = i32::try_from(back.value) {
            let file = match entry {
                Some(entry) => entry.file,
                None => self.add_file(task, FileKind::Pidfd, OpenFlags::O_RDWR),
            };
            self.install(task, number, file, true);
            self.bind_fd(cx, task, number);
        }
        self.leave(cx, task)
    }

    /// `select(2)`: `do_select` and `core_sys_select` in fs/select.c.
    fn select(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let ready = |flags: PollFlags| Allowed::Value(flags.bits().into());
        let both = ready(PollFlags::IN.union(PollFlags::OUT));
        let (rule, allowed) = match self.file(task, fd).map(|(_, file)| &file.kind) {
            // The sets are cut off where the table of fds ends, which is at 64 or higher.
            None if (FD_TABLE..FD_SETSIZE).contains(&fd) => {
                let allowed = [Allowed::Errno(Errno::EBADF), Allowed::Value(0)];
                return self.finish(cx, task, MAINLINE, &allowed);
            }
            None | Some(FileKind::Handle(_)) => {
                return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
            }
            Some(_) if fd >= FD_SETSIZE => {
                return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
            }
            Some(FileKind::Control(_)) => (C1, both),
            Some(FileKind::File { .. }) => (MAINLINE, both),
            Some(FileKind::Pidfd | FileKind::Socket) => return self.any(cx, task),
            Some(FileKind::Queue(group) | FileKind::Classic(group)) => {
                let group = *group;
                self.group_mut(group).unordered = false;
                let of = self.group(group);
                if of.hears_of_others {
                    return self.any(cx, task);
                }
                let rule = match (of.restartable, of.down) {
                    (false, _) => MAINLINE,
                    (true, false) => self.rule_of_queue(group, Q5),
                    (true, true) => S2,
                };
                // A hang-up counts as something to read (POLLIN_SET).
                let readable = of.down || !of.unread.is_empty();
                (rule, ready(if readable { PollFlags::IN } else { PollFlags::empty() }))
            }
        };
        self.finish_poll(cx, task, rule, allowed)
    }

    fn poll(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        if self.task(task).fd_limit == Some(0) {
            // do_sys_poll() of fs/select.c: more entries than RLIMIT_NOFILE.
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EINVAL)]);
        }
        let ready = |flags: PollFlags| Allowed::Value(flags.bits().into());
        let (rule, allowed) = match self.file(task, fd).map(|(_, file)| &file.kind) {
            // poll(2) passes over negative numbers.
            None if fd < 0 => (MAINLINE, ready(PollFlags::empty())),
            None | Some(FileKind::Handle(_)) => (MAINLINE, ready(PollFlags::NVAL)),
            Some(FileKind::Control(_)) => (C1, ready(ALWAYS_READY)),
            Some(FileKind::File { .. }) => (MAINLINE, ready(ALWAYS_READY)),
            Some(FileKind::Pidfd | FileKind::Socket) => return self.any(cx, task),
            Some(FileKind::Queue(group) | FileKind::Classic(group)) => {
                let of = self.group(*group);
                if of.hears_of_others {
                    return self.any(cx, task);
                }
                let rule = if of.restartable { self.rule_of_queue(*group, Q5) } else { MAINLINE };
                if of.down {
                    return self.poll_of_the_dead(cx, task);
                }
                let group = *group;
                self.group_mut(group).unordered = false;
                let of = self.group(group);
                let flags = if of.unread.is_empty() { PollFlags::empty() } else { READABLE };
                (rule, ready(flags))
            }
        };
        self.finish_poll(cx, task, rule, allowed)
    }

    fn finish_poll(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        rule: Rule,
        allowed: Allowed,
    ) -> Result<(), Stop> {
        let Allowed::Value(flags) = allowed else { return Ok(()) };
        self.foresee(cx, task, flags, Seen::Nothing);
        let back = cx.returns(self, task, rule, &[Allowed::Any])?;
        if back.value != flags {
            return Err(cx.broken(rule, poll_text(flags), poll_text(back.value)));
        }
        self.leave(cx, task)
    }

    /// HUP without IN (S2); what else is reported is left open, but never OUT (Q5).
    fn poll_of_the_dead(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        self.foresee(cx, task, PollFlags::HUP.bits().into(), Seen::Nothing);
        let back = cx.returns(self, task, S2, &[Allowed::Any])?;
        let flags = PollFlags::from_bits_retain(back.value as u16);
        if !flags.contains(PollFlags::HUP) || flags.intersects(ALWAYS_READY) {
            return Err(cx.broken(S2, "HUP without IN", poll_text(back.value)));
        }
        self.leave(cx, task)
    }

    /// Any result, since the contract says nothing.
    fn any(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        self.finish(cx, task, MAINLINE, &[Allowed::Any])
    }

    fn epoll(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        // The instance itself needs an fd.
        let (rule, errno) = if self.fds_left(task) == Some(0) {
            (MAINLINE, Some(Errno::EMFILE))
        } else {
            match self.file(task, fd).map(|(_, file)| &file.kind) {
                // The number is that of the instance, which cannot be added to itself.
                None if fd == self.lowest_free(task) => (MAINLINE, Some(Errno::EINVAL)),
                None | Some(FileKind::Handle(_)) => (MAINLINE, Some(Errno::EBADF)),
                Some(FileKind::Control(_)) => (C1, Some(Errno::EPERM)),
                Some(FileKind::File { .. }) => (MAINLINE, Some(Errno::EPERM)),
                Some(FileKind::Queue(_)) => (Q5, None),
                Some(FileKind::Classic(_) | FileKind::Pidfd | FileKind::Socket) => (MAINLINE, None),
            }
        };
        self.finish(cx, task, rule, &[errno.map_or(Allowed::Value(0), Allowed::Errno)])
    }

    fn fionread(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let fail = |rule, errno| (rule, Allowed::Errno(errno));
        let (rule, allowed) = match self.file(task, fd).map(|(_, file)| &file.kind) {
            None | Some(FileKind::Handle(_)) => fail(MAINLINE, Errno::EBADF),
            Some(FileKind::Control(_)) => fail(C2, Errno::ENOTTY),
            Some(FileKind::Pidfd) => fail(MAINLINE, Errno::ENOTTY),
            // unix_inq_len() of net/unix/af_unix.c: the bytes of the next message.
            Some(FileKind::Socket) => (MAINLINE, Allowed::Value(self.next_message(task, fd))),
            Some(FileKind::File { path, .. }) if path.kind == PathKind::Dir => {
                fail(MAINLINE, Errno::ENOTTY)
            }
            Some(FileKind::File { path, pos, .. }) => match self.contents(path.inode()) {
                None => (MAINLINE, Allowed::Any),
                // file_ioctl() of fs/ioctl.c puts the difference into an int.
                Some(bytes) => (MAINLINE, Allowed::Value(bytes.len() as i64 - *pos as i64)),
            },
            Some(FileKind::Queue(group) | FileKind::Classic(group)) => {
                let of = self.group(*group);
                let bytes = self.unread_bytes(*group) as i64;
                let lacks = cx.peek_of(self, task).is_some_and(|back| back.value < bytes);
                let rule = match (of.restartable, of.down) {
                    (false, _) => MAINLINE,
                    (true, true) => S2,
                    (true, false) if lacks => self.rule_of_lack(*group, Q5),
                    (true, false) => self.rule_of_queue(*group, Q5),
                };
                if of.hears_of_others {
                    (rule, Allowed::Any)
                } else {
                    let group = *group;
                    let bytes = if of.down { 0 } else { self.unread_bytes(group) };
                    self.group_mut(group).unordered = false;
                    (rule, Allowed::Value(bytes as i64))
                }
            }
        };
        let of = self.file(task, fd).and_then(|(_, file)| file.group());
        self.finish(cx, task, rule, &[allowed])?;
        if let Some(group) = of {
            self.group_mut(group).is_confirmed();
        }
        Ok(())
    }

    fn rule_of_flags(&self, file: Option<FileNo>) -> Rule {
        match file.and_then(|file| self.files.get(&file)).map(|file| &file.kind) {
            Some(FileKind::Control(_)) => crate::rules::CONTROL_FLAGS,
            Some(FileKind::Queue(_)) => Q1,
            _ => MAINLINE,
        }
    }

    fn getfl(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let Some((number, file)) = self.file(task, fd) else {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
        };
        let rule = self.rule_of_flags(Some(number));
        let expected = file.status.bits() & SHOWN.bits();
        self.foresee(cx, task, expected.into(), Seen::Nothing);
        let back = cx.returns(self, task, rule, &[Allowed::Any])?;
        if u32::try_from(back.value).ok().map(|flags| flags & SHOWN.bits()) != Some(expected) {
            return Err(cx.broken(rule, flags_text(expected), flags_text(back.value as u32)));
        }
        self.leave(cx, task)
    }

    fn setfl(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some((number, file)) = self.file(task, fd).map(|(number, file)| (number, file.clone()))
        else {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        };
        if matches!(file.kind, FileKind::Handle(_)) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        }
        let rule = self.rule_of_flags(Some(number));
        // Only the owner may, who is root but of sockets.
        let adds_noatime = (flags - file.status).contains(OpenFlags::O_NOATIME);
        if self.task(task).uid != 0 && adds_noatime {
            let allowed = [Allowed::Errno(Errno::EPERM), Allowed::Value(0)];
            let may_own = file.kind == FileKind::Socket;
            let back = cx.returns(self, task, rule, &allowed[..1 + usize::from(may_own)])?;
            if back.value < 0 {
                return self.leave(cx, task);
            }
        }
        let takes_direct =
            matches!(file.kind, FileKind::File { path, .. } if path.kind != PathKind::Dir);
        if flags.contains(DIRECT) && !takes_direct {
            // FMODE_CAN_ODIRECT
            return self.finish(cx, task, rule, &fail(Errno::EINVAL));
        }
        if let Some(file) = self.files.get_mut(&number) {
            file.status = (flags & SETTABLE) | (file.status - SETTABLE);
        }
        self.finish(cx, task, rule, &[Allowed::Value(0)])
    }

    fn readlink(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let (rule, name) = match self.file(task, fd).map(|(_, file)| &file.kind) {
            None => {
                let allowed = [Allowed::Errno(Errno::ENOENT)];
                return self.finish(cx, task, MAINLINE, &allowed);
            }
            Some(FileKind::Pidfd | FileKind::Socket) => return self.any(cx, task),
            Some(FileKind::Control(_)) => (C4, GROUP_NAME.to_owned()),
            Some(FileKind::Classic(_)) => (MAINLINE, GROUP_NAME.to_owned()),
            Some(FileKind::Queue(_)) => (Q3, QUEUE_NAME.to_owned()),
            Some(FileKind::File { path, .. } | FileKind::Handle(Target::Path(path))) => {
                (MAINLINE, path.location())
            }
            Some(FileKind::Handle(Target::Group(SOCKET_NAME) | Target::Link)) => {
                return self.any(cx, task);
            }
            Some(FileKind::Handle(Target::Group(name))) => (C6, (*name).to_owned()),
        };
        self.foresee(cx, task, name.len() as i64, Seen::Text(name.clone()));
        let back = cx.returns(self, task, rule, &[Allowed::Any])?;
        let text = match &back.data {
            Seen::Text(text) => text.as_str(),
            _ => "",
        };
        if text != name || back.value != text.len() as i64 {
            return Err(cx.broken(rule, name, format!("{text:?}")));
        }
        self.leave(cx, task)
    }

    /// `open(2)` of `/proc/self/fd/N`.
    fn reopen(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let target = match self.file(task, fd).map(|(_, file)| &file.kind) {
            None if contradicts_itself(flags) => {
                return self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL));
            }
            None if self.fds_left(task) == Some(0) => {
                return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
            }
            None => return self.finish(cx, task, MAINLINE, &fail(Errno::ENOENT)),
            Some(_) if !lookup::follows(flags) => Target::Link,
            Some(FileKind::Pidfd) => {
                return Err(Stop::Unjudgeable("a pidfd is opened anew".to_owned()));
            }
            Some(FileKind::Socket) => Target::Group(SOCKET_NAME),
            Some(&FileKind::File { path, .. }) => Target::Path(path),
            Some(FileKind::Control(_) | FileKind::Classic(_)) => Target::Group(GROUP_NAME),
            Some(FileKind::Queue(_)) => Target::Group(QUEUE_NAME),
            Some(FileKind::Handle(target)) => *target,
        };
        match target {
            Target::Path(path) => {
                self.set_rule(task, A1);
                self.open(cx, task, path, flags)
            }
            Target::Group(name) => self.reopen_group(cx, task, name, flags),
            Target::Link => self.open_link(cx, task, target, flags),
        }
    }

    /// The symbolic link itself is opened: `do_open` and `may_open` of fs/namei.c.
    pub(crate) fn open_link(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        link: Target,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        let handle = flags.contains(OpenFlags::O_PATH);
        let errno = if contradicts_itself(flags) {
            Errno::EINVAL
        } else if self.fds_left(task) == Some(0) {
            Errno::EMFILE
        } else if lookup::is_exclusive(flags) {
            Errno::EEXIST
        } else if flags.contains(OpenFlags::O_DIRECTORY) {
            Errno::ENOTDIR
        } else if handle {
            return self.open_handle(cx, task, link, flags);
        } else {
            Errno::ELOOP
        };
        self.finish(cx, task, MAINLINE, &[Allowed::Errno(errno)])
    }

    /// `no_open` of fs/inode.c is what the inode behind a group's files is opened with.
    fn reopen_group(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        name: &'static str,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        let fail = |errno| Allowed::Errno(errno);
        let handle = flags.contains(OpenFlags::O_PATH);
        if contradicts_itself(flags) {
            return self.finish(cx, task, MAINLINE, &[fail(Errno::EINVAL)]);
        }
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &[fail(Errno::EMFILE)]);
        }
        if flags.contains(OpenFlags::O_DIRECTORY) {
            return self.finish(cx, task, MAINLINE, &[fail(Errno::ENOTDIR)]);
        }
        if handle {
            return self.open_handle(cx, task, Target::Group(name), flags);
        }
        let refused = (self.task(task).uid != 0).then_some(fail(Errno::EACCES));
        let allowed: Vec<Allowed> = [fail(Errno::ENXIO)].into_iter().chain(refused).collect();
        self.finish(cx, task, C6, &allowed)
    }

    fn sysctl(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        name: Sysctl,
        value: u32,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
        }
        // Who is root by number may write it, in any user namespace (test_perm in
        // fs/proc/proc_sysctl.c).
        if self.task(task).uid != 0 {
            let errors = [Errno::EACCES, Errno::EPERM].map(Allowed::Errno);
            return self.finish(cx, task, MAINLINE, &errors);
        }
        if value > SYSCTL_MAX {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL));
        }
        match name {
            Sysctl::MaxQueuedEvents => self.limits.queued_events = Some(value),
            Sysctl::MaxUserGroups => self.limits.groups = value,
            Sysctl::MaxUserMarks => self.limits.marks = Some(value),
            Sysctl::WatchdogTimeout => self.limits.watchdog = value,
        }
        self.finish(cx, task, MAINLINE, &[Allowed::Value(0)])
    }
}

fn poll_text(value: i64) -> String {
    match u16::try_from(value) {
        Ok(0) => "nothing ready".to_owned(),
        Ok(bits) => {
            let flags = PollFlags::from_bits_retain(bits);
            let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
            names.join(" | ")
        }
        Err(_) => returned(value),
    }
}

fn flags_text(bits: u32) -> String {
    let flags = OpenFlags::from_bits_retain(bits);
    let mut names: Vec<String> = flags
        .iter_names()
        .filter(|(_, flag)| !flag.is_empty())
        .map(|(name, _)| name.to_owned())
        .collect();
    if (flags & OpenFlags::ACCMODE).is_empty() {
        names.insert(0, "O_RDONLY".to_owned());
    }
    names.join(" | ")
}

/// The mode of an open file is looked at only once its position is had (`ksys_write` in
/// fs/read_write.c).
fn refused_at_position() -> Stop {
    Stop::Unjudgeable("a transfer that its file refuses waits for the file's position".to_owned())
}

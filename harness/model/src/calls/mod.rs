//! What each call of a program does.

mod descriptors;
mod groups;
mod links;
mod poll;
mod reads;
mod respond;
mod status_flags;

use std::collections::BTreeSet;

use refan_abi::{Errno, FdFlags};
use refan_program::{Bind, Call, Fd, Sysctl, Task};

use self::respond::Written;
use crate::context::Context;
use crate::rules::{A1, C5, F2, M1, MAINLINE, Q2, S1};
use crate::state::{At, Buffer, Closed, Life, Running, State};
use crate::violation::Allowed;
use crate::{Seen, Stop, lookup};

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
            // So does the call of a task that kills itself, and its exit can be as long.
            Call::Kill { task: victim }
                if *victim == task && cx.peek(step).is_none_or(|back| back.value == 0) =>
            {
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

/// The mode of an open file is looked at only once its position is had (`ksys_write` in
/// fs/read_write.c).
fn refused_at_position() -> Stop {
    Stop::Unjudgeable("a transfer that its file refuses waits for the file's position".to_owned())
}

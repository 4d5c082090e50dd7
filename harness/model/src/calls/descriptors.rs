//! How descriptors are made, moved and closed.

use refan_abi::{Errno, OpenFlags};
use refan_program::{Bind, Task};

use crate::Stop;
use crate::context::Context;
use crate::rules::{MAINLINE, S1};
use crate::state::{Closed, FileKind, Life, State};
use crate::violation::Allowed;

/// `INR_OPEN_CUR`: the limit that a task starts with.
const DEFAULT_FD_LIMIT: i32 = 1024;

impl State {
    /// The fd that the task's call returned gets its name. A task that is killed may have come so far before its
    /// trace tells that the call has returned.
    pub(crate) fn bind_fd(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) {
        let step = self.task(task).call.as_ref().map_or(cx.step, |call| call.step);
        let is_named = cx.open_ended || cx.peek(step).is_some() || cx.choose(2) == 1;
        if is_named
            && let Some(Bind::Fd(var)) = cx.program.steps.get(step).map(|step| &step.bind)
            && let Some(value) = self.vars.get_mut(usize::from(var.0))
        {
            *value = fd;
        }
    }

    pub(super) fn close(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
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

    pub(super) fn dup(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
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
    pub(super) fn dup2(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        to: i32,
    ) -> Result<(), Stop> {
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
    pub(super) fn pidfd_getfd(
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
}

//! What is ready: select, poll, epoll and FIONREAD.

use refan_abi::{Errno, PollFlags};
use refan_program::{PathKind, Rule, Task};

use crate::context::Context;
use crate::rules::{C1, C2, MAINLINE, Q5, S2};
use crate::state::{FileKind, State};
use crate::violation::{Allowed, returned};
use crate::{Seen, Stop};

/// What poll is asked for and can report: `IN | PRI | OUT | RDNORM | WRNORM | RDHUP`, `HUP`.
const ALWAYS_READY: PollFlags =
    PollFlags::IN.union(PollFlags::OUT).union(PollFlags::RDNORM).union(PollFlags::WRNORM);

const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDNORM);

/// How many fds `select(2)` can name, and how many the smallest table has (`BITS_PER_LONG`).
const FD_SETSIZE: i32 = 1024;

const FD_TABLE: i32 = 64;

impl State {
    /// `select(2)`: `do_select` and `core_sys_select` in fs/select.c.
    pub(super) fn select(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let ready = |flags: PollFlags| Allowed::Value(flags.bits().into());
        let both = ready(PollFlags::IN.union(PollFlags::OUT));
        let (rule, allowed) = match self.file(task, fd).map(|(_, file)| &file.kind) {
            // The sets are cut off where the table of fds ends, which is at 64 or higher.
            None if (FD_TABLE..FD_SETSIZE).contains(&fd) => {
                let allowed = [Allowed::Errno(Errno::EBADF), Allowed::Value(0)];
                return self.finish(cx, task, MAINLINE, &allowed);
            }
            None => return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]),
            Some(_) if fd >= FD_SETSIZE => {
                return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
            }
            // It is open, and no file to be asked: that is in each of the sets (POLLNVAL in POLLIN_SET and others).
            Some(FileKind::Handle(_)) => {
                let all = PollFlags::IN.union(PollFlags::PRI).union(PollFlags::OUT);
                return self.finish(cx, task, MAINLINE, &[ready(all)]);
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

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
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
    pub(super) fn any(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        self.finish(cx, task, MAINLINE, &[Allowed::Any])
    }

    pub(super) fn epoll(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
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

    pub(super) fn fionread(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
    ) -> Result<(), Stop> {
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

//! Descriptors by their names in /proc.

use refan_abi::{Errno, OpenFlags};
use refan_program::Task;

use crate::access::contradicts_itself;
use crate::context::Context;
use crate::rules::{A1, C4, C6, MAINLINE, Q3};
use crate::state::{FileKind, State, Target};
use crate::violation::Allowed;
use crate::{Seen, Stop, lookup};

/// What `/proc/self/fd` calls a group's file, and a queue file.
const GROUP_NAME: &str = "anon_inode:[fanotify]";

const QUEUE_NAME: &str = "anon_inode:[fanotify-queue]";

/// The same of sockets, up to what tells one from another.
const SOCKET_NAME: &str = "socket:[";

impl State {
    pub(super) fn readlink(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
    ) -> Result<(), Stop> {
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
    pub(super) fn reopen(
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
}

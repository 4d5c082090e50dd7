//! Calls on files beside open, read and write.

use refan_abi::{Errno, EventMask};
use refan_program::{Path, PathKind, Task};

use super::Then;
use super::transfer::{Direction, unknown_of_pidfds, whole_pages};
use crate::Stop;
use crate::context::Context;
use crate::rules::{A1, MAINLINE};
use crate::state::{FileKind, FileNo, Next, State};
use crate::violation::Allowed;

impl State {
    /// `truncate(2)`: `vfs_truncate` in fs/open.c.
    pub(crate) fn truncate(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        path: Path,
        size: u32,
    ) -> Result<(), Stop> {
        if path.kind == PathKind::Dir {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EISDIR)]);
        }
        if self.is_refused(cx, task) {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EACCES)]);
        }
        let range = whole_pages(size.into(), 0);
        let then = Then::Truncated { path, size, begun: false };
        let mask = EventMask::PRE_ACCESS;
        self.goes_on(cx, task, Next::Raise { mask, path, range: Some(range), then })
    }

    /// The file has this length from now on, of which the kernel tells the inode and not the mount
    /// (`notify_change` in fs/attr.c).
    pub(super) fn set_length(&mut self, path: Path, size: u32) -> Result<(), Stop> {
        let Some(mut contents) = self.contents(path.inode()) else {
            return Err(Stop::Unjudgeable(format!("{path} is written to")));
        };
        contents.resize(size as usize, 0);
        self.written.insert(path.inode(), contents);
        self.modified(path, false);
        Ok(())
    }

    /// Whether a user who is not root was refused by the modes of the files, which are not the
    /// model's matter. No daemon denies with this error.
    pub(super) fn is_refused(&self, cx: &Context<'_>, task: Task) -> bool {
        self.task(task).uid != 0
            && cx.peek_of(self, task).is_some_and(|back| back.is(Errno::EACCES))
    }

    /// `ftruncate(2)`: `do_ftruncate` in fs/open.c.
    pub(crate) fn ftruncate(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        size: u32,
    ) -> Result<(), Stop> {
        let (file, errno) = match self.file(task, fd) {
            None => (None, Errno::EBADF),
            Some((number, file)) => match file.kind {
                FileKind::Pidfd => return Err(unknown_of_pidfds()),
                FileKind::File { path, .. } if path.kind == PathKind::Dir => (None, Errno::EINVAL),
                FileKind::File { .. } if file.writable() => (Some(number), Errno::EINVAL),
                FileKind::Handle(_) => (None, Errno::EBADF),
                _ => (None, Errno::EINVAL),
            },
        };
        self.use_file(cx, task, file, errno, Direction::Truncate { size })
    }

    /// `fallocate(2)` of mode 0: `vfs_fallocate` in fs/open.c.
    pub(crate) fn fallocate(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        size: u32,
    ) -> Result<(), Stop> {
        let (file, errno) = match self.file(task, fd) {
            None => (None, Errno::EBADF),
            Some((number, file)) => match file.kind {
                FileKind::Pidfd => return Err(unknown_of_pidfds()),
                FileKind::Handle(_) => (None, Errno::EBADF),
                _ if size == 0 => (None, Errno::EINVAL),
                _ if !file.writable() => (None, Errno::EBADF),
                FileKind::File { .. } => (Some(number), Errno::EBADF),
                _ => (None, Errno::ENODEV),
            },
        };
        self.use_file(cx, task, file, errno, Direction::Allocate { size })
    }

    /// `mmap(2)`, private and read-only, and a read of what it shows.
    pub(crate) fn mmap(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        size: u32,
    ) -> Result<(), Stop> {
        let (file, errno) = match self.file(task, fd) {
            None => (None, Errno::EBADF),
            Some((number, file)) => match file.kind {
                FileKind::Handle(_) => (None, Errno::EBADF),
                FileKind::File { .. } => (Some(number), Errno::EBADF),
                _ if size == 0 => (None, Errno::EINVAL),
                _ => (None, Errno::ENODEV),
            },
        };
        self.use_file(cx, task, file, errno, Direction::Map { size })
    }

    /// `getdents64(2)`: `iterate_dir` in fs/readdir.c.
    pub(crate) fn readdir(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
    ) -> Result<(), Stop> {
        let (file, errno) = match self.file(task, fd) {
            None => (None, Errno::EBADF),
            Some((number, file)) => match file.kind {
                FileKind::File { path, .. } if path.kind == PathKind::Dir => {
                    (Some(number), Errno::EBADF)
                }
                FileKind::File { .. } if self.position_is_held(number) => {
                    let why = "what is no directory is listed while it is read";
                    return Err(Stop::Unjudgeable(why.to_owned()));
                }
                FileKind::Handle(_) => (None, Errno::EBADF),
                _ => (None, Errno::ENOTDIR),
            },
        };
        self.use_file(cx, task, file, errno, Direction::List)
    }

    /// A file is used, or the call fails at once.
    pub(super) fn use_file(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        file: Option<FileNo>,
        errno: Errno,
        what: Direction,
    ) -> Result<(), Stop> {
        let Some(file) = file else {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(errno)]);
        };
        self.set_rule(task, A1);
        let at_position = matches!(what, Direction::List);
        self.transfer(cx, task, file, what, at_position)
    }
}

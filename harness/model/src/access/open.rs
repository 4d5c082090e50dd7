//! Opens and executions.

use refan_abi::{Errno, EventMask, OpenFlags};
use refan_program::{Inode, Path, PathKind, Rule, Task};

use super::Then;
use crate::Stop;
use crate::context::Context;
use crate::rules::{A1, MAINLINE};
use crate::state::{FileKind, Life, Next, Raises, State, Target};
use crate::violation::Allowed;

/// A file that is being opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    pub(super) path: Path,
    pub(super) flags: OpenFlags,
    pub(super) exec: bool,
    /// What marks wanted when it began.
    pub(super) wanted: EventMask,
    pub(super) raises: Raises,
}

/// Whether no file can be opened so: `build_open_flags` of fs/open.c, which drops all but three flags
/// beside `O_PATH`.
pub(crate) fn contradicts_itself(flags: OpenFlags) -> bool {
    let dir = flags.contains(OpenFlags::O_DIRECTORY);
    let writes = !(flags & OpenFlags::ACCMODE).is_empty();
    !flags.contains(OpenFlags::O_PATH)
        && ((dir && flags.contains(OpenFlags::O_CREAT))
            || (flags.contains(TMPFILE) && !(dir && writes)))
}

/// Whether files opened so count as writers: access mode 3 does not.
pub(crate) fn is_writing(flags: OpenFlags) -> bool {
    matches!(flags & OpenFlags::ACCMODE, OpenFlags::O_WRONLY | OpenFlags::O_RDWR)
}

/// `O_DIRECT`
pub(crate) const DIRECT: OpenFlags = OpenFlags::from_bits_retain(0o40000);

/// `__O_TMPFILE`
const TMPFILE: OpenFlags = OpenFlags::from_bits_retain(0o20000000);

/// `O_NOCTTY`
const NOCTTY: OpenFlags = OpenFlags::from_bits_retain(0o400);

/// `__O_SYNC`, which the kernel makes O_SYNC of.
const SYNC: OpenFlags = OpenFlags::from_bits_retain(0o4000000);

/// More kernel reads than an exec of a static program makes.
const EXEC_READS: u8 = 8;

impl Opening {
    /// Whether its execution keeps writers off: exe_file_deny_write_access() of include/linux/fs.h
    /// spares files that raise PRE_ACCESS, which those that raise everything are counted to.
    pub(super) fn denies_writers(&self) -> bool {
        !matches!(self.raises, Raises::PreAccess | Raises::All)
    }
}

impl State {
    /// `open(2)`
    pub(crate) fn open(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        path: Path,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        if path.kind == PathKind::Symlink {
            return self.open_link(cx, task, Target::Path(path), flags);
        }
        let is_dir = path.kind == PathKind::Dir;
        let handle = flags.contains(OpenFlags::O_PATH);
        let writes = !(flags & OpenFlags::ACCMODE).is_empty();
        let fail = |errno| [Allowed::Errno(errno)];
        if contradicts_itself(flags) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL));
        }
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
        }
        // do_open() and may_open() of fs/namei.c.
        let create = !handle && flags.contains(OpenFlags::O_CREAT);
        if !handle && flags.contains(TMPFILE) && is_dir {
            return Err(Stop::Unjudgeable("a file without a name is made".to_owned()));
        }
        let error = if create && flags.contains(OpenFlags::O_EXCL) {
            Some(Errno::EEXIST)
        } else if create && is_dir {
            Some(Errno::EISDIR)
        } else if flags.contains(OpenFlags::O_DIRECTORY) && !is_dir {
            Some(Errno::ENOTDIR)
        } else if !handle && is_dir && (writes || flags.contains(OpenFlags::O_TRUNC)) {
            Some(Errno::EISDIR)
        } else {
            None
        };
        if let Some(errno) = error {
            return self.finish(cx, task, MAINLINE, &fail(errno));
        }
        let changes = writes || flags.contains(OpenFlags::O_TRUNC);
        if !handle && changes && self.is_refused(cx, task) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EACCES));
        }
        // The files are root's.
        if !handle && flags.contains(OpenFlags::O_NOATIME) && self.task(task).uid != 0 {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EPERM));
        }
        if handle {
            return self.open_handle(cx, task, Target::Path(path), flags);
        }
        if is_writing(flags) && self.is_run(path.inode()) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::ETXTBSY));
        }
        self.ask_to_open(cx, task, path, flags, false)
    }

    /// An open with `O_PATH`, which raises nothing.
    pub(crate) fn open_handle(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        target: Target,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        let kept = OpenFlags::O_PATH | OpenFlags::O_DIRECTORY | OpenFlags::O_NOFOLLOW;
        let back = cx.returns(self, task, MAINLINE, &[Allowed::Fd])?;
        let file = self.add_file(task, FileKind::Handle(target), flags & kept);
        let fd = back.value as i32;
        self.install(task, fd, file, flags.contains(OpenFlags::O_CLOEXEC));
        self.bind_fd(cx, task, fd);
        self.leave(cx, task)
    }

    /// `execve(2)`
    pub(crate) fn exec(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        path: Path,
    ) -> Result<(), Stop> {
        if !matches!(path.kind, PathKind::Exec | PathKind::Waiter) {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EACCES)]);
        }
        self.ask_to_open(cx, task, path, OpenFlags::O_RDONLY, true)
    }

    /// `fsnotify_open_perm_and_set_mode` in fs/notify/fsnotify.c.
    fn ask_to_open(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        path: Path,
        flags: OpenFlags,
        exec: bool,
    ) -> Result<(), Stop> {
        let settled = self.wanted(path, false);
        let stale = self.wanted(path, true);
        let wanted = if settled != stale && cx.choose(2) == 1 { stale } else { settled };
        let raises = if wanted.contains(EventMask::ACCESS_PERM) {
            Raises::All
        } else if path.kind != PathKind::Dir && wanted.contains(EventMask::PRE_ACCESS) {
            Raises::PreAccess
        } else {
            Raises::NoPermission
        };
        let opening = Opening { path, flags, exec, wanted, raises };
        if exec && wanted.contains(EventMask::OPEN_EXEC_PERM) {
            let then = Then::OpenPerm(opening);
            let mask = EventMask::OPEN_EXEC_PERM;
            return self.goes_on(cx, task, Next::Raise { mask, path, range: None, then });
        }
        self.goes_on(cx, task, Next::After { then: Then::OpenPerm(opening), refusal: None })
    }

    /// An exec reads once more, or runs the program, which exits at once.
    pub(super) fn exec_read(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        opening: Opening,
        done: u8,
    ) -> Result<(), Stop> {
        let raises =
            opening.raises == Raises::All && self.is_asked(EventMask::ACCESS_PERM, opening.path);
        let more = raises && done < EXEC_READS && (done == 0 || cx.choose(2) == 1);
        if more {
            let path = opening.path;
            let then = Then::ExecRead(opening, done + 1);
            let mask = EventMask::ACCESS_PERM;
            return self.goes_on(cx, task, Next::Raise { mask, path, range: None, then });
        }
        let is_whole = self.is_executable(opening.path.inode())?;
        let rule = self.task(task).call.as_ref().map_or(A1, |call| call.rule);
        if !is_whole {
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::ENOEXEC)]);
        }
        if self.task(task).signaled {
            // The program has no handler (flush_signal_handlers in kernel/signal.c), and the signal
            // is still to be handled when it is about to run.
            return self.die(cx, task);
        }
        if opening.path.kind == PathKind::Waiter {
            if opening.denies_writers() {
                self.task_mut(task).runs = Some(opening.path.inode());
            }
            return self.goes_on(cx, task, Next::Exec);
        }
        self.task_mut(task).life = Life::OneCall;
        self.finish(cx, task, rule, &[Allowed::Value(0)])
    }

    /// Whether the file is the executable that it was at first, and not something of no format that
    /// the kernel knows (`load_elf_binary`, `load_script`).
    fn is_executable(&self, inode: Inode) -> Result<bool, Stop> {
        const ELF_HEADER_LEN: usize = 64;
        let (first, now) = (inode.contents().unwrap_or_default(), self.contents(inode));
        let now = now.unwrap_or_default();
        if now.starts_with(&first) {
            return Ok(true);
        }
        let is_elf = now.len() >= ELF_HEADER_LEN && now[..4] == first[..4];
        if is_elf || now.starts_with(b"#!") {
            let why = format!("{inode} is executed, which is a part of what it was");
            return Err(Stop::Unjudgeable(why));
        }
        Ok(false)
    }

    pub(super) fn opened(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        opening: Opening,
        rule: Rule,
    ) -> Result<(), Stop> {
        let Opening { path, flags, raises, .. } = opening;
        // do_dentry_open(), and handle_truncate() of fs/namei.c behind it.
        let error = if flags.contains(DIRECT) && path.kind == PathKind::Dir {
            Some(Errno::EINVAL)
        } else if flags.contains(OpenFlags::O_TRUNC) && self.is_run(path.inode()) {
            Some(Errno::ETXTBSY)
        } else {
            None
        };
        if let Some(errno) = error {
            return self.finish(cx, task, rule, &[Allowed::Errno(errno)]);
        }
        let back = cx.returns(self, task, rule, &[Allowed::Fd])?;
        if flags.contains(OpenFlags::O_TRUNC) {
            self.written.insert(path.inode(), Vec::new());
            self.modified(path, false);
        }
        let dropped = OpenFlags::O_CREAT
            | OpenFlags::O_EXCL
            | OpenFlags::O_TRUNC
            | OpenFlags::O_CLOEXEC
            | NOCTTY;
        let sync = if flags.contains(SYNC) { OpenFlags::O_DSYNC } else { OpenFlags::empty() };
        let status = (flags - dropped) | sync | OpenFlags::O_LARGEFILE;
        let file = self.add_file(task, FileKind::File { path, raises, pos: 0 }, status);
        let fd = back.value as i32;
        self.install(task, fd, file, flags.contains(OpenFlags::O_CLOEXEC));
        self.bind_fd(cx, task, fd);
        self.leave(cx, task)
    }
}

//! Accesses: which events an open, exec, read or write raises, and in what order (A1, A2).

use refan_abi::{Errno, EventMask, OpenFlags};
use refan_program::{Inode, Path, PathKind, Rule, Task};

use crate::context::Context;
use crate::rules::{A1, A2, F1, MAINLINE, Q8};
use crate::state::{At, Buffer, FileKind, FileNo, Life, Next, OpenFile, Raises, State, Target};
use crate::violation::Allowed;
use crate::{Seen, Stop};

/// What a call does when the events of its current stage are answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    /// `OPEN_PERM` follows `OPEN_EXEC_PERM`.
    OpenPerm(Opening),
    /// The file is opened.
    Opened(Opening),
    /// An exec has read from the file so many times.
    ExecRead(Opening, u8),
    /// `ACCESS_PERM` follows `PRE_ACCESS`.
    AccessPerm(Transfer),
    /// Bytes are read or written.
    Transferred(Transfer),
    /// A file that nobody need have open gets another length.
    Truncated { path: Path, size: u32 },
}

/// A file that is being opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opening {
    path: Path,
    flags: OpenFlags,
    exec: bool,
    /// What marks wanted when it began.
    wanted: EventMask,
    raises: Raises,
}

/// A read or write of a file that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub file: FileNo,
    path: Path,
    raises: Raises,
    what: Direction,
    /// It uses and moves the file's position, whose lock it holds (`fdget_pos` in fs/file.c).
    pub at_position: bool,
}

/// What is done with a file's contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Read(Buffer),
    /// So many of the bytes are memory.
    Write {
        bytes: Vec<u8>,
        good: usize,
    },
    /// Not bytes but the length changes: to this one.
    Truncate {
        size: u32,
    },
    /// To at least this one.
    Allocate {
        size: u32,
    },
    /// So many bytes are mapped, and then read through the mapping.
    Map {
        size: u32,
    },
    /// The entries of a directory are read.
    List,
}

fn unknown_of_pidfds() -> Stop {
    Stop::Unjudgeable("what a pidfd answers to that is not known".to_owned())
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

/// The range that `fsnotify_pre_content` reports: whole pages.
fn whole_pages(from: u64, count: u64) -> (u64, u64) {
    let start = from / PAGE * PAGE;
    (start, (from + count).div_ceil(PAGE) * PAGE - start)
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
const PAGE: u64 = 4096;

impl Then {
    /// The file that is accessed.
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::OpenPerm(opening) | Self::Opened(opening) | Self::ExecRead(opening, _) => {
                opening.path
            }
            Self::AccessPerm(transfer) | Self::Transferred(transfer) => transfer.path,
            Self::Truncated { path, .. } => *path,
        }
    }

    /// Whether others can tell that it was.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::OpenPerm(opening) | Self::Opened(opening) | Self::ExecRead(opening, _) => {
                is_writing(opening.flags) || opening.flags.contains(OpenFlags::O_TRUNC)
            }
            Self::AccessPerm(transfer) | Self::Transferred(transfer) => !matches!(
                transfer.what,
                Direction::Read(_) | Direction::Map { .. } | Direction::List
            ),
            Self::Truncated { .. } => true,
        }
    }

    /// The file whose position it moves.
    pub(crate) fn position(&self) -> Option<FileNo> {
        match self {
            Self::AccessPerm(transfer) | Self::Transferred(transfer) => {
                transfer.at_position.then_some(transfer.file)
            }
            Self::OpenPerm(_) | Self::Opened(_) | Self::ExecRead(..) | Self::Truncated { .. } => {
                None
            }
        }
    }
}

impl Opening {
    /// Whether its execution keeps writers off: exe_file_deny_write_access() of include/linux/fs.h
    /// spares files that raise PRE_ACCESS, which those that raise everything are counted to.
    fn denies_writers(&self) -> bool {
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
        if !handle
            && (writes || flags.intersects(OpenFlags::O_TRUNC | OpenFlags::O_NOATIME))
            && self.is_refused(cx, task)
        {
            let errors = [Errno::EACCES, Errno::EPERM].map(Allowed::Errno);
            return self.finish(cx, task, MAINLINE, &errors);
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

    /// A stage of an access is over: all events of it are allowed, or one was refused.
    pub(crate) fn after(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        then: Then,
        refusal: Option<Errno>,
    ) -> Result<(), Stop> {
        let rule = self.task(task).call.as_ref().map_or(A1, |call| call.rule);
        if let Some(errno) = refusal {
            let allowed = match then {
                // The first read fills bprm->buf, and its error is exec's. A later one reads
                // program headers, whose failure is that of a format (load_elf_binary).
                Then::ExecRead(_, nth) if nth > 1 => {
                    vec![Allowed::Errno(errno), Allowed::Errno(Errno::ENOEXEC)]
                }
                _ => vec![Allowed::Errno(errno)],
            };
            return self.finish(cx, task, rule, &allowed);
        }
        match then {
            Then::OpenPerm(opening) => {
                let path = opening.path;
                if opening.wanted.contains(EventMask::OPEN_PERM) {
                    let then = Then::Opened(opening);
                    let mask = EventMask::OPEN_PERM;
                    return self.goes_on(cx, task, Next::Raise { mask, path, range: None, then });
                }
                self.after(cx, task, Then::Opened(opening), None)
            }
            Then::Opened(opening) if opening.exec => {
                if opening.denies_writers() && self.has_writers(opening.path.inode()) {
                    let allowed = [Allowed::Errno(Errno::ETXTBSY)];
                    return self.finish(cx, task, rule, &allowed);
                }
                self.exec_read(cx, task, opening, 0)
            }
            Then::ExecRead(opening, nth) => self.exec_read(cx, task, opening, nth),
            Then::Opened(_) | Then::Transferred(_) | Then::Truncated { .. }
                if self.fails_here(cx, task) =>
            {
                self.finish(cx, task, F1, &[Allowed::Errno(Errno::ENOMEM)])
            }
            Then::Opened(opening) => self.opened(cx, task, opening, rule),
            Then::AccessPerm(transfer) => {
                let reads = matches!(transfer.what, Direction::Read(_) | Direction::List);
                if reads && transfer.raises == Raises::All {
                    let path = transfer.path;
                    let then = Then::Transferred(transfer);
                    let mask = EventMask::ACCESS_PERM;
                    return self.goes_on(cx, task, Next::Raise { mask, path, range: None, then });
                }
                self.transferred(cx, task, transfer, rule)
            }
            Then::Transferred(transfer) => self.transferred(cx, task, transfer, rule),
            Then::Truncated { path, .. } if self.is_run(path.inode()) => {
                self.finish(cx, task, rule, &[Allowed::Errno(Errno::ETXTBSY)])
            }
            Then::Truncated { path, size } => {
                self.set_length(path, size)?;
                self.finish(cx, task, rule, &[Allowed::Value(0)])
            }
        }
    }

    /// An exec reads once more, or runs the program, which exits at once.
    fn exec_read(
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

    fn opened(
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

    /// `pwrite(2)` at offset 0.
    pub(crate) fn pwrite(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        text: &str,
    ) -> Result<(), Stop> {
        let (file, errno) = match self.file(task, fd) {
            None => (None, Errno::EBADF),
            Some((number, file)) => match file.kind {
                // A directory has no FMODE_CAN_WRITE.
                FileKind::File { path, .. } if file.writable() && path.kind == PathKind::Dir => {
                    (None, Errno::EINVAL)
                }
                FileKind::File { .. } if file.writable() => (Some(number), Errno::EBADF),
                FileKind::File { .. } | FileKind::Handle(_) => (None, Errno::EBADF),
                FileKind::Pidfd => return self.at_offset_of_pidfd(cx, task),
                // No file of anon_inode_getfile() has FMODE_PWRITE.
                _ => (None, Errno::ESPIPE),
            },
        };
        let bytes = text.as_bytes().to_vec();
        let what = Direction::Write { good: bytes.len(), bytes };
        self.use_file(cx, task, file, errno, what)
    }

    /// A pidfd has an offset but cannot be read or written; before there was a pidfs it had none.
    pub(crate) fn at_offset_of_pidfd(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
    ) -> Result<(), Stop> {
        let errors = [Errno::EINVAL, Errno::ESPIPE].map(Allowed::Errno);
        self.finish(cx, task, MAINLINE, &errors)
    }

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
            let errors = [Errno::EACCES, Errno::EPERM].map(Allowed::Errno);
            return self.finish(cx, task, MAINLINE, &errors);
        }
        let (range, then) = (whole_pages(size.into(), 0), Then::Truncated { path, size });
        let mask = EventMask::PRE_ACCESS;
        self.goes_on(cx, task, Next::Raise { mask, path, range: Some(range), then })
    }

    /// The file has this length from now on, of which the kernel tells the inode and not the mount
    /// (`notify_change` in fs/attr.c).
    fn set_length(&mut self, path: Path, size: u32) -> Result<(), Stop> {
        let Some(mut contents) = self.contents(path.inode()) else {
            return Err(Stop::Unjudgeable(format!("{path} is written to")));
        };
        contents.resize(size as usize, 0);
        self.written.insert(path.inode(), contents);
        self.modified(path, false);
        Ok(())
    }

    /// Whether a user who is not root was refused by the modes of the files, which are not the
    /// model's matter.
    fn is_refused(&self, cx: &Context<'_>, task: Task) -> bool {
        let refused = [Errno::EACCES, Errno::EPERM].map(|errno| -i64::from(errno.0));
        self.task(task).uid != 0
            && cx.peek_of(self, task).is_some_and(|back| refused.contains(&back.value))
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
    fn use_file(
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

    /// A use of a file's contents. The caller has seen to the access mode.
    pub(crate) fn transfer(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        file: FileNo,
        what: Direction,
        at_position: bool,
    ) -> Result<(), Stop> {
        let Some(&FileKind::File { path, raises, .. }) =
            self.files.get(&file).map(|open| &open.kind)
        else {
            return Err(Stop::Unjudgeable("a transfer on what is no file".to_owned()));
        };
        let rule = match raises {
            Raises::Nothing => Some(Q8),
            Raises::NoPermission | Raises::PreAccess => Some(A2),
            Raises::All => None,
        };
        if let (Some(rule), Some(call)) = (rule, &mut self.task_mut(task).call) {
            call.rule = rule;
        }
        let transfer = Transfer { file, path, raises, what, at_position };
        if at_position && self.position_is_held(file) {
            let then = Box::new(Then::AccessPerm(transfer));
            self.sleeps(task, At::Position { file, then });
            return Ok(());
        }
        self.pre_access(cx, task, transfer)
    }

    /// Whether somebody has the file open for writing, or is about to: `do_dentry_open` counts a
    /// writer before it asks (`inode_is_open_for_write`).
    pub(crate) fn has_writers(&self, inode: Inode) -> bool {
        let open = self.files.values().any(|file| {
            matches!(file.kind, FileKind::File { path, .. } if path.inode() == inode)
                && file.writable()
        });
        open || self.openings().any(|opening| {
            opening.path.inode() == inode && !opening.exec && is_writing(opening.flags)
        })
    }

    /// Whether somebody writes to a file whose executor waits to be let through.
    pub(crate) fn keeps_off(&self, file: &OpenFile) -> bool {
        let FileKind::File { path, .. } = file.kind else { return false };
        file.writable()
            && self.openings().any(|opening| opening.exec && opening.path.inode() == path.inode())
    }

    fn openings(&self) -> impl Iterator<Item = &Opening> {
        self.stages().filter_map(|then| match then {
            Then::OpenPerm(opening) | Then::Opened(opening) => Some(opening),
            _ => None,
        })
    }

    /// What accesses that go on do when their events are answered.
    fn stages(&self) -> impl Iterator<Item = &Then> {
        self.tasks.iter().filter_map(|task| task.call.as_ref()?.at.then())
    }

    /// Whether a transfer that goes on holds the file's position.
    pub(crate) fn position_is_held(&self, file: FileNo) -> bool {
        self.stages().any(|then| {
            matches!(then, Then::AccessPerm(transfer) | Then::Transferred(transfer)
                if transfer.at_position && transfer.file == file)
        })
    }

    /// `fsnotify_file_area_perm` in include/linux/fsnotify.h.
    pub(crate) fn pre_access(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        transfer: Transfer,
    ) -> Result<(), Stop> {
        // A truncation asks whatever its file was opened for (fsnotify_truncate_perm).
        let asks = matches!(transfer.raises, Raises::PreAccess | Raises::All)
            || matches!(transfer.what, Direction::Truncate { .. });
        if !asks {
            let then = Then::AccessPerm(transfer);
            return self.goes_on(cx, task, Next::After { then, refusal: None });
        }
        let at = if transfer.at_position { self.position(transfer.file) } else { 0 };
        let area = match &transfer.what {
            Direction::Read(buffer) => Some((at, u64::from(buffer.size))),
            Direction::Write { bytes, .. } => Some((at, bytes.len() as u64)),
            Direction::Truncate { size } => Some((u64::from(*size), 0)),
            Direction::Allocate { size } | Direction::Map { size } => Some((0, u64::from(*size))),
            Direction::List => None,
        };
        let range = area.map(|(from, count)| whole_pages(from, count));
        let path = transfer.path;
        let then = Then::AccessPerm(transfer);
        self.goes_on(cx, task, Next::Raise { mask: EventMask::PRE_ACCESS, path, range, then })
    }

    fn position(&self, file: FileNo) -> u64 {
        match self.files.get(&file).map(|open| &open.kind) {
            Some(FileKind::File { pos, .. }) => *pos,
            _ => 0,
        }
    }

    fn transferred(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        transfer: Transfer,
        rule: Rule,
    ) -> Result<(), Stop> {
        let Transfer { file, path, what, at_position, raises } = transfer;
        let pos = if at_position { self.position(file) } else { 0 };
        let error = match what {
            Direction::List => None,
            Direction::Map { size: 0 } => Some(Errno::EINVAL),
            Direction::Map { .. } if !self.files.get(&file).is_some_and(OpenFile::readable) => {
                Some(Errno::EACCES)
            }
            Direction::Map { .. } if path.kind == PathKind::Dir => Some(Errno::ENODEV),
            _ => (path.kind == PathKind::Dir).then_some(Errno::EISDIR),
        };
        let direct = matches!(what, Direction::Read(_) | Direction::Write { .. })
            && self.files.get(&file).is_some_and(|open| open.status.contains(DIRECT));
        // What is not aligned the file system may refuse.
        let refused = direct
            && self.step_of(task).and_then(|step| cx.peek(step)).map(|back| back.value)
                == Some(-i64::from(Errno::EINVAL.0));
        let error = error.or((refused && path.kind == PathKind::Ext).then_some(Errno::EINVAL));
        if let Some(errno) = error {
            return self.finish(cx, task, rule, &[Allowed::Errno(errno)]);
        }
        let moved = match what {
            Direction::List => return self.finish(cx, task, rule, &[Allowed::Value(0)]),
            Direction::Truncate { size } => {
                self.set_length(path, size)?;
                return self.finish(cx, task, rule, &[Allowed::Value(0)]);
            }
            Direction::Allocate { size } => {
                let Some(mut contents) = self.contents(path.inode()) else {
                    return Err(Stop::Unjudgeable(format!("{path} is written to")));
                };
                if contents.len() < size as usize {
                    contents.resize(size as usize, 0);
                }
                self.written.insert(path.inode(), contents);
                // vfs_fallocate() tells of the file.
                if raises != Raises::Nothing {
                    self.modified(path, true);
                }
                return self.finish(cx, task, rule, &[Allowed::Value(0)]);
            }
            Direction::Read(Buffer { size, .. }) | Direction::Map { size } => {
                let good = match what {
                    Direction::Read(buffer) => buffer.good,
                    _ => size,
                };
                let expected = self.contents(path.inode()).map(|contents| {
                    let from = usize::try_from(pos).unwrap_or(usize::MAX).min(contents.len());
                    let to = from.saturating_add(size as usize).min(contents.len());
                    contents[from..to].to_vec()
                });
                if good < size {
                    match &expected {
                        None => {
                            let why = format!("how much of {path} is read into a part of a buffer");
                            return Err(Stop::Unjudgeable(why));
                        }
                        Some(bytes) if good == 0 && !bytes.is_empty() => {
                            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
                        }
                        Some(_) => {}
                    }
                }
                let expected = expected.map(|mut bytes| {
                    bytes.truncate(good as usize);
                    bytes
                });
                if let Some(bytes) = &expected {
                    self.foresee(cx, task, bytes.len() as i64, Seen::Bytes(bytes.clone()));
                }
                let allowed = match &expected {
                    Some(bytes) => Allowed::Value(bytes.len() as i64),
                    None => Allowed::Any,
                };
                let back = cx.returns(self, task, rule, &[allowed])?;
                let read: &[u8] = match &back.data {
                    Seen::Bytes(bytes) => bytes,
                    _ => &[],
                };
                if expected.is_some_and(|expected| expected != read) {
                    return Err(cx.broken(
                        rule,
                        format!("the bytes of {path}"),
                        format!("{:?}", String::from_utf8_lossy(read)),
                    ));
                }
                back.value
            }
            Direction::Write { mut bytes, good } => {
                if good == 0 && !bytes.is_empty() {
                    return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
                }
                bytes.truncate(good);
                let appends = self
                    .files
                    .get(&file)
                    .is_some_and(|open| open.status.contains(OpenFlags::O_APPEND));
                let Some(mut contents) = self.contents(path.inode()) else {
                    return Err(Stop::Unjudgeable(format!("{path} is written to")));
                };
                let pos = usize::try_from(pos).unwrap_or(usize::MAX);
                let from = if appends { contents.len() } else { pos };
                if contents.len() < from + bytes.len() {
                    contents.resize(from + bytes.len(), 0);
                }
                contents[from..from + bytes.len()].copy_from_slice(&bytes);
                self.written.insert(path.inode(), contents);
                // A write through an event fd raises nothing at all.
                if !bytes.is_empty() && raises != Raises::Nothing {
                    self.modified(path, true);
                }
                cx.returns(self, task, rule, &[Allowed::Value(bytes.len() as i64)])?.value
            }
        };
        if at_position
            && let Some(FileKind::File { pos, .. }) =
                self.files.get_mut(&file).map(|open| &mut open.kind)
        {
            *pos += u64::try_from(moved).unwrap_or(0);
        }
        self.leave(cx, task)
    }

    /// The call returns one of these results, and that is all it does.
    pub(crate) fn finish(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        rule: Rule,
        allowed: &[Allowed],
    ) -> Result<(), Stop> {
        cx.returns(self, task, rule, allowed)?;
        self.leave(cx, task)
    }
}

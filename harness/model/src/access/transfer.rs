//! Reads and writes of files, and what they come to.

use refan_abi::{Errno, EventMask, OpenFlags};
use refan_program::{Call, Path, PathKind, Rule, Task};

use super::Then;
use super::open::DIRECT;
use crate::context::Context;
use crate::rules::{A2, MAINLINE, Q8};
use crate::state::{At, Buffer, FileKind, FileNo, Next, OpenFile, Raises, State};
use crate::violation::Allowed;
use crate::{Seen, Stop};

/// A read or write of a file that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub file: FileNo,
    pub(super) path: Path,
    pub(super) raises: Raises,
    pub(super) what: Direction,
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

pub(super) fn unknown_of_pidfds() -> Stop {
    Stop::Unjudgeable("what a pidfd answers to that is not known".to_owned())
}

/// The range that `fsnotify_pre_content` reports: whole pages.
pub(super) fn whole_pages(from: u64, count: u64) -> (u64, u64) {
    let start = from / PAGE * PAGE;
    (start, (from + count).div_ceil(PAGE) * PAGE - start)
}

const PAGE: u64 = 4096;

impl State {
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

    pub(super) fn position(&self, file: FileNo) -> u64 {
        match self.files.get(&file).map(|open| &open.kind) {
            Some(FileKind::File { pos, .. }) => *pos,
            _ => 0,
        }
    }

    pub(super) fn transferred(
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
                // The agent reads what it has mapped when the call is over.
                let is_settled =
                    !matches!(what, Direction::Map { .. }) || !self.may_change(cx, task);
                let contents = self.contents(path.inode()).filter(|_| is_settled);
                let expected = contents.map(|contents| {
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
                let is_seen = cx.peek_of(self, task).is_some();
                let back = cx.returns(self, task, rule, &[allowed])?;
                let read: &[u8] = match &back.data {
                    Seen::Bytes(bytes) => bytes,
                    _ => &[],
                };
                if is_seen && expected.is_some_and(|expected| expected != read) {
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

    /// Whether another call of the step or block, or one that it lets through, changes what files hold. A response
    /// that is written to a file and not to a queue is left out: nearly every block answers.
    fn may_change(&self, cx: &Context<'_>, task: Task) -> bool {
        let returned = cx.seen.returns.iter().map(|back| back.step);
        let tasks = (0u8..).zip(&self.tasks).map(|(number, of)| (Task(number), of));
        let dying = tasks
            .filter(|(other, _)| cx.dies(self, *other))
            .filter_map(|(_, of)| of.call.as_ref().map(|call| call.step));
        let own = self.step_of(task);
        let others = cx.program.block_of(cx.step).chain(returned).chain(dying);
        let mut others = others.filter(|step| Some(*step) != own);
        others.any(|step| match cx.program.steps.get(step).map(|step| step.call.innermost()) {
            Some(
                Call::Pwrite { .. }
                | Call::Truncate { .. }
                | Call::Ftruncate { .. }
                | Call::Fallocate { .. },
            ) => true,
            Some(Call::Open { flags, .. }) => flags.contains(OpenFlags::O_TRUNC),
            _ => false,
        })
    }
}

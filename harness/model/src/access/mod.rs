//! Accesses: which events an open, exec, read or write raises, and in what order (A1, A2).

mod change;
mod open;
mod transfer;
mod writers;

use refan_abi::{Errno, EventMask, OpenFlags};
use refan_program::{Path, Rule, Task};

pub(crate) use self::open::{DIRECT, Opening, contradicts_itself, is_writing};
pub(crate) use self::transfer::{Direction, Transfer};
use crate::Stop;
use crate::context::Context;
use crate::rules::{A1, F1};
use crate::state::{FileNo, Next, Raises, State};
use crate::violation::Allowed;

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
    /// A file that nobody need have open gets another length. It counts as being written to from when that has begun.
    Truncated { path: Path, size: u32, begun: bool },
}

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

impl State {
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
            Then::Truncated { path, begun: false, .. } if self.is_run(path.inode()) => {
                self.finish(cx, task, rule, &[Allowed::Errno(Errno::ETXTBSY)])
            }
            Then::Truncated { path, size, begun: false } => {
                let then = Then::Truncated { path, size, begun: true };
                self.goes_on(cx, task, Next::After { then, refusal: None })
            }
            Then::Truncated { path, size, begun: true } => {
                self.set_length(path, size)?;
                self.finish(cx, task, rule, &[Allowed::Value(0)])
            }
        }
    }

    /// What accesses that go on do when their events are answered.
    fn stages(&self) -> impl Iterator<Item = &Then> {
        self.tasks.iter().filter_map(|task| task.call.as_ref()?.at.then())
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

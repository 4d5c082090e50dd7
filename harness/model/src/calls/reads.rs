//! Reads of groups, queues and files.

use refan_abi::Errno;
use refan_program::Task;

use super::refused_at_position;
use crate::Stop;
use crate::access::Direction;
use crate::context::Context;
use crate::rules::{A1, C1, MAINLINE};
use crate::state::{At, Buffer, FileKind, Next, Reading, State};
use crate::violation::Allowed;

impl State {
    pub(super) fn read(
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
    pub(super) fn page_in(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        reader: Task,
    ) -> Result<(), Stop> {
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

    pub(super) fn pread(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        size: u32,
    ) -> Result<(), Stop> {
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
}

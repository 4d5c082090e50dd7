//! Sockets that hold references to files in flight (`SCM_RIGHTS`).

use refan_abi::{Errno, OpenFlags};
use refan_program::Task;

use crate::Stop;
use crate::context::Context;
use crate::rules::MAINLINE;
use crate::state::{FileKind, FileNo, State};
use crate::violation::Allowed;

/// More than anyone sends, and less than a socket holds.
const MOST_IN_FLIGHT: usize = 100;

impl State {
    /// A socket is made.
    pub(crate) fn socket(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EMFILE)]);
        }
        let back = cx.returns(self, task, MAINLINE, &[Allowed::Fd])?;
        let file = self.add_file(task, FileKind::Socket, OpenFlags::O_RDWR);
        self.install(task, back.value as i32, file, false);
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }

    /// The socket behind an fd.
    fn socket_of(&self, task: Task, fd: i32) -> Result<FileNo, Errno> {
        match self.file(task, fd).map(|(number, file)| (number, &file.kind)) {
            Some((number, FileKind::Socket)) => Ok(number),
            None | Some((_, FileKind::Handle(_))) => Err(Errno::EBADF),
            Some(_) => Err(Errno::ENOTSOCK),
        }
    }

    /// An fd is sent: its file has one more reference.
    pub(crate) fn send_fd(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        socket: i32,
        fd: i32,
    ) -> Result<(), Stop> {
        let sent = self.task(task).fds.get(&fd).map(|entry| entry.file);
        let (socket, sent) = match (self.socket_of(task, socket), sent) {
            (Ok(socket), Some(sent)) => (socket, sent),
            (Err(errno), _) => {
                return self.finish(cx, task, MAINLINE, &[Allowed::Errno(errno)]);
            }
            (Ok(_), None) => {
                return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
            }
        };
        if self.files.get(&sent).is_some_and(|file| file.kind == FileKind::Socket) {
            let why = "a socket in flight, which the kernel collects at a time of its own";
            return Err(Stop::Unjudgeable(why.to_owned()));
        }
        let full = self.in_flight.get(&socket).is_some_and(|held| held.len() >= MOST_IN_FLIGHT);
        if full || (!self.is_admin(task) && self.task(task).fd_limit.is_some()) {
            return Err(Stop::Unjudgeable("how many fds can be in flight".to_owned()));
        }
        self.in_flight.entry(socket).or_default().push(sent);
        if let Some(file) = self.files.get_mut(&sent) {
            file.refs += 1;
        }
        self.finish(cx, task, MAINLINE, &[Allowed::Value(0)])
    }

    /// The fd that was sent first is received.
    pub(crate) fn recv_fd(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        socket: i32,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let socket = match self.socket_of(task, socket) {
            Ok(socket) => socket,
            Err(errno) => return self.finish(cx, task, MAINLINE, &fail(errno)),
        };
        let held = self.in_flight.entry(socket).or_default();
        if held.is_empty() {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EAGAIN));
        }
        let file = held.remove(0);
        if self.fds_left(task) == Some(0) {
            // The message is gone, and the fd with it.
            if self.drop_ref(file) {
                self.release_at_once(file);
            }
            return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
        }
        let back = cx.returns(self, task, MAINLINE, &[Allowed::Fd])?;
        self.install(task, back.value as i32, file, false);
        self.drop_ref(file);
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }
}

//! Sockets that hold references to files in flight (`SCM_RIGHTS`).

use refan_abi::{Errno, OpenFlags};
use refan_program::Task;

use crate::context::Context;
use crate::rules::{F1, MAINLINE};
use crate::state::{Buffer, FileKind, FileNo, Message, State};
use crate::violation::Allowed;
use crate::{Seen, Stop};

/// More than anyone sends, and less than a socket holds.
const MOST_IN_FLIGHT: usize = 100;

impl State {
    /// A socket is made.
    pub(crate) fn socket(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EMFILE)]);
        }
        // For want of memory it is one socket too many (`__sock_create` in net/socket.c).
        let too_many = cx.peek_of(self, task).is_some_and(|back| back.is(Errno::ENFILE));
        if too_many && self.has_failed(cx, task) {
            return self.finish(cx, task, F1, &[Allowed::Errno(Errno::ENFILE)]);
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
        if self.is_full(socket) || (!self.is_admin(task) && self.task(task).fd_limit.is_some()) {
            return Err(Stop::Unjudgeable("how many fds can be in flight".to_owned()));
        }
        let message = Message { len: 1, file: Some(sent) };
        self.in_flight.entry(socket).or_default().push(message);
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
        let message = held.remove(0);
        let file = match message.file {
            Some(file) if self.fds_left(task) != Some(0) => file,
            // Without a number or without an fd the message is gone.
            _ => {
                self.drop_message(message);
                return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
            }
        };
        let back = cx.returns(self, task, MAINLINE, &[Allowed::Fd])?;
        self.install(task, back.value as i32, file, false);
        self.drop_ref(file);
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }

    fn is_full(&self, socket: FileNo) -> bool {
        self.in_flight.get(&socket).is_some_and(|held| held.len() >= MOST_IN_FLIGHT)
    }

    /// Bytes of the message that is received next; 0 where there is none.
    pub(crate) fn next_message(&self, task: Task, fd: i32) -> i64 {
        let held = self.file(task, fd).and_then(|(socket, _)| self.in_flight.get(&socket));
        held.and_then(|held| held.first()).map_or(0, |message| message.len.into())
    }

    /// `read(2)`: `sock_read_iter` of net/socket.c; a message's fd is lost.
    pub(crate) fn read_socket(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        socket: FileNo,
        buffer: Buffer,
    ) -> Result<(), Stop> {
        if buffer.size == 0 {
            return self.finish(cx, task, MAINLINE, &[Allowed::Value(0)]);
        }
        let message = self.in_flight.get(&socket).and_then(|held| held.first()).copied();
        let waits = self.files.get(&socket).is_none_or(|file| !file.is_nonblocking());
        match message {
            None if waits => Err(Stop::Unjudgeable("a socket is waited for".to_owned())),
            None => self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EAGAIN)]),
            Some(message) if buffer.missing || buffer.good < buffer.size.min(message.len) => {
                Err(Stop::Unjudgeable("a part of a buffer is filled by a socket".to_owned()))
            }
            Some(message) => {
                let len = message.len.min(buffer.size);
                self.in_flight.entry(socket).or_default().remove(0);
                self.drop_message(message);
                self.foresee(cx, task, len.into(), Seen::Nothing);
                self.finish(cx, task, MAINLINE, &[Allowed::Value(len.into())])
            }
        }
    }

    /// `write(2)` of so many bytes, of which so many are memory: a message without an fd.
    pub(crate) fn write_socket(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        socket: FileNo,
        len: usize,
        good: usize,
    ) -> Result<(), Stop> {
        if good < len {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EFAULT)]);
        }
        if self.is_full(socket) {
            return Err(Stop::Unjudgeable("how much can be in flight".to_owned()));
        }
        let message = Message { len: u32::try_from(len).unwrap_or(u32::MAX), file: None };
        self.in_flight.entry(socket).or_default().push(message);
        self.finish(cx, task, MAINLINE, &[Allowed::Value(len as i64)])
    }
}

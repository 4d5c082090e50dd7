//! The QEMU monitor (QMP) over a socket pair, with a deadline on every wait.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qapi::qmp::{self, Event};
use qapi::{Command, Execute, ExecuteError, Qmp, Stream};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::process::poll_readable;

/// A session with QEMU's monitor.
pub(crate) struct Monitor {
    qmp: Qmp<Stream<BufReader<Bounded>, Bounded>>,
    deadline: SharedDeadline,
    /// How many `cont` were sent whose answers have not been read.
    resumes: u32,
}

impl Monitor {
    /// Waits for QEMU's greeting and enters command mode.
    pub(crate) fn connect(socket: UnixStream, deadline: Instant) -> Result<Monitor, ExecuteError> {
        socket.set_nonblocking(true)?;
        let deadline = SharedDeadline::new(deadline);
        let writer = Bounded { socket: socket.try_clone()?, deadline: deadline.clone() };
        let reader = Bounded { socket, deadline: deadline.clone() };
        let mut qmp = Qmp::new(Stream::new(BufReader::new(reader), writer));
        // `Qmp::handshake` panics on a stream that ends before the greeting.
        if qmp.inner_mut().fill_buf()?.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        qmp.handshake()?;
        Ok(Monitor { qmp, deadline, resumes: 0 })
    }

    /// Executes one command.
    pub(crate) fn execute<C: Command>(
        &mut self,
        command: &C,
        deadline: Instant,
    ) -> Result<C::Ok, ExecuteError> {
        self.begin(deadline)?;
        self.qmp.execute(command)
    }

    /// Lets the virtual CPUs run, without waiting for the answer: a guest that comes to its gate
    /// first keeps QEMU from giving it. The next command takes the answer.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.qmp.write_command(&qmp::cont {})?;
        self.resumes += 1;
        Ok(())
    }

    /// Gives QEMU a descriptor, under a name that migrations understand.
    pub(crate) fn give(
        &mut self,
        name: &str,
        fd: BorrowedFd<'_>,
        deadline: Instant,
    ) -> Result<(), ExecuteError> {
        self.begin(deadline)?;
        let command = qmp::getfd { fdname: name.into() };
        let mut line =
            serde_json::to_vec(&Execute::<&qmp::getfd>::from(&command)).map_err(io::Error::from)?;
        line.push(b'\n');
        // The descriptor has to come with the command's bytes (unix(7), SCM_RIGHTS), and
        // `Qmp` does not send any.
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("no room for a descriptor").into());
        }
        let socket = &self.qmp.inner().get_ref_write().socket;
        let sent = rustix::net::sendmsg(
            socket,
            &[IoSlice::new(&line)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
        .map_err(io::Error::from)?;
        if sent != line.len() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        self.qmp.read_response::<qmp::getfd>()?;
        Ok(())
    }

    /// Sets the deadline and reads the answers that are left over.
    fn begin(&mut self, deadline: Instant) -> Result<(), ExecuteError> {
        self.deadline.set(deadline);
        while self.resumes > 0 {
            self.qmp.read_response::<qmp::cont>()?;
            self.resumes -= 1;
        }
        Ok(())
    }

    /// Waits for a migration, outgoing or incoming, to end; `Err` holds how it failed.
    pub(crate) fn migrated(
        &mut self,
        deadline: Instant,
    ) -> Result<Result<(), String>, ExecuteError> {
        // Asked and not awaited as an event: only the answer says why a migration failed.
        let mut pause = Duration::from_micros(100);
        loop {
            let info = self.execute(&qmp::query_migrate {}, deadline)?;
            match info.status {
                Some(qmp::MigrationStatus::completed) => return Ok(Ok(())),
                Some(qmp::MigrationStatus::failed | qmp::MigrationStatus::cancelled) => {
                    return Ok(Err(info.error_desc.unwrap_or_else(|| "no reason given".into())));
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// The reason in QEMU's last SHUTDOWN event, read to the end of the stream of a QEMU that has
    /// ended.
    pub(crate) fn shutdown_reason(&mut self, deadline: Instant) -> Option<qmp::ShutdownCause> {
        self.deadline.set(deadline);
        let mut events: Vec<Event> = self.qmp.events().collect();
        let mut line = Vec::new();
        while let Ok(1..) = self.qmp.inner_mut().read_until(b'\n', &mut line) {
            if let Ok(event) = serde_json::from_slice(&line) {
                events.push(event);
            }
            line.clear();
        }
        events.into_iter().rev().find_map(|event| match event {
            Event::SHUTDOWN { data, .. } => Some(data.reason),
            _ => None,
        })
    }
}

/// The deadline that a session's two halves have in common.
#[derive(Clone)]
struct SharedDeadline(Arc<Mutex<Instant>>);

impl SharedDeadline {
    fn new(deadline: Instant) -> SharedDeadline {
        SharedDeadline(Arc::new(Mutex::new(deadline)))
    }

    fn set(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket whose reads and writes end at a deadline, with [`io::ErrorKind::TimedOut`].
struct Bounded {
    socket: UnixStream,
    deadline: SharedDeadline,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let [readable] = poll_readable(&[self.socket.as_fd()], self.deadline.get())?;
            if !readable {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        // Commands are far smaller than a socket's buffer; one that does not fit means that QEMU
        // has stopped reading.
        match self.socket.write(from) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::TimedOut.into())
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! A command's process and the pipes to it.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use refan_wire::{Command, CommandEnd, GuestRegion, Input, Record, Stream, TaskEnd, Window};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, WaitOptions};

use super::terminal::Terminal;
use super::{spawn, tasks};
use crate::executor;

/// Bytes read at a time, and what a pipe holds at most unless a command enlarges it (`pipe(7)`).
const CHUNK: usize = 64 << 10;
/// What is read of each stream once the command has ended: the largest pipe that a task without
/// privileges gets (`/proc/sys/fs/pipe-max-size`).
const MOST_AT_END: usize = 1 << 20;
/// How long a command that does not write runs before it is offered something to read.
const TICK: Duration = Duration::from_millis(20);
/// The same where it has just been given something, and there may be more.
const SHORT_TICK: Duration = Duration::from_millis(1);

/// A command that was started. It holds no allocated memory.
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    input: Option<File>,
    output: Option<File>,
    error: Option<File>,
    /// What types to it what is written to `input`, if it has a terminal.
    terminal: Option<Terminal>,
    end: Option<TaskEnd>,
    /// It has been given something since it ran last.
    fed: bool,
}

/// Why a command does not go on by itself.
pub enum Pause {
    /// It has written, or can be given something to read.
    Goes {
        /// It has read all that it was given, and may be given more.
        takes_input: bool,
        /// Nothing runs.
        idle: bool,
    },
    /// It is over.
    Over(CommandEnd),
}

impl Child {
    /// Starts a command, at a terminal if there is one.
    pub fn start(command: &Command, mut terminal: Option<Terminal>) -> Result<Self, Errno> {
        let (theirs, input) = pipe()?;
        rustix::fs::fcntl_setfl(&input, OFlags::NONBLOCK)?;
        let (pid, output, error) = match &mut terminal {
            Some(terminal) => {
                let pid = spawn::spawn(command, [terminal.theirs(); 3], true)?;
                terminal.type_from(theirs);
                (pid, terminal.output()?, None)
            }
            None => {
                let (output, their_output) = pipe()?;
                let (error, their_error) = pipe()?;
                for ours in [&output, &error] {
                    rustix::fs::fcntl_setfl(ours, OFlags::NONBLOCK)?;
                }
                let streams = [theirs.as_fd(), their_output.as_fd(), their_error.as_fd()];
                (spawn::spawn(command, streams, false)?, output, Some(error.into()))
            }
        };
        Ok(Self {
            pid,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
            input: Some(input.into()),
            output: Some(output.into()),
            error,
            terminal,
            end: None,
            // There may be something to read from the start.
            fed: true,
        })
    }

    /// Lets the command run until there is something to say. What it writes goes into the trace.
    pub fn run(
        &mut self,
        region: &GuestRegion,
        deadline: Option<Instant>,
    ) -> Result<Pause, String> {
        let failed = |error: std::io::Error| format!("waiting for the command: {error}");
        loop {
            if let Some(terminal) = &self.terminal {
                terminal.type_on().map_err(|error| format!("typing: {error}"))?;
            }
            let offered = self.await_something(deadline).map_err(failed)?;
            // Its end is looked at before what it has written, so that all of that is seen.
            self.reap();
            let wrote = [
                drain(&mut self.output, Stream::Output, region)?,
                drain(&mut self.error, Stream::Error, region)?,
            ];
            if let Some(end) = self.end {
                // Its pipes can be larger than one reading, and others may still write to them.
                for _ in 0..MOST_AT_END / CHUNK {
                    self.await_terminal().map_err(failed)?;
                    drain(&mut self.output, Stream::Output, region)?;
                    drain(&mut self.error, Stream::Error, region)?;
                }
                return Ok(Pause::Over(CommandEnd::Ended(end)));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Pause::Over(CommandEnd::Overdue { tasks: tasks::doing() }));
            }
            let takes_input = self.takes_input().map_err(failed)?;
            // Who is at a terminal without a limit is to see that the guest is alive.
            if wrote.contains(&true) || offered && (takes_input || self.terminal.is_some()) {
                self.fed = false;
                let idle = !executor::others_run().map_err(|error| format!("{error:#}"))?;
                return Ok(Pause::Goes { takes_input, idle });
            }
            self.fed &= !offered;
        }
    }

    /// Waits until the command has ended or written, or can be offered something to read; says whether it
    /// is the last.
    fn await_something(&self, deadline: Option<Instant>) -> std::io::Result<bool> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let tick = self.input.as_ref().map(|_| if self.fed { SHORT_TICK } else { TICK });
        let timeout = tick.into_iter().chain(left).min().map(Timespec::try_from);
        let timeout = timeout.transpose().map_err(std::io::Error::other)?;
        let fds = [self.pidfd.as_fd(), self.or_end(&self.output), self.or_end(&self.error)];
        let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(0) => Ok(tick.is_some()),
            Ok(_) | Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What is written to a terminal gets to its other side a little later.
    fn await_terminal(&self) -> std::io::Result<()> {
        let (Some(_), Some(output)) = (&self.terminal, &self.output) else { return Ok(()) };
        let timeout = Timespec::try_from(TICK).map_err(std::io::Error::other)?;
        rustix::event::poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&timeout))?;
        Ok(())
    }

    /// What tells of a stream; of one that is closed it is the end of the process.
    fn or_end<'a>(&'a self, stream: &'a Option<File>) -> BorrowedFd<'a> {
        stream.as_ref().map_or(self.pidfd.as_fd(), File::as_fd)
    }

    /// Reaps whoever has ended: the command, and what has become a child of PID 1.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                self.end = Some(executor::end_of(status));
            }
        }
    }

    /// Whether the command has read all that it was given, or its terminal has taken it, and the pipe is open.
    fn takes_input(&self) -> std::io::Result<bool> {
        match &self.input {
            Some(input) => Ok(rustix::io::ioctl_fionread(input)? == 0),
            None => Ok(false),
        }
    }

    /// Gives the command something to read. What nobody reads any more is dropped.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(mut input) = self.input.as_ref() else { return Ok(()) };
        if bytes.len() > Input::MOST {
            return Err(format!("{} bytes are more than a command can be given", bytes.len()));
        }
        self.fed = true;
        match input.write_all(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.end_input();
                Ok(())
            }
            written => written.map_err(|error| format!("giving the command input: {error}")),
        }
    }

    /// Lets the command read that there is no more, or its terminal hang up.
    pub fn end_input(&mut self) {
        self.input = None;
        if self.terminal.take().is_some() {
            self.output = None;
        }
    }

    /// Gives the command's terminal another size.
    pub fn resize(&self, window: Window) -> Result<(), String> {
        match &self.terminal {
            Some(terminal) => terminal
                .resize(window)
                .map_err(|error| format!("changing the terminal's size: {error}")),
            None => Err("a command without a terminal was given the size of one".to_owned()),
        }
    }
}

/// Its end to read and its end to write.
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
}

/// Puts what was written to a stream into the trace; says whether there was anything.
fn drain(stream: &mut Option<File>, which: Stream, region: &GuestRegion) -> Result<bool, String> {
    let Some(mut file) = stream.as_ref() else { return Ok(false) };
    let mut bytes = vec![0; CHUNK];
    match file.read(&mut bytes) {
        Ok(0) => {
            *stream = None;
            Ok(false)
        }
        Ok(len) => {
            bytes.truncate(len);
            let record = Record::Wrote { stream: which, bytes };
            region.record(&record).map_err(|error| error.to_string())?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(false)
        }
        Err(error) => Err(format!("reading what the command writes: {error}")),
    }
}

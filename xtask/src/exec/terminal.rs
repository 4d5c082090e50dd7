//! A command's input and output: this process's own.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use refan_runner::exec::{Input, Stream, Streams};
use rustix::event::{PollFd, PollFlags, Timespec};

/// Standard input, output and error, passed through.
pub struct Terminal;

impl Streams for Terminal {
    fn wrote(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Output => crate::output::bytes(bytes),
            // Nobody can be told that standard error is gone.
            Stream::Error => drop(io::stderr().lock().write_all(bytes)),
        }
    }

    fn input(&mut self, wait: Duration) -> Input {
        let mut input = io::stdin().lock();
        let mut polled = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(wait).unwrap_or_default();
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Input::None,
            Ok(_) => {}
            Err(_) => return Input::End,
        }
        let mut bytes = vec![0; Input::MOST];
        match input.read(&mut bytes) {
            Ok(0) => Input::End,
            Ok(read) => {
                bytes.truncate(read);
                Input::Bytes(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Input::None,
            // A closed one has nothing to give.
            Err(_) => Input::End,
        }
    }
}

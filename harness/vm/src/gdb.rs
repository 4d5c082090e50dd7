//! QEMU's gdbstub as far as it takes to stop a machine at a place: the remote serial protocol of gdb
//! (appendix "GDB Remote Serial Protocol" of its manual).

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A session with a machine's gdbstub. When it is dropped the machine stays as it is: stopped, if it was.
#[derive(Debug)]
pub struct Gdb {
    stream: UnixStream,
    /// What was received beyond the last packet.
    received: Vec<u8>,
}

impl Gdb {
    /// Connects, which stops the machine.
    ///
    /// # Errors
    /// When nobody answers there by the deadline.
    pub fn connect(socket: &Path, deadline: Instant) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        let mut gdb = Self { stream, received: Vec::new() };
        // Why it has stopped; what it is answered is of no account.
        gdb.send("?")?;
        gdb.answer(deadline)?;
        // Single steps hold back neither interrupts nor timers (SSTEP_ENABLE alone, docs/system/gdb.rst
        // of QEMU).
        gdb.agreed("Qqemu.sstep=1", deadline)?;
        Ok(gdb)
    }

    /// Sets a breakpoint.
    ///
    /// # Errors
    /// When the stub refuses it, or does not answer by the deadline.
    pub fn set_breakpoint(&mut self, address: u64, deadline: Instant) -> io::Result<()> {
        self.agreed(&format!("Z0,{address:x},1"), deadline)
    }

    /// Takes a breakpoint away.
    ///
    /// # Errors
    /// As of [`Gdb::set_breakpoint`].
    pub fn clear_breakpoint(&mut self, address: u64, deadline: Instant) -> io::Result<()> {
        self.agreed(&format!("z0,{address:x},1"), deadline)
    }

    /// Lets the machine run until it stops at a breakpoint. Where there is one already it stays.
    ///
    /// # Errors
    /// When it does not by the deadline, or ends.
    pub fn run_to_breakpoint(&mut self, deadline: Instant) -> io::Result<()> {
        self.run_until_stopped("c", deadline)
    }

    /// Makes one instruction.
    ///
    /// # Errors
    /// As of [`Gdb::run_to_breakpoint`].
    pub fn step(&mut self, deadline: Instant) -> io::Result<()> {
        self.run_until_stopped("s", deadline)
    }

    fn run_until_stopped(&mut self, command: &str, deadline: Instant) -> io::Result<()> {
        self.send(command)?;
        let answer = self.answer(deadline)?;
        // A stop by a signal: the trap of a breakpoint.
        if answer.starts_with("T05") || answer.starts_with("S05") {
            Ok(())
        } else {
            Err(io::Error::other(format!("the machine has not stopped at a breakpoint: {answer}")))
        }
    }

    fn agreed(&mut self, command: &str, deadline: Instant) -> io::Result<()> {
        self.send(command)?;
        match self.answer(deadline)?.as_str() {
            "OK" => Ok(()),
            other => Err(io::Error::other(format!("`{command}` was answered with `{other}`"))),
        }
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        self.stream.write_all(packet(command).as_bytes())
    }

    /// The next packet, which is acknowledged.
    fn answer(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            if let Some((text, len)) = take_packet(&self.received) {
                self.received.drain(..len);
                self.stream.write_all(b"+")?;
                return Ok(text);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.received.extend(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// `$text#checksum`.
fn packet(text: &str) -> String {
    let sum = text.bytes().fold(0u8, u8::wrapping_add);
    format!("${text}#{sum:02x}")
}

/// The text of the first whole packet, and how many bytes there are up to its end.
fn take_packet(bytes: &[u8]) -> Option<(String, usize)> {
    let start = bytes.iter().position(|byte| *byte == b'$')?;
    let len = bytes[start..].iter().position(|byte| *byte == b'#')?;
    let end = start + len + 3;
    let text = String::from_utf8_lossy(&bytes[start + 1..start + len]).into_owned();
    (bytes.len() >= end).then_some((text, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_carry_their_sum() {
        assert_eq!(packet("OK"), "$OK#9a");
        assert_eq!(take_packet(b"+$OK#9a$S05#b8"), Some(("OK".to_owned(), 7)));
        assert_eq!(take_packet(b"+$OK#9"), None);
        assert_eq!(take_packet(b"+"), None);
    }
}

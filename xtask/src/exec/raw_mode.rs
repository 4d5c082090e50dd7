//! The user's terminal in raw mode, and as it was again whatever happens.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};
use rustix::termios::{OptionalActions, Termios};

/// What may reach every process at the terminal, or whoever changes one in the background.
const IGNORED: [i32; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP, libc::SIGTTOU];

/// A terminal is in raw mode for as long as this value lives, and its process. A second process waits for
/// the end of either and then restores it, so that neither a panic nor SIGKILL leaves it as it is.
pub struct RawMode {
    guardian: Pid,
    /// Its end tells the guardian.
    life: Option<OwnedFd>,
}

impl RawMode {
    /// Puts the terminal into raw mode.
    pub fn enter(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let saved = rustix::termios::tcgetattr(terminal)?;
        let (waits, life) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // SAFETY: of this process's threads the child has this one alone; until it ends it makes system
        // calls only, on what is on this stack.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(life);
            guard(terminal, &saved, &waits);
        }
        let guardian = Pid::from_raw(child).filter(|_| child > 0);
        let guardian = guardian.ok_or_else(io::Error::last_os_error)?;
        let raw_mode = Self { guardian, life: Some(life) };
        let mut raw = saved;
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(raw_mode)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.life = None;
        // It has restored the terminal when it ends.
        let _ = rustix::process::waitpid(Some(self.guardian), WaitOptions::empty());
    }
}

/// Waits for the end of who started it and restores the terminal.
fn guard(terminal: BorrowedFd<'_>, saved: &Termios, life: &OwnedFd) -> ! {
    for signal in IGNORED {
        // SAFETY: to ignore a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut byte = [0];
    while rustix::io::read(life, &mut byte) == Err(Errno::INTR) {}
    // A terminal that is gone needs nothing.
    let _ = rustix::termios::tcsetattr(terminal.as_fd(), OptionalActions::Now, saved);
    // SAFETY: ends the process and nothing before it.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::OpenptFlags;
    use rustix::termios::LocalModes;
    use std::time::{Duration, Instant};

    /// A pseudo-terminal: its user's side and that of its programs.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let user = rustix::pty::openpt(flags).expect("a terminal");
        rustix::pty::unlockpt(&user).expect("unlocked");
        let programs = rustix::pty::ioctl_tiocgptpeer(&user, flags).expect("the other side");
        (user, programs)
    }

    fn is_raw(terminal: &OwnedFd) -> bool {
        let modes = rustix::termios::tcgetattr(terminal).expect("its modes").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[test]
    fn a_terminal_is_raw_as_long_as_it_is_held() {
        let (_user, terminal) = terminal();
        assert!(!is_raw(&terminal));
        let raw_mode = RawMode::enter(terminal.as_fd()).expect("raw mode");
        assert!(is_raw(&terminal));
        drop(raw_mode);
        assert!(!is_raw(&terminal));
    }

    #[test]
    fn it_is_restored_when_its_process_is_killed() {
        let (_user, terminal) = terminal();
        // It is hung up when the last process that has the other end is gone: the child, and its guardian.
        let (gone, lives) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        // SAFETY: the child has this thread alone, and makes system calls only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let entered = RawMode::enter(terminal.as_fd());
            // SAFETY: kills this process.
            unsafe { libc::raise(if entered.is_ok() { libc::SIGKILL } else { libc::SIGABRT }) };
        }
        drop(lives);
        let child = Pid::from_raw(child).expect("a child");
        let ended = rustix::process::waitpid(Some(child), WaitOptions::empty());
        let (_, status) = ended.expect("its end").expect("its end");
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
        let deadline = Instant::now() + Duration::from_secs(30);
        let ended = refan_vm::poll_readable(&[gone.as_fd()], deadline).expect("a wait");
        assert_eq!(ended, [true], "the guardian waits");
        assert!(!is_raw(&terminal));
    }
}

//! A terminal for a command: PID 1 types what the host sends, and reads what shows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use refan_wire::{Input, Window};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// A pseudo-terminal (`pty(7)`).
pub struct Terminal {
    ours: OwnedFd,
    /// Open for as long as ours is, so that ours never reads as hung up.
    theirs: OwnedFd,
    /// What is to be typed: what the terminal does not take yet stays in this pipe.
    to_type: Option<OwnedFd>,
}

impl Terminal {
    /// Opens one of this size.
    pub fn open(window: Window) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags)
            .context("opening a pseudo-terminal (the kernel needs CONFIG_UNIX98_PTYS)")?;
        rustix::pty::unlockpt(&ours).context("unlocking a pseudo-terminal")?;
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)
            .context("opening a pseudo-terminal's other side")?;
        rustix::io::ioctl_fionbio(&ours, true).context("setting up a pseudo-terminal")?;
        let terminal = Self { ours, theirs, to_type: None };
        terminal.resize(window).context("giving a pseudo-terminal its size")?;
        Ok(terminal)
    }

    /// The command's side.
    pub fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// What shows, to read from.
    pub fn output(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.ours, 0)
    }

    /// Has what this pipe holds typed from now on.
    pub fn type_from(&mut self, pipe: OwnedFd) {
        self.to_type = Some(pipe);
    }

    /// Types as much as the terminal takes.
    pub fn type_on(&self) -> Result<(), Errno> {
        let Some(pipe) = &self.to_type else { return Ok(()) };
        while rustix::io::ioctl_fionread(pipe)? > 0 {
            let flags = SpliceFlags::NONBLOCK;
            match rustix::pipe::splice(pipe, None, &self.ours, None, Input::MOST, flags) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives it another size, of which the kernel tells who is in the foreground by SIGWINCH.
    pub fn resize(&self, window: Window) -> Result<(), Errno> {
        let Window { rows, columns } = window;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.ours, size)
    }
}

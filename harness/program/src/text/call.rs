//! Calls: how each is printed and read.

use std::fmt;

use refan_abi::OpenFlags;

use super::cursor::{Cursor, Kind};
use super::error::ParseError;
use super::print::Names;
use super::quote::write_quoted;
use super::words::{read_flags, read_response, write_bits, write_flags, write_response};
use crate::{Call, Fd, Inode, Path, Sysctl, Task};

/// Writes a call.
pub(super) fn write_call(f: &mut fmt::Formatter<'_>, names: Names<'_>, call: &Call) -> fmt::Result {
    if let Call::Await { task } = call {
        return f.write_str(names.0.task_name(*task));
    }
    f.write_str(call.name().unwrap_or_default())?;
    if let Call::Spawn { call } = call {
        f.write_str(" ")?;
        return write_call(f, names, call);
    }
    f.write_str("(")?;
    match call {
        Call::FanotifyInit { flags, event_flags } => {
            write_flags(f, flags)?;
            f.write_str(", ")?;
            write_flags(f, event_flags)?;
        }
        Call::FanotifyMark { group, flags, mask, path } => {
            names.write_fd(f, *group)?;
            f.write_str(", ")?;
            write_flags(f, flags)?;
            f.write_str(", ")?;
            write_flags(f, mask)?;
            write!(f, ", {path}")?;
        }
        Call::Read { fd, size: Call::DEFAULT_READ } => names.write_fd(f, *fd)?,
        Call::Read { fd, size } | Call::Pread { fd, size } => {
            names.write_fd(f, *fd)?;
            write!(f, ", {size}")?;
        }
        Call::Write { fd, event, response, size } => {
            names.write_fd(f, *fd)?;
            f.write_str(", ")?;
            names.write_fd(f, *event)?;
            f.write_str(", ")?;
            write_response(f, *response)?;
            if let Some(size) = size {
                write!(f, ", {size}")?;
            }
        }
        Call::ReadFault { fd, size, good } | Call::ReadMissing { fd, size, good } => {
            names.write_fd(f, *fd)?;
            write!(f, ", {size}, {good}")?;
        }
        Call::WriteFault { fd, event, response, good } => {
            names.write_fd(f, *fd)?;
            f.write_str(", ")?;
            names.write_fd(f, *event)?;
            f.write_str(", ")?;
            write_response(f, *response)?;
            write!(f, ", {good}")?;
        }
        Call::Pwrite { fd, text } => {
            names.write_fd(f, *fd)?;
            f.write_str(", ")?;
            write_quoted(f, text)?;
        }
        Call::Ftruncate { fd, size } | Call::Fallocate { fd, size } | Call::Mmap { fd, size } => {
            names.write_fd(f, *fd)?;
            write!(f, ", {size}")?;
        }
        Call::Dup2 { fd, to } | Call::SendFd { socket: fd, fd: to } => {
            names.write_fd(f, *fd)?;
            f.write_str(", ")?;
            names.write_fd(f, *to)?;
        }
        Call::PidfdGetfd { task, fd } => {
            write!(f, "{}, ", names.0.task_name(*task))?;
            names.write_fd(f, *fd)?;
        }
        Call::SetFd { fd, flags } => {
            names.write_fd(f, *fd)?;
            f.write_str(", ")?;
            write_flags(f, flags)?;
        }
        Call::Reopen { fd, flags } => {
            names.write_fd(f, *fd)?;
            if *flags != OpenFlags::O_RDONLY {
                f.write_str(", ")?;
                write_flags(f, flags)?;
            }
        }
        Call::SetFl { fd, flags } => {
            names.write_fd(f, *fd)?;
            f.write_str(", ")?;
            // The access mode is no status flag.
            write_bits(f, flags)?;
        }
        Call::OpenQueue { control: fd }
        | Call::OpenQueue32 { control: fd }
        | Call::RecvFd { socket: fd }
        | Call::Close { fd }
        | Call::Dup { fd }
        | Call::Poll { fd }
        | Call::Epoll { fd }
        | Call::Fionread { fd }
        | Call::GetFl { fd }
        | Call::GetFd { fd }
        | Call::Readlink { fd }
        | Call::Fdinfo { fd }
        | Call::Readdir { fd }
        | Call::Select { fd } => names.write_fd(f, *fd)?,
        Call::Open { path, flags } => {
            write!(f, "{path}, ")?;
            write_flags(f, flags)?;
        }
        Call::Exec { path } => write!(f, "{path}")?,
        Call::Truncate { path, size } => write!(f, "{path}, {size}")?,
        Call::FailNth { nth } => write!(f, "{nth}")?,
        Call::Sleep { ms } => write!(f, "{ms}")?,
        Call::Setuid { uid } => write!(f, "{uid}")?,
        Call::Sysctl { name, value } => write!(f, "{}, {value}", name.name())?,
        Call::RlimitNofile { more } => write!(f, "{more}")?,
        Call::Kill { task } | Call::PageIn { task } => f.write_str(names.0.task_name(*task))?,
        Call::Signal { task, restart } => {
            f.write_str(names.0.task_name(*task))?;
            if *restart {
                write!(f, ", {RESTART}")?;
            }
        }
        Call::Spawn { .. }
        | Call::Fork
        | Call::Exit
        | Call::Socket
        | Call::UnshareUser
        | Call::KernelLog
        | Call::Await { .. } => (),
    }
    f.write_str(")")
}

/// Of a signal: that its handler has `SA_RESTART`.
const RESTART: &str = "RESTART";

/// What the names in a call stand for.
pub(super) trait Resolve {
    /// The variable of this name.
    fn fd(&self, cursor: &Cursor, name: &str) -> Result<Fd, ParseError>;
    /// The task of this name.
    fn task(&self, cursor: &Cursor, name: &str) -> Result<Task, ParseError>;
}

/// Reads a call, or a task's name alone.
pub(super) fn read_call(cursor: &mut Cursor, names: &impl Resolve) -> Result<Call, ParseError> {
    let Kind::Word(name) = cursor.peek().clone() else {
        return Err(cursor.error(&["a call", "a task"]));
    };
    let opens = *cursor.peek_second() == Kind::Mark("(");
    if !Call::NAMES.contains(&name.as_str()) {
        if opens {
            return Err(cursor.error_near(&["a call"], Call::NAMES));
        }
        let task = names.task(cursor, &name)?;
        cursor.skip();
        return Ok(Call::Await { task });
    }
    cursor.skip();
    if name == "spawn" {
        let call = Box::new(read_call(cursor, names)?);
        return Ok(Call::Spawn { call });
    }
    cursor.mark("(")?;
    let mut args = Arguments { cursor, names, first: true };
    let call = match name.as_str() {
        "fanotify_init" => Call::FanotifyInit {
            flags: args.next(read_flags)?,
            event_flags: args.next(read_flags)?,
        },
        "fanotify_mark" => Call::FanotifyMark {
            group: args.fd()?,
            flags: args.next(read_flags)?,
            mask: args.next(read_flags)?,
            path: args.path()?,
        },
        "open_queue" => Call::OpenQueue { control: args.fd()? },
        "read" => Call::Read {
            fd: args.fd()?,
            size: if args.more() { args.number("a size")? } else { Call::DEFAULT_READ },
        },
        "pread" => Call::Pread { fd: args.fd()?, size: args.number("a size")? },
        "write" => Call::Write {
            fd: args.fd()?,
            event: args.fd()?,
            response: args.next(read_response)?,
            size: if args.more() { Some(args.number("a size")?) } else { None },
        },
        "open_queue32" => Call::OpenQueue32 { control: args.fd()? },
        "socket" => Call::Socket,
        "send_fd" => Call::SendFd { socket: args.fd()?, fd: args.fd()? },
        "recv_fd" => Call::RecvFd { socket: args.fd()? },
        "unshare_user" => Call::UnshareUser,
        "fail_nth" => Call::FailNth { nth: args.number("a number")? },
        "sleep" => Call::Sleep { ms: args.number("a time in milliseconds")? },
        "kernel_log" => Call::KernelLog,
        "read_fault" => Call::ReadFault {
            fd: args.fd()?,
            size: args.number("a size")?,
            good: args.number("a number of bytes")?,
        },
        "read_missing" => Call::ReadMissing {
            fd: args.fd()?,
            size: args.number("a size")?,
            good: args.number("a number of bytes")?,
        },
        "page_in" => Call::PageIn { task: args.task()? },
        "write_fault" => Call::WriteFault {
            fd: args.fd()?,
            event: args.fd()?,
            response: args.next(read_response)?,
            good: args.number("a number of bytes")?,
        },
        "pwrite" => Call::Pwrite { fd: args.fd()?, text: args.text()? },
        "ftruncate" => Call::Ftruncate { fd: args.fd()?, size: args.number("a size")? },
        "fallocate" => Call::Fallocate { fd: args.fd()?, size: args.number("a size")? },
        "mmap" => Call::Mmap { fd: args.fd()?, size: args.number("a size")? },
        "readdir" => Call::Readdir { fd: args.fd()? },
        "dup2" => Call::Dup2 { fd: args.fd()?, to: args.fd()? },
        "pidfd_getfd" => Call::PidfdGetfd { task: args.task()?, fd: args.fd()? },
        "select" => Call::Select { fd: args.fd()? },
        "setfd" => Call::SetFd { fd: args.fd()?, flags: args.next(read_flags)? },
        "close" => Call::Close { fd: args.fd()? },
        "dup" => Call::Dup { fd: args.fd()? },
        "poll" => Call::Poll { fd: args.fd()? },
        "epoll" => Call::Epoll { fd: args.fd()? },
        "fionread" => Call::Fionread { fd: args.fd()? },
        "getfl" => Call::GetFl { fd: args.fd()? },
        "setfl" => Call::SetFl { fd: args.fd()?, flags: args.next(read_flags)? },
        "getfd" => Call::GetFd { fd: args.fd()? },
        "readlink" => Call::Readlink { fd: args.fd()? },
        "fdinfo" => Call::Fdinfo { fd: args.fd()? },
        "reopen" => Call::Reopen {
            fd: args.fd()?,
            flags: if args.more() { args.next(read_flags)? } else { OpenFlags::O_RDONLY },
        },
        "open" => Call::Open { path: args.path()?, flags: args.next(read_flags)? },
        "exec" => Call::Exec { path: args.path()? },
        "truncate" => Call::Truncate { path: args.path()?, size: args.number("a size")? },
        "setuid" => Call::Setuid { uid: args.number("a uid")? },
        "sysctl" => Call::Sysctl { name: args.sysctl()?, value: args.number("a value")? },
        "rlimit_nofile" => Call::RlimitNofile { more: args.number("a number of fds")? },
        "fork" => Call::Fork,
        "exit" => Call::Exit,
        "kill" => Call::Kill { task: args.task()? },
        "signal" => {
            Call::Signal { task: args.task()?, restart: args.more() && args.word(RESTART)? }
        }
        _ => return Err(args.cursor.error(&["a call"])),
    };
    if args.more() {
        return Err(cursor.error(&["`)`"]));
    }
    cursor.mark(")")?;
    Ok(call)
}

struct Arguments<'a, R> {
    cursor: &'a mut Cursor,
    names: &'a R,
    first: bool,
}

impl<R: Resolve> Arguments<'_, R> {
    fn more(&self) -> bool {
        *self.cursor.peek() == Kind::Mark(",")
    }

    fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Cursor) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if !self.first {
            self.cursor.mark(",")?;
        }
        self.first = false;
        read(self.cursor)
    }

    fn fd(&mut self) -> Result<Fd, ParseError> {
        let names = self.names;
        self.next(|cursor| {
            let fd = match cursor.peek() {
                Kind::Word(name) => Some(names.fd(cursor, name)?),
                Kind::Number(digits) => digits.parse().ok().map(Fd::Number),
                _ => None,
            };
            let fd = fd.ok_or_else(|| cursor.error(&["an fd", "an event", "a number"]))?;
            cursor.skip();
            Ok(fd)
        })
    }

    fn task(&mut self) -> Result<Task, ParseError> {
        let names = self.names;
        self.next(|cursor| {
            let Kind::Word(name) = cursor.peek() else { return Err(cursor.error(&["a task"])) };
            let task = names.task(cursor, name)?;
            cursor.skip();
            Ok(task)
        })
    }

    fn text(&mut self) -> Result<String, ParseError> {
        self.next(|cursor| {
            let Kind::Text(text) = cursor.peek().clone() else {
                return Err(cursor.error(&["a text in quotes"]));
            };
            cursor.skip();
            Ok(text)
        })
    }

    /// Takes this word; true.
    fn word(&mut self, word: &'static str) -> Result<bool, ParseError> {
        self.next(|cursor| {
            if cursor.takes_word(word) {
                Ok(true)
            } else {
                Err(cursor.error_near(&[&format!("`{word}`")], [word]))
            }
        })
    }

    fn path(&mut self) -> Result<Path, ParseError> {
        self.next(read_path)
    }

    fn sysctl(&mut self) -> Result<Sysctl, ParseError> {
        self.next(|cursor| {
            let found = match cursor.peek() {
                Kind::Word(word) => Sysctl::ALL.into_iter().find(|limit| limit.name() == word),
                _ => None,
            };
            let names = Sysctl::ALL.map(Sysctl::name);
            let limit = found.ok_or_else(|| cursor.error_near(&names, names))?;
            cursor.skip();
            Ok(limit)
        })
    }

    fn number<N: std::str::FromStr + fmt::Display + Bounded>(
        &mut self,
        what: &str,
    ) -> Result<N, ParseError> {
        self.next(|cursor| {
            let number = match cursor.peek() {
                Kind::Number(digits) => digits.parse().ok(),
                _ => None,
            };
            let expected = format!("{what}, 0 to {}", N::MAX);
            let number = number.ok_or_else(|| cursor.error(&[&expected]))?;
            cursor.skip();
            Ok(number)
        })
    }
}

/// A number with an upper end.
trait Bounded {
    /// That end.
    const MAX: Self;
}

impl Bounded for u8 {
    const MAX: Self = Self::MAX;
}

impl Bounded for u16 {
    const MAX: Self = Self::MAX;
}

impl Bounded for u32 {
    const MAX: Self = Self::MAX;
}

/// Reads a path.
pub(super) fn read_path(cursor: &mut Cursor) -> Result<Path, ParseError> {
    const EXPECTED: &str =
        "a file (`f0`, `d0`, `d0/f`, `x0`, `w0`, `ext0`, `s0`, `m0`; 0 to 3 of each)";
    read_file(cursor, EXPECTED, Path::all())
}

/// Reads a file by the path that is printed for it.
pub(super) fn read_inode(cursor: &mut Cursor) -> Result<Inode, ParseError> {
    read_file(cursor, "the file itself, whatever leads to it", Inode::all())
}

fn read_file<F: fmt::Display>(
    cursor: &mut Cursor,
    expected: &str,
    files: impl Iterator<Item = F>,
) -> Result<F, ParseError> {
    let mut known: Vec<(String, F)> = files.map(|file| (file.to_string(), file)).collect();
    let at = match cursor.peek() {
        Kind::Word(word) => known.iter().position(|(name, _)| name == word),
        _ => None,
    };
    let Some(at) = at else {
        return Err(cursor.error_near(&[expected], known.iter().map(|(name, _)| name.as_str())));
    };
    cursor.skip();
    Ok(known.swap_remove(at).1)
}

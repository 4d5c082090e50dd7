//! Expectations: how each is printed and read.

use std::fmt;

use refan_abi::{Errno, EventMask, FdFlags, OpenFlags, PollFlags};

use super::call::{Resolve, read_inode};
use super::cursor::{Cursor, Kind};
use super::error::ParseError;
use super::print::Names;
use super::quote::write_quoted;
use super::words::{at_errno, at_flag, read_errno, read_flags, write_flags};
use crate::valid::Returns;
use crate::{EventPattern, Expect};

/// Writes what stands behind the arrow.
pub(super) fn write_expect(
    f: &mut fmt::Formatter<'_>,
    names: Names<'_>,
    expect: &Expect,
) -> fmt::Result {
    match expect {
        Expect::Value(value) => write!(f, "{value}"),
        Expect::Errno(errno) => write!(f, "{errno}"),
        Expect::Blocked => f.write_str(BLOCKED),
        Expect::Killed => f.write_str(KILLED),
        Expect::Events(events) => {
            for (i, event) in events.iter().enumerate() {
                if i > 0 {
                    f.write_str(", ")?;
                }
                write_event(f, names, event)?;
            }
            Ok(())
        }
        Expect::Poll(flags) => write_flags(f, flags),
        Expect::Open(flags) => write_flags(f, flags),
        Expect::FdFlags(flags) => write_flags(f, flags),
        Expect::Text(text) => write_quoted(f, text),
    }
}

fn write_event(f: &mut fmt::Formatter<'_>, names: Names<'_>, event: &EventPattern) -> fmt::Result {
    write_flags(f, &event.mask)?;
    if let Some(path) = event.path {
        write!(f, " {path}")?;
    }
    if let Some(errno) = event.error {
        write!(f, " {FD} {errno}")?;
    }
    match event.by {
        Some(task) => write!(f, " {BY} {}", names.0.task_name(task)),
        None => Ok(()),
    }
}

const BLOCKED: &str = "blocked";
const KILLED: &str = "killed";
const FD: &str = "fd";
const BY: &str = "by";

/// Reads what stands behind the arrow of a call that returns this.
pub(super) fn read_expect(
    cursor: &mut Cursor,
    names: &impl Resolve,
    returns: Returns,
) -> Result<Expect, ParseError> {
    if cursor.takes_word(BLOCKED) {
        return Ok(Expect::Blocked);
    }
    if cursor.takes_word(KILLED) {
        return Ok(Expect::Killed);
    }
    if at_errno(cursor) {
        return read_errno(cursor).map(Expect::Errno);
    }
    match cursor.peek() {
        Kind::Text(text) => {
            let text = text.clone();
            cursor.skip();
            return Ok(Expect::Text(text));
        }
        Kind::Number(digits) => {
            if let Ok(value) = digits.parse() {
                cursor.skip();
                return Ok(Expect::Value(value));
            }
        }
        _ => (),
    }
    match returns {
        Returns::Read if at_flag::<EventMask>(cursor) => read_events(cursor, names),
        Returns::Poll if at_flag::<PollFlags>(cursor) => read_flags(cursor).map(Expect::Poll),
        Returns::OpenFlags if at_flag::<OpenFlags>(cursor) => read_flags(cursor).map(Expect::Open),
        Returns::FdFlags if at_flag::<FdFlags>(cursor) => read_flags(cursor).map(Expect::FdFlags),
        _ => {
            let errnos = (1..=u8::MAX).map(|number| Errno(number.into()).to_string());
            let mut known: Vec<String> = errnos.filter(|name| name.starts_with('E')).collect();
            known.extend([BLOCKED, KILLED].map(str::to_owned));
            if returns == Returns::Read {
                known.extend(EventMask::all().iter_names().map(|(name, _)| name.to_owned()));
            }
            Err(cursor.error_near(&[returns.expected()], known.iter().map(String::as_str)))
        }
    }
}

fn read_events(cursor: &mut Cursor, names: &impl Resolve) -> Result<Expect, ParseError> {
    let mut events = Vec::new();
    loop {
        let mask = read_flags(cursor)?;
        let at_path = matches!(cursor.peek(), Kind::Word(word) if word != FD && word != BY);
        let path = if at_path { Some(read_inode(cursor)?) } else { None };
        let error = if cursor.takes_word(FD) { Some(read_errno(cursor)?) } else { None };
        let by = if cursor.takes_word(BY) {
            let Kind::Word(name) = cursor.peek() else { return Err(cursor.error(&["a task"])) };
            let task = names.task(cursor, name)?;
            cursor.skip();
            Some(task)
        } else {
            None
        };
        events.push(EventPattern { mask, error, path, by });
        if !cursor.takes(",") {
            return Ok(Expect::Events(events));
        }
    }
}

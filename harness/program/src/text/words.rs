//! Flag words: `OPEN_PERM | ONDIR | 0x80`.

use std::fmt::{self, Write};

use bitflags::Flags;
use bitflags::parser::{ParseHex, WriteHex, to_writer};
use refan_abi::{Errno, EventMask, FdFlags, InitFlags, MarkFlags, OpenFlags, PollFlags, Response};

use super::cursor::{Cursor, Kind};
use super::error::ParseError;

/// A vocabulary of flags.
pub(super) trait Vocabulary: Flags<Bits: ParseHex + WriteHex> {
    /// What one of its words is, in an error.
    const WHAT: &'static str;
    /// The word for a field of the flags whose bits are all clear, and that field.
    const ZERO: Option<(&'static str, Self)> = None;
}

impl Vocabulary for InitFlags {
    const WHAT: &'static str = "a flag of fanotify_init";
    const ZERO: Option<(&'static str, Self)> = Some(("CLASS_NOTIF", Self::CLASS));
}

impl Vocabulary for MarkFlags {
    const WHAT: &'static str = "a flag of fanotify_mark";
}

impl Vocabulary for EventMask {
    const WHAT: &'static str = "an event";
}

impl Vocabulary for OpenFlags {
    const WHAT: &'static str = "a flag of open";
    const ZERO: Option<(&'static str, Self)> = Some(("O_RDONLY", Self::ACCMODE));
}

impl Vocabulary for FdFlags {
    const WHAT: &'static str = "an fd flag";
}

impl Vocabulary for PollFlags {
    const WHAT: &'static str = "a poll event";
}

impl Vocabulary for Response {
    const WHAT: &'static str = "a response";
}

/// Writes the flags; none at all are `0`, or the vocabulary's word for that.
pub(super) fn write_flags<F: Vocabulary>(f: &mut fmt::Formatter<'_>, flags: &F) -> fmt::Result {
    let zero = F::ZERO.filter(|(_, field)| !flags.intersects(F::from_bits_retain(field.bits())));
    match zero {
        Some((word, _)) if flags.is_empty() => f.write_str(word),
        Some((word, _)) => {
            write!(f, "{word} | ")?;
            to_writer(flags, f)
        }
        None => write_bits(f, flags),
    }
}

/// Writes the flags without a word for a clear field: where it means nothing.
pub(super) fn write_bits<F: Vocabulary>(f: &mut fmt::Formatter<'_>, flags: &F) -> fmt::Result {
    if flags.is_empty() { f.write_char('0') } else { to_writer(flags, f) }
}

/// Writes a response: the error number stands last.
pub(super) fn write_response(f: &mut fmt::Formatter<'_>, response: Response) -> fmt::Result {
    let Some(errno) = response.errno() else { return write_bits(f, &response) };
    let rest = response.without_errno();
    if !rest.is_empty() {
        to_writer(&rest, &mut *f)?;
        f.write_str(" | ")?;
    }
    match errno.to_string() {
        name if name.starts_with('E') => write!(f, "errno({name})"),
        bare => f.write_str(&bare),
    }
}

/// Whether a word of this vocabulary stands here.
pub(super) fn at_flag<F: Vocabulary>(cursor: &Cursor) -> bool {
    match cursor.peek() {
        Kind::Word(word) => named::<F>(word).is_some(),
        Kind::Number(digits) => digits.starts_with("0x"),
        _ => false,
    }
}

/// Reads flags.
pub(super) fn read_flags<F: Vocabulary>(cursor: &mut Cursor) -> Result<F, ParseError> {
    let mut flags = F::empty();
    loop {
        flags = flags.union(read_flag(cursor)?);
        if !cursor.takes("|") {
            return Ok(flags);
        }
    }
}

/// Reads a response.
pub(super) fn read_response(cursor: &mut Cursor) -> Result<Response, ParseError> {
    let mut response = Response::empty();
    loop {
        response |= match cursor.peek() {
            Kind::Word(word) if word == "errno" => {
                let column = cursor.column();
                let errno = read_errno_in_parentheses(cursor)?;
                if errno.0 > 255 {
                    let found = format!("error number {}", errno.0);
                    return Err(cursor.error_at(column, found, &["one that fits a byte"]));
                }
                Response::deny_errno(errno).difference(Response::DENY)
            }
            _ => read_flag(cursor)?,
        };
        if !cursor.takes("|") {
            return Ok(response);
        }
    }
}

/// Whether an error number stands here.
pub(super) fn at_errno(cursor: &Cursor) -> bool {
    matches!(cursor.peek(), Kind::Word(word) if word == "errno" || word.parse::<Errno>().is_ok())
}

/// Reads an error number, `EIO` or `errno(200)`.
pub(super) fn read_errno(cursor: &mut Cursor) -> Result<Errno, ParseError> {
    match cursor.peek() {
        Kind::Word(word) if word == "errno" => read_errno_in_parentheses(cursor),
        Kind::Word(word) => {
            let errno = word.parse().map_err(|()| cursor.error(&["the name of an error"]))?;
            cursor.skip();
            Ok(errno)
        }
        _ => Err(cursor.error(&["the name of an error"])),
    }
}

/// Reads `errno(EIO)` or `errno(200)`.
fn read_errno_in_parentheses(cursor: &mut Cursor) -> Result<Errno, ParseError> {
    cursor.skip();
    cursor.mark("(")?;
    let expected = ["the name of an error", "its number"];
    let errno = match cursor.peek() {
        Kind::Word(name) => name.parse().ok(),
        Kind::Number(digits) => format!("errno({digits})").parse().ok(),
        _ => None,
    };
    let errno = errno.ok_or_else(|| cursor.error(&expected))?;
    cursor.skip();
    cursor.mark(")")?;
    Ok(errno)
}

fn read_flag<F: Vocabulary>(cursor: &mut Cursor) -> Result<F, ParseError> {
    let flag = match cursor.peek() {
        Kind::Word(word) => named(word),
        Kind::Number(digits) => match digits.strip_prefix("0x") {
            Some(hex) => F::Bits::parse_hex(hex).ok().map(F::from_bits_retain),
            None => (digits == "0").then(F::empty),
        },
        _ => None,
    };
    let names = F::FLAGS.iter().map(|flag| flag.name()).filter(|name| !name.is_empty());
    let known = names.chain(F::ZERO.map(|(word, _)| word));
    let flag = flag.ok_or_else(|| cursor.error_near(&[F::WHAT, "its bits as `0x…`"], known))?;
    cursor.skip();
    Ok(flag)
}

fn named<F: Vocabulary>(word: &str) -> Option<F> {
    if F::ZERO.is_some_and(|(zero, _)| zero == word) {
        return Some(F::empty());
    }
    let flag = F::FLAGS.iter().find(|flag| !word.is_empty() && flag.name() == word)?;
    Some(F::from_bits_retain(flag.value().bits()))
}

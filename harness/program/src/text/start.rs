//! Starts of branches: how each is printed and read.

use std::fmt;

use super::cursor::{Cursor, Kind};
use super::error::ParseError;
use crate::{Offset, Program, Start};

const SWEEP: &str = "sweep";
const PRIORITY: &str = "prio";
const UNIT: &str = "ns";

/// Writes a start with the `@` before it.
pub(super) fn write_start(f: &mut fmt::Formatter<'_>, start: Start) -> fmt::Result {
    match start.at {
        Offset::Nanoseconds(offset) => write!(f, "@ {offset}{UNIT}")?,
        Offset::Sweep => write!(f, "@ {SWEEP}")?,
    }
    match start.priority {
        LOWEST => Ok(()),
        priority => write!(f, " {PRIORITY} {priority}"),
    }
}

/// The priority that is not written.
const LOWEST: u8 = 1;

/// Reads what stands behind the `@`.
pub(super) fn read_start(cursor: &mut Cursor) -> Result<Start, ParseError> {
    let at = match cursor.peek() {
        Kind::Word(word) if word == SWEEP => Some(Offset::Sweep),
        Kind::Number(number) => {
            let digits = number.strip_suffix(UNIT).unwrap_or_default();
            digits.parse().ok().map(Offset::Nanoseconds)
        }
        _ => None,
    };
    let expected = format!("a time from `0{UNIT}` to `{}{UNIT}`", u32::MAX);
    let at = at.ok_or_else(|| cursor.error(&[&expected, "`sweep`"]))?;
    cursor.skip();
    let mut priority = LOWEST;
    if cursor.takes_word(PRIORITY) {
        let number = match cursor.peek() {
            Kind::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        let expected = format!("a priority, {LOWEST} to {}", Program::MAX_PRIORITY);
        priority = number.ok_or_else(|| cursor.error(&[&expected]))?;
        cursor.skip();
    }
    Ok(Start { at, priority })
}

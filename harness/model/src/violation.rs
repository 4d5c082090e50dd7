//! What judging can end with.

use std::fmt;

use refan_abi::{Errno, EventMask};
use refan_program::Rule;

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Index of the step during which it was seen.
    pub step: usize,
    /// What the contract allows there, in words.
    pub allowed: String,
    /// What the kernel did.
    pub observed: String,
    /// Of a `par` block the shortest part of what was seen that has no explanation, a line a
    /// moment; else empty.
    pub history: Vec<String>,
}

/// Why the model does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The kernel did what the contract does not allow.
    Broken(Violation),
    /// The model cannot tell; why. It never passes for *held*.
    Unjudgeable(String),
}

/// A result that the contract allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// This value.
    Value(i64),
    /// An fd number that the task has not in use.
    Fd,
    /// This error.
    Errno(Errno),
    /// Success with any value.
    Any,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(0) | Self::Any => f.write_str("success"),
            Self::Value(value) => write!(f, "{value}"),
            Self::Fd => f.write_str("a new fd"),
            Self::Errno(errno) => write!(f, "{errno}"),
        }
    }
}

/// `EBUSY or EMFILE`.
pub(crate) fn either(allowed: &[Allowed]) -> String {
    list(allowed, "nothing")
}

/// What a call returned, in words.
pub(crate) fn returned(value: i64) -> String {
    match Errno::from_return(value) {
        Some(errno) => errno.to_string(),
        None if value == 0 => "success".to_owned(),
        None => format!("success with {value}"),
    }
}

/// `a or b`, or a word for none.
pub(crate) fn list<T: fmt::Display>(items: &[T], none: &str) -> String {
    match items {
        [] => none.to_owned(),
        _ => items.iter().map(T::to_string).collect::<Vec<_>>().join(" or "),
    }
}

/// `OPEN_PERM | ONDIR`.
pub(crate) fn mask_text(mask: EventMask) -> String {
    let mut text = Vec::new();
    let mut rest = mask;
    for (name, flag) in mask.iter_names() {
        text.push(name.to_owned());
        rest.remove(flag);
    }
    if !rest.is_empty() || text.is_empty() {
        text.push(format!("{:#x}", rest.bits()));
    }
    text.join(" | ")
}

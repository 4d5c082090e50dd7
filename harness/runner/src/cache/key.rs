//! Keys: what went into an entry, as one hash.

use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// The key of an entry: the SHA-256, in hex, of everything that its content depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The key of a list of named parts. Names and lengths are hashed too, so that no two lists run together.
    pub fn of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut hash = Sha256::new();
        for (name, bytes) in parts {
            for field in [name.as_bytes(), bytes] {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field);
            }
        }
        Self::from_digest(hash.finalize().as_slice())
    }

    /// The key with the given 64 lower-case hex digits, `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The key as 64 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self(digest.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let key = |parts: &[(&str, &str)]| {
            Key::of(parts.iter().map(|(name, text)| (*name, text.as_bytes())))
        };
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", "b"), ("c", "d")]), key(&[("a", "bcd")]));
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
    }

    #[test]
    fn hex_is_checked() {
        let key = Key::of([("x", b"y".as_slice())]);
        assert_eq!(Key::from_hex(key.as_str()), Some(key));
        for bad in ["", "../x", &"A".repeat(64), &"0".repeat(63)] {
            assert_eq!(Key::from_hex(bad), None, "{bad}");
        }
    }
}

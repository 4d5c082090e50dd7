//! The binary form: what the fuzzer mutates and the agent executes.
//!
//! Any bytes are a program, so that no mutation is lost, and a valid program has one form that
//! decodes to it exactly. All numbers are little-endian.
//!
//! ```text
//! version   1 byte
//! step      operation   1 byte: a place in a table, or beyond its end one of the calls that take the
//!                       program further; 0xff ends the steps. Two operations are no calls: one begins a block, one
//!                       ends it
//!           actor       1 byte: `main` is 0, then the forked tasks (not of await, and of kill only
//!                       in a block)
//!           start       1 byte and what it asks for: of a branch's first step in a block
//!           arguments   of `spawn` the operation and the arguments of its call
//!           bind        1 byte: of calls that return an fd or events, what gets a name
//! text      the program's text form: only behind 0xff, and only where there are comments,
//!           expectations or names that the decoder would not give by itself
//! ```
//! A reference to an fd, event or task counts from the newest one that is there, those of the kind
//! that the call is made for alone where there are any. A flag word is a place in a table of
//! frequent words, or a bit for each named flag, or raw bits. Bytes that are missing at the end
//! are read as 0, and a step that is not valid where it stands is left out.
//!
//! A byte that is no place in its table is one of what is likely to be of use there, as far as the
//! steps before tell: random bytes go deep, and places, which alone are written, reach everything.

mod outlook;
mod read;
mod tables;
#[cfg(test)]
mod tests;
mod word;
mod write;

pub(crate) use read::{step_like, steps_behind, visible_vars};

use crate::Program;

/// Version of the form. The golden files tell when it must change.
const VERSION: u8 = 3;

/// The operation that ends the steps.
const END: u8 = 0xff;

/// Why bytes are not the binary form of a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is nothing.
    #[error("a program in binary form has at least one byte, and here is none")]
    Empty,
    /// Another version.
    #[error("the binary form has version {0}, and version {VERSION} is read here")]
    Version(u8),
    /// They decode to a program of which they are not the form.
    #[error("the bytes are not the form of the program that they decode to, from byte {0} on")]
    NotCanonical(usize),
}

impl Program {
    /// The binary form of a valid program.
    pub fn encode(&self) -> Vec<u8> {
        let bare = self.bare();
        let mut bytes = vec![VERSION];
        write::write_steps(&mut bytes, &bare);
        if bare != *self {
            bytes.push(END);
            bytes.extend_from_slice(self.to_string().as_bytes());
        }
        bytes
    }

    /// A valid program out of any bytes; of those that [`Program::encode`] gave, the same one.
    pub fn decode(bytes: &[u8]) -> Self {
        let (bare, text) = read::read_steps(bytes.get(1..).unwrap_or_default());
        // A text that tells of other steps, after a mutation of either, counts for nothing.
        let named = std::str::from_utf8(text).ok().and_then(|text| crate::parse(text).ok());
        named.filter(|program| program.bare() == bare).unwrap_or(bare)
    }

    /// The program of which these bytes are the binary form, and nothing but that.
    pub fn decode_exact(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first() {
            None => Err(DecodeError::Empty),
            Some(&VERSION) => {
                let program = Self::decode(bytes);
                let form = program.encode();
                if form == bytes {
                    return Ok(program);
                }
                let same = form.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                Err(DecodeError::NotCanonical(same))
            }
            Some(&version) => Err(DecodeError::Version(version)),
        }
    }
}

impl<'a> arbitrary::Arbitrary<'a> for Program {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = u.arbitrary_len::<u8>()?;
        u.bytes(len).map(Self::decode)
    }

    fn arbitrary_take_rest(u: arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self::decode(u.take_rest()))
    }
}

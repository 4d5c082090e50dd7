//! What a machine did before it ran a program.
//!
//! Groups of one class are asked in the order of their addresses, and where the kernel puts an object what
//! it did before decides. On the deterministic machine the same jobs since the same snapshot come to the
//! same: a finding that does not show on a fresh machine shows behind what ran there before it.

use refan_program::Program;

/// A thing that a machine was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// To run a program.
    Program(Program),
    /// To tell what programs have left behind.
    Account,
}

/// Bytes in front of each program: how long its binary form is.
const LENGTH: usize = size_of::<u32>();

/// All of them in binary form: each program's behind its length, the lowest byte first; a length of 0
/// stands for the accounting.
pub fn encode(earlier: &[Earlier]) -> Vec<u8> {
    let forms = earlier.iter().map(|one| match one {
        Earlier::Program(program) => program.bare().encode(),
        Earlier::Account => Vec::new(),
    });
    forms.flat_map(|form| [&(form.len() as u32).to_le_bytes()[..], &form].concat()).collect()
}

/// The reverse; none of bytes that are something else.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Earlier>> {
    let mut earlier = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at_checked(LENGTH)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (form, rest) = rest.split_at_checked(length)?;
        earlier.push(match form {
            [] => Earlier::Account,
            form => Earlier::Program(Program::decode_exact(form).ok()?),
        });
        bytes = rest;
    }
    Some(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let program = |text| Earlier::Program(refan_program::parse(text).expect("a program"));
        let some = [
            program("c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n"),
            Earlier::Account,
            program("open(f0, O_RDONLY)\n"),
        ];
        let bytes = encode(&some);
        assert_eq!(decode(&bytes).as_deref(), Some(&some[..]));
        assert_eq!(decode(&[]), Some(Vec::new()));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&[1, 0, 0]), None);
    }
}

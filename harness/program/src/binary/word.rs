//! Flag words: mostly from the vocabulary, and every bit within reach.

use bitflags::{Bits, Flags};

use super::read::Bytes;

/// From here on a byte says that a bit for each named flag follows.
const NAMED: u8 = 0xf0;
/// From here on, that raw bits follow.
const RAW: u8 = 0xfc;

/// Flags by their position among those with a name.
fn named<F: Flags>() -> impl Iterator<Item = F> {
    F::FLAGS
        .iter()
        .filter(|flag| !flag.name().is_empty())
        .map(|flag| F::from_bits_retain(flag.value().bits()))
}

fn named_len<F: Flags>() -> usize {
    named::<F>().count().div_ceil(8)
}

/// Bits of a flag word as bytes.
pub(super) trait RawBits: Bits {
    /// The bits out of what follows.
    fn read(bytes: &mut Bytes) -> Self;
    /// The bits as bytes.
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! raw_bits {
    ($($bits:ty),*) => {$(
        impl RawBits for $bits {
            fn read(bytes: &mut Bytes) -> Self {
                Self::from_le_bytes(bytes.array())
            }

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

raw_bits!(u32, u64);

/// A byte that is no place among the frequent words is one among the likely ones.
pub(super) fn read<F: Flags<Bits: RawBits> + Copy>(
    bytes: &mut Bytes,
    frequent: &[F],
    likely: &[F],
) -> F {
    match bytes.byte() {
        RAW.. => F::from_bits_retain(F::Bits::read(bytes)),
        NAMED.. => {
            let set: Vec<u8> = (0..named_len::<F>()).map(|_| bytes.byte()).collect();
            let chosen = named::<F>().enumerate().filter(|(i, _)| set[i / 8] & 1 << (i % 8) != 0);
            chosen.fold(F::empty(), |flags, (_, flag)| flags.union(flag))
        }
        place => match frequent.get(usize::from(place)) {
            Some(word) => *word,
            None => likely[usize::from(place) % likely.len()],
        },
    }
}

pub(super) fn write<F: Flags<Bits: RawBits> + Copy + PartialEq>(
    bytes: &mut Vec<u8>,
    flags: F,
    frequent: &[F],
) {
    if let Some(place) = frequent.iter().position(|&known| known == flags) {
        bytes.push(place as u8);
        return;
    }
    let mut set = vec![0; named_len::<F>()];
    let mut rest = flags;
    for (i, flag) in named::<F>().enumerate().filter(|(_, flag)| flags.contains(*flag)) {
        set[i / 8] |= 1 << (i % 8);
        rest.remove(flag);
    }
    if rest.is_empty() {
        bytes.push(NAMED);
        bytes.extend_from_slice(&set);
    } else {
        bytes.push(RAW);
        flags.bits().write(bytes);
    }
}

//! What decides where the naive kernel has a choice.

/// Choices by bytes as far as there are any, then by a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    bytes: std::vec::IntoIter<u8>,
}

impl Random {
    /// Choices that a seed decides.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, bytes: Vec::new().into_iter() }
    }

    /// Choices that bytes decide one by one, as a fuzzer gives them.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { state: bytes.len() as u64, bytes: bytes.into_iter() }
    }

    fn next(&mut self) -> u64 {
        if let Some(byte) = self.bytes.next() {
            return byte.into();
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

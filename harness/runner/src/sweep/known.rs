//! What the sweeps of a run know together.

use std::collections::{HashMap, HashSet};

/// What all sweeps of a run have found.
#[derive(Debug, Default)]
pub struct Known {
    /// The places that any of them has hit.
    pub hit: HashSet<u32>,
    /// Those that are out of reach in some sweep.
    pub out_of_reach: HashSet<u32>,
    /// Where bases were found that had passed the same places in the same order.
    found: HashMap<Passed, Found>,
}

/// The places that a base has passed, as a digest: bases that have passed the same are the same so
/// far, whatever preempts them then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Passed(u64);

/// Offsets at which it was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first one.
    pub first: u32,
    /// The last one.
    pub last: u32,
}

impl Known {
    /// Whether no sweep has hit a place and none has shown that it is out of reach.
    pub fn is_open(&self, place: u32) -> bool {
        !self.hit.contains(&place) && !self.out_of_reach.contains(&place)
    }

    /// A base that had passed this was found at the offset.
    pub fn note(&mut self, passed: Passed, offset: u32) {
        let found = self.found.entry(passed).or_insert(Found { first: offset, last: offset });
        found.first = found.first.min(offset);
        found.last = found.last.max(offset);
    }

    /// Where one was found that had passed this, if one was.
    pub fn found(&self, passed: Passed) -> Option<Found> {
        self.found.get(&passed).copied()
    }
}

impl Passed {
    /// The same and one place more.
    pub fn and(self, place: u32) -> Self {
        // FNV-1a, by words.
        Self((self.0 ^ 0xcbf2_9ce4_8422_2325 ^ u64::from(place)).wrapping_mul(0x0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_is_told_apart_by_its_order() {
        let of = |places: &[u32]| {
            places.iter().fold(Passed::default(), |passed, place| passed.and(*place))
        };
        let mut known = Known::default();
        for offset in [320, 160, 480] {
            known.note(of(&[1, 2]), offset);
        }
        assert_eq!(known.found(of(&[1, 2])), Some(Found { first: 160, last: 480 }));
        assert!([&[2, 1][..], &[1], &[1, 2, 2]].iter().all(|it| known.found(of(it)).is_none()));
    }
}

//! What the sweeps of a run know together.

use std::collections::HashSet;

/// What all sweeps of a run have found.
#[derive(Debug, Default)]
pub struct Known {
    /// The places that any of them has hit.
    pub hit: HashSet<u32>,
    /// Those that are out of reach in some sweep.
    pub out_of_reach: HashSet<u32>,
}

impl Known {
    /// Whether no sweep has hit a place and none has shown that it is out of reach.
    pub fn is_open(&self, place: u32) -> bool {
        !self.hit.contains(&place) && !self.out_of_reach.contains(&place)
    }
}

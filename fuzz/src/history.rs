//! The history checker, held against the naive kernel: what that does is allowed, and of what has
//! been changed the two say the same.

use refan_model::testing::naive::{Random, judge_changed, judge_right};

/// Has a history judged that the bytes decide.
pub fn check(data: &[u8]) {
    let Some((kind, choices)) = data.split_first() else { return };
    let random = Random::of_bytes(choices.to_vec());
    let agreement = if kind % 2 == 0 { judge_right(random) } else { judge_changed(random) };
    if let Err(what) = agreement {
        panic!("{what}");
    }
}

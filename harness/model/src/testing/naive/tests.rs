//! The model against the naive kernel.

use std::collections::BTreeMap;
use std::ops::Range;

use super::compare::{Agreement, judge_changed, judge_right};
use super::random::Random;

/// How many programs a test takes: so many times its everyday number as the variable
/// `REFAN_PROGRAMS_TIMES` says.
fn programs(everyday: u64) -> u64 {
    let times = std::env::var("REFAN_PROGRAMS_TIMES").map_or(1, |times| {
        times.parse().expect("REFAN_PROGRAMS_TIMES is how many times as many programs to try")
    });
    everyday * times
}

/// How often a comparison came to what.
fn count(
    seeds: Range<u64>,
    compare: impl Fn(u64) -> Result<Agreement, String>,
) -> BTreeMap<Agreement, u64> {
    let mut counts = BTreeMap::new();
    for seed in seeds {
        let agreed = compare(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        *counts.entry(agreed).or_default() += 1;
    }
    counts
}

/// Ten thousand programs, shared among as many threads as there are.
#[test]
fn the_model_allows_what_the_naive_kernel_does() {
    const SHARES: u64 = 4;
    let share = programs(2_500);
    let agree = move |at| {
        let counts = count(at * share..(at + 1) * share, |seed| judge_right(Random::new(seed)));
        counts.get(&Agreement::Untold).copied().unwrap_or_default()
    };
    let unjudgeable: u64 = std::thread::scope(|scope| {
        let shares: Vec<_> = (0..SHARES).map(|at| scope.spawn(move || agree(at))).collect();
        shares.into_iter().map(|share| share.join().expect("a share that agrees")).sum()
    });
    assert!(unjudgeable < SHARES * share / 50, "{unjudgeable} programs");
}

#[test]
fn the_model_forbids_what_no_order_explains() {
    let counts =
        count(0..programs(2000), |seed| judge_changed(Random::new(seed ^ 0x5eed_0000_0000)));
    let least = [(Agreement::Right, 101), (Agreement::Allowed, 31), (Agreement::Forbidden, 201)];
    assert!(least.iter().all(|(what, least)| counts.get(what) >= Some(least)), "{counts:?}");
}

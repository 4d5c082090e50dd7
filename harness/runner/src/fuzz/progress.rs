//! What a worker of a campaign tells its supervisor, one JSON object a line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Found;

/// What has happened since the worker began; of what is counted as distinct, only what is new since
/// the line before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Programs run.
    pub runs: u64,
    /// Those of which nothing was learnt, by why.
    pub unjudged: BTreeMap<String, u64>,
    /// Those of which the kernel reported nothing but what is known, by title.
    pub known: BTreeMap<String, u64>,
    /// Those that need what the kernel lacks, or too long; they were not run.
    pub unsupported: u64,
    /// Those of the runs that tried a race that was met before at another instant.
    pub races: u64,
    /// Machines that were started after the first one.
    pub restarts: u64,
    /// How many programs came to what ([`refan_model::Reached`] by name).
    pub reached: BTreeMap<String, u64>,
    /// New counters of edges.
    pub edges: Vec<u32>,
    /// New counters of the model's states.
    pub states: Vec<u32>,
    /// New places of the kernel, by number.
    pub places: Vec<u32>,
    /// New findings.
    pub findings: Vec<Found>,
    /// Programs that were run twice to compare their coverage.
    pub compared: u64,
    /// Those that did not have the same edges both times.
    pub unstable: u64,
    /// Where the time went.
    pub shares: Shares,
}

/// Where the time of a worker goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// The guest runs the programs' calls, and waits for quiescence after each.
    pub guest: Duration,
    /// The guest counts what programs have left.
    pub accounting: Duration,
    /// Jobs, traces and counters are copied, encoded and decoded.
    pub transport: Duration,
    /// The model judges.
    pub judging: Duration,
    /// Machines are started.
    pub restore: Duration,
    /// Findings are confirmed.
    pub confirming: Duration,
    /// All since the worker began; what is not named above is the engine's.
    pub total: Duration,
}

impl Shares {
    /// Adds those of another worker.
    pub fn add(&mut self, other: &Self) {
        self.guest += other.guest;
        self.accounting += other.accounting;
        self.transport += other.transport;
        self.judging += other.judging;
        self.restore += other.restore;
        self.confirming += other.confirming;
        self.total += other.total;
    }

    /// Each with its name, as a share of all.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let named = [
            ("guest", self.guest),
            ("accounting", self.accounting),
            ("transport", self.transport),
            ("judging", self.judging),
            ("restore", self.restore),
            ("confirming", self.confirming),
        ];
        let known: Duration = named.iter().map(|(_, time)| *time).sum();
        let total = self.total.max(known).as_secs_f64().max(f64::MIN_POSITIVE);
        let engine = ("engine", self.total.saturating_sub(known));
        let all = named.into_iter().chain([engine]);
        all.map(|(name, time)| (name, time.as_secs_f64() / total)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_all() {
        let seconds = Duration::from_secs;
        let mut shares = Shares { guest: seconds(3), total: seconds(4), ..Shares::default() };
        shares.add(&Shares { judging: seconds(1), total: seconds(4), ..Shares::default() });
        let named: BTreeMap<_, _> = shares.named().into_iter().collect();
        assert_eq!((named["guest"], named["judging"], named["engine"]), (0.375, 0.125, 0.5));
    }
}

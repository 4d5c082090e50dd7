//! How long sweeps go on.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What all sweeps of a run have together.
#[derive(Debug)]
pub enum Budget {
    /// So many runs each.
    Runs(u32),
    /// An amount of time, in equal shares of what is left.
    Time(Mutex<Shares>),
    /// Each goes on until there is nothing left to try.
    Full,
}

/// Time that is shared out.
#[derive(Debug)]
pub struct Shares {
    until: Instant,
    sweeps: u32,
    machines: u32,
}

/// When one sweep ends, if not before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    runs: Option<u32>,
    until: Option<Instant>,
}

impl Default for Budget {
    /// Enough to see whether calls race at all.
    fn default() -> Self {
        Self::Runs(8)
    }
}

impl Budget {
    /// Shares `time` from now on among so many sweeps on so many machines.
    pub fn time(time: Duration, sweeps: usize, machines: usize) -> Self {
        let (sweeps, machines) = (sweeps as u32, machines as u32);
        Self::Time(Mutex::new(Shares { until: Instant::now() + time, sweeps, machines }))
    }

    /// The share of the next sweep.
    pub fn next(&self) -> Limit {
        match self {
            Self::Runs(runs) => Limit { runs: Some(*runs), until: None },
            Self::Full => Limit::default(),
            Self::Time(shares) => {
                let now = Instant::now();
                // Who panicked with it has left a whole number.
                let mut shares = shares.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let left = shares.until.saturating_duration_since(now);
                let until = now + left * shares.machines.min(shares.sweeps) / shares.sweeps.max(1);
                shares.sweeps = shares.sweeps.saturating_sub(1);
                Limit { runs: None, until: Some(until.min(shares.until)) }
            }
        }
    }
}

impl Limit {
    /// Whether a sweep ends after so many runs.
    pub fn is_reached(&self, runs: u32) -> bool {
        self.runs.is_some_and(|most| runs >= most)
            || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_shared_out() {
        let budget = Budget::time(Duration::from_secs(100), 4, 2);
        let left = || {
            let until = budget.next().until.expect("a limit");
            until.saturating_duration_since(Instant::now()).as_secs()
        };
        // Nobody uses its share, so the later ones get more.
        let shares = [left(), left(), left(), left()];
        assert!(shares[0].abs_diff(50) <= 1 && shares[1].abs_diff(66) <= 1, "{shares:?}");
        assert!(shares[2].abs_diff(100) <= 1 && shares[3].abs_diff(100) <= 1, "{shares:?}");
        assert!(Budget::Runs(2).next().is_reached(2) && !Budget::Runs(2).next().is_reached(1));
        assert!(!Budget::Full.next().is_reached(u32::MAX));
    }
}

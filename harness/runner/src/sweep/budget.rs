//! How long sweeps go on.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What all sweeps of a run have together.
#[derive(Debug)]
pub struct Budget {
    amount: Amount,
    /// The places that any of them has hit.
    hit: Mutex<HashSet<u32>>,
}

#[derive(Debug)]
enum Amount {
    /// So many runs each.
    Runs(u32),
    /// An amount of time, in equal shares of what is left.
    Time(Mutex<Shares>),
    /// Each goes on until there is nothing left to try.
    Full,
}

/// Time that is shared out.
#[derive(Debug)]
struct Shares {
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
        Self::of(Amount::Runs(8))
    }
}

impl Budget {
    fn of(amount: Amount) -> Self {
        Self { amount, hit: Mutex::default() }
    }

    /// Each sweep goes on until there is nothing left to try.
    pub fn full() -> Self {
        Self::of(Amount::Full)
    }

    /// Shares `time` from now on among so many sweeps on so many machines.
    pub fn time(time: Duration, sweeps: usize, machines: usize) -> Self {
        let (sweeps, machines) = (sweeps as u32, machines as u32);
        let until = Instant::now() + time;
        Self::of(Amount::Time(Mutex::new(Shares { until, sweeps, machines })))
    }

    /// The share of the next sweep.
    pub fn next(&self) -> Limit {
        match &self.amount {
            Amount::Runs(runs) => Limit { runs: Some(*runs), until: None },
            Amount::Full => Limit::default(),
            Amount::Time(shares) => {
                let now = Instant::now();
                let mut shares = locked(shares);
                let left = shares.until.saturating_duration_since(now);
                let until = now + left * shares.machines.min(shares.sweeps) / shares.sweeps.max(1);
                shares.sweeps = shares.sweeps.saturating_sub(1);
                Limit { runs: None, until: Some(until.min(shares.until)) }
            }
        }
    }
}

impl Budget {
    /// Asks something about the places that any sweep has hit.
    pub fn with_hit<T>(&self, ask: impl FnOnce(&HashSet<u32>) -> T) -> T {
        ask(&locked(&self.hit))
    }

    /// Adds a place to those that were hit.
    pub fn add_hit(&self, place: u32) {
        locked(&self.hit).insert(place);
    }
}

/// Who panicked with it has left it whole: each change is one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
        let runs = Budget::of(Amount::Runs(2));
        assert!(runs.next().is_reached(2) && !runs.next().is_reached(1));
        assert!(!Budget::full().next().is_reached(u32::MAX));
    }
}

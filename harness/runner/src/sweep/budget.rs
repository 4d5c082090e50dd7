//! How far sweeps go.

use std::time::Duration;

/// How far the sweeps of a run go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// So many runs each.
    Runs(u32),
    /// An amount of time for all together. Each is run once, however long that takes.
    Time(Duration),
    /// Until there is nothing left to try.
    Full,
}

impl Default for Budget {
    /// Enough to see whether calls race at all.
    fn default() -> Self {
        Self::Runs(8)
    }
}

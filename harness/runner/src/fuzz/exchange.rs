//! What a campaign and the process that exchanges its corpus with a store tell each other, one JSON object a
//! line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A finding that others shall know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToShare {
    /// What it has in common with others.
    pub title: String,
    /// Where it is kept.
    pub folder: PathBuf,
}

/// How the exchange goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Exchanged {
    /// All that the store has is here.
    Ready {
        /// Entries that were not here before.
        pulled: usize,
    },
    /// Something did not work, and is tried again.
    Failed {
        /// Why.
        why: String,
    },
    /// All that is here is in the store.
    End {
        /// Entries that came from the store.
        pulled: usize,
        /// Entries that went there.
        pushed: usize,
        /// Findings that went there.
        findings: usize,
    },
}

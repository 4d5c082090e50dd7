//! Why there is no kernel.

use refan_runner::cache;
use std::io;
use std::path::Path;

/// Why there is no kernel, sorted by what it means for the run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for does not exist or makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The host lacks a program, or room.
    #[error("{0}")]
    HostLacks(String),
    /// No source, no configuration or no build came out: there can be no verdict.
    #[error("{0}")]
    NoKernel(String),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

impl Error {
    /// Whether it is up to the user or the host (exit status 2) and not a run without verdict (3).
    #[must_use]
    pub fn is_usage_or_host(&self) -> bool {
        match self {
            Self::Usage(_) | Self::HostLacks(_) => true,
            Self::NoKernel(_) => false,
            Self::Cache(error) => {
                !matches!(error, cache::Error::Busy { .. } | cache::Error::Io { .. })
            }
        }
    }

    /// An I/O error on a path; a full disk is told apart.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match cache::Error::io(action, path, source) {
            cache::Error::Io { action, path, source } => {
                Self::NoKernel(format!("cannot {action} {}: {source}", path.display()))
            }
            other => Self::Cache(other),
        }
    }

    /// A program could not be started.
    pub(super) fn start(program: &str, source: &io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            Self::HostLacks(format!(
                "{program} is not installed: `cargo xtask doctor` names its package"
            ))
        } else {
            Self::NoKernel(format!("cannot start {program}: {source}"))
        }
    }
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, Error>;

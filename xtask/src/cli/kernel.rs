//! `kernel` and `doctor`.

use clap::{Args, Subcommand};

use super::Machine;

/// `kernel`.
#[derive(Debug, Subcommand)]
pub enum Kernel {
    /// Bases, series and targets, and what the cache holds
    List,
    /// Build a kernel and print where it is
    #[command(after_help = "Example:\n  cargo xtask kernel build --target kasan")]
    Build(Machine),
    /// Print the configuration that a kernel is built with
    Config(Machine),
    /// Empty the cache
    Clean,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Install what is missing with the host's package manager
    #[arg(long)]
    pub install: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

//! `mutants` and `rules`.

use std::time::Duration;

use clap::Args;

use super::Machine;
use super::duration::duration;

/// `mutants`.
#[derive(Debug, Args)]
pub struct Mutants {
    /// Names in kernel-configs/mutants/mutants.toml, or of mechanical ones; all if none is named
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Run every scenario on every mutant, not only up to the first one that sees it
    #[arg(long)]
    pub full: bool,
    /// In place of the bugs made by hand each line of the series as rules change it
    #[arg(long)]
    pub mechanical: bool,
    /// In place of the suites a campaign from an empty corpus on each, up to what it finds first
    #[arg(long, conflicts_with = "full")]
    pub fuzz: bool,
    /// How long a campaign may take
    #[arg(long, requires = "fuzz", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub time: Duration,
    /// Seed of a campaign's first worker; each further one has the next
    #[arg(long, requires = "fuzz", value_name = "N", default_value_t = 1)]
    pub seed: u32,
    /// Make the patch of the mechanical mutants anew from the series
    #[arg(long, requires = "mechanical", conflicts_with_all = ["names", "full", "fuzz", "json"])]
    pub generate: bool,
    /// Write into kernel-configs/mutants/killed.toml by what each was killed; `rules` reads it
    #[arg(long, conflicts_with_all = ["mechanical", "fuzz"])]
    pub write: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// `rules`.
#[derive(Debug, Args)]
pub struct Rules {
    /// One JSON object a line
    #[arg(long, conflicts_with = "write")]
    pub json: bool,
    /// Write the table into docs/rules.md
    #[arg(long)]
    pub write: bool,
}

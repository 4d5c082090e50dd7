//! `test`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Machine;
use super::Output;
use super::duration::duration;

/// `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Suites (`queue`), scenarios (`queue/one`) or files; all suites if none is named
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// How results are printed.
    #[command(flatten)]
    pub output: Output,
    /// Install what the host lacks before anything else
    #[arg(long)]
    pub install_deps: bool,
    /// End with a status for `git bisect run`: 125, which skips the commit, where its kernel does not build
    /// or boot or has no verdict for another reason; 128, which stops, where the call or the host is wrong
    #[arg(long)]
    pub bisect: bool,
    /// Test a kernel with a seeded bug: a name in kernel-configs/mutants/mutants.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["series", "bzimage"])]
    pub mutant: Option<String>,
    /// Run programs without the feature on a kernel of this series too; the traces must be the same
    #[arg(long, value_name = "SERIES")]
    pub against: Option<String>,
    /// Run so many random programs in place of the suites
    #[arg(long, value_name = "N", conflicts_with = "scenarios")]
    pub random: Option<u64>,
    /// What random programs are made of
    #[arg(long, value_enum, default_value_t, requires = "random")]
    pub kind: Kind,
    /// Seed of random programs
    #[arg(long, value_name = "N", default_value_t = 1, requires = "random")]
    pub seed: u64,
    /// Build and prepare everything, run no scenario
    #[arg(long)]
    pub prepare: bool,
    /// How far branches `@ sweep` are swept: a time for all of them together, or `full`
    ///
    /// A sweep runs its scenario with the branch at one offset after another, so that it preempts the
    /// others at each place of the kernel that they pass (known where the kernel has KCOV, as of target
    /// `kasan`). Sweeps that are named get 8 runs each unless a time is given, which goes where most
    /// places are that no sweep has hit, or `full`: until no place is left; without a name or a time
    /// none is run. Where time is not virtual (`--target kasan --machine smp`), a sweep is 20 runs, and
    /// how many of them raced and came to what is told.
    #[arg(long, value_name = "DURATION|full", value_parser = sweep)]
    pub sweep: Option<Sweep>,
}

/// How far sweeps go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// All together for so long.
    For(Duration),
    /// To the end.
    Full,
}

fn sweep(text: &str) -> Result<Sweep, String> {
    if text == "full" {
        return Ok(Sweep::Full);
    }
    duration(text).map(Sweep::For).map_err(|error| format!("{error}, or `full`"))
}

/// Kinds of random programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Any calls, one after another
    #[default]
    Sequential,
    /// Any calls, blocks among them
    Blocks,
    /// Calls one after another on groups without the feature
    Classic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_bounded_by_time_or_not_at_all() {
        assert_eq!(sweep("full"), Ok(Sweep::Full));
        assert_eq!(sweep("90s"), Ok(Sweep::For(Duration::from_secs(90))));
        assert_eq!(sweep("5m"), sweep("300s"));
        assert!(sweep("5").is_err() && sweep("m").is_err() && sweep("1.5h").is_err());
    }
}

//! `bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::Machine;
use super::duration::duration;

/// `bench`.
#[derive(Debug, Args)]
pub struct AllFigures {
    /// One of them, at length.
    #[command(subcommand)]
    pub one: Option<Bench>,
    /// Measure the cold start, too: a kernel is fetched and built into a cache of its own
    #[arg(long)]
    pub cold: bool,
    /// Say how each has changed since the run that printed this file with --json
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// One figure of `bench`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Boot to agent-ready, beside a bare init
    #[command(after_help = "Example:\n  cargo xtask bench boot --runs 50")]
    Boot(Measure),
    /// Restore to agent-ready, beside the boot of a guest of a few instructions
    #[command(after_help = "Example:\n  cargo xtask bench restore --target kasan")]
    Restore(Measure),
    /// The rate of the fuzzer, beside what the guest does alone
    ///
    /// One worker fuzzes from the scenarios; then the machine runs the same programs with neither
    /// coverage nor a host that looks at them. A restart by a program is held against its bare calls.
    #[command(
        after_help = "Example:\n  cargo xtask bench fuzz --time 1m",
        mut_arg("target", |target| target.default_value("kasan"))
    )]
    Fuzz(MeasureFuzz),
    /// Kernel reports, hangs and deaths on purpose, one machine after another
    ///
    /// Each is held against what is known of its bug: title, line of the source, or that there is no
    /// verdict. Beyond the first of each, what this process holds of the host must not grow. Exit status: 0
    /// all were told as what they are, 1 one was not, or something grew.
    #[command(after_help = "Examples:\n  cargo xtask bench crashes --runs 200\n  \
        cargo xtask bench crashes hung-task --logs harness/runner/tests/kernel_logs")]
    Crashes(Crashes),
    /// What campaigns find from nothing, made small: steps, time, as C, as scenarios
    ///
    /// A campaign on each bug goes on up to its first finding. That is minimized and kept; its C file is
    /// compiled by plain cc and run in the kernel with the bug and in the one without, its scenario on both
    /// of `fast` and `kasan`, and the least program 100 times. Exit status: 0 all is within its limit, 1
    /// something is not.
    #[command(after_help = "Examples:\n  cargo xtask bench minimize\n  \
        cargo xtask bench minimize drop-at-release order-reversed --time 2m")]
    Minimize(Minimizations),
}

/// `bench minimize`.
#[derive(Debug, Args)]
pub struct Minimizations {
    /// Bugs of kernel-configs/mutants/mutants.toml; ten if none is named
    #[arg(value_name = "BUG")]
    pub bugs: Vec<String>,
    /// How long each is searched for at most
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    pub time: Duration,
}

/// `bench crashes`.
#[derive(Debug, Args)]
pub struct Crashes {
    /// Bugs of kernel-configs/series/provoke/bugs.toml; all that the target tells if none is named
    #[arg(value_name = "BUG")]
    pub bugs: Vec<String>,
    /// Crashes, of each bug at least one
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub runs: u32,
    /// Kernel target, one with debug information and checkers
    #[arg(long, default_value = "kasan", value_name = "NAME")]
    pub target: String,
    /// Write what the kernel printed into this folder
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
}

/// How long to measure, on what.
#[derive(Debug, Args)]
pub struct MeasureFuzz {
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// How long to fuzz; restarts are made for a sixth of it each
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = duration)]
    pub time: Duration,
    /// Seed of the engine
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// How often to measure, on what.
#[derive(Debug, Args)]
pub struct Measure {
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Runs of each kind
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub runs: u32,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

//! `fuzz`.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::Machine;
use super::duration::duration;

/// `fuzz`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("extent").args(["time", "runs", "minimize"]).required(true).multiple(true))]
pub struct Fuzz {
    /// How long: `90s`, `10m`, `1h`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub time: Option<Duration>,
    /// How many programs
    #[arg(long, value_name = "N")]
    pub runs: Option<u64>,
    /// Workers side by side [default: as many as the host has processors for]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroU16>,
    /// Seed of the first worker; each further one has the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    /// Folder of the corpus [default: in the cache, one a target]
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Share the corpus with campaigns on other machines: a folder, or s3://BUCKET/PREFIX, gs://…, az://…
    ///
    /// Entries that others have added are taken as long as the campaign runs; its own, and its findings, go
    /// there. Keys and endpoints are taken from the environment (AWS_…, GOOGLE_…, AZURE_…).
    #[arg(long, value_name = "URL|DIR", conflicts_with = "minimize")]
    pub store: Option<String>,
    /// Do not add the scenarios to the corpus
    #[arg(long)]
    pub no_seeds: bool,
    /// Folder or file of the kernel's source to cover beside fs/notify
    #[arg(long, value_name = "DIR")]
    pub cover: Vec<String>,
    /// Search a kernel with a seeded bug: a name in kernel-configs/mutants/mutants.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["series", "bzimage"])]
    pub mutant: Option<String>,
    /// Run no campaign, and make the corpus small: fewer entries of fewer steps that cover the same
    ///
    /// It takes as long as it takes, or --time.
    #[arg(long, conflicts_with_all = ["runs", "jobs", "seed", "no_seeds", "mutant", "json"])]
    pub minimize: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
}

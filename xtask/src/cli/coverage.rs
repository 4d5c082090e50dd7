//! `coverage` and `site`.

use std::path::PathBuf;

use clap::Args;

use super::Machine;

/// `coverage`.
#[derive(Debug, Args)]
pub struct Coverage {
    /// Suites (`queue`), scenarios (`queue/one`) or files; all suites if none is named
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Run the programs of this corpus, too
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Run no scenarios
    #[arg(long, requires = "corpus", conflicts_with = "scenarios")]
    pub no_suites: bool,
    /// Tell what is passed otherwise than in an earlier run: its site or its coverage.json
    #[arg(long, value_name = "DIR|FILE")]
    pub compare: Option<PathBuf>,
    /// Folder of the site [default: target/refan/site]
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// `site`.
#[derive(Debug, Args)]
pub struct Site {
    /// Its folder [default: target/refan/site]
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
}

//! `ci`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration::duration;

/// `ci`.
#[derive(Debug, Subcommand)]
pub enum Ci {
    /// Lint, tests, and the suites on `fast` and `kasan`
    Pr {
        /// Install what the host lacks before anything else
        #[arg(long)]
        install_deps: bool,
    },
    /// A campaign for so long; green unless it finds what is not known
    ///
    /// What kernel-configs/known.toml names is known. Each other finding is made small, for as long
    /// as the campaign at most, and left in a folder for upload together with the text of an issue and a
    /// report. Exit status: 0 nothing new, 1 something new, 3 no verdict.
    #[command(after_help = "Examples:\n  cargo xtask ci nightly --time 2m\n  \
        cargo xtask ci nightly --time 4h --corpus corpus -- --target kcov --jobs 4")]
    Nightly(Nightly),
}

/// `ci nightly`.
#[derive(Debug, Args)]
pub struct Nightly {
    /// How long the campaign lasts: `90s`, `10m`, `1h`
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub time: Duration,
    /// Folder of the corpus, kept between nights [default: in the cache, one a target]
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// Folder of the results; those of an earlier night are deleted [default: target/refan/nightly]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Install what the host lacks before anything else
    #[arg(long)]
    pub install_deps: bool,
    /// Further options of `fuzz`
    #[arg(last = true, value_name = "OPTION")]
    pub fuzz: Vec<OsString>,
}

//! `repro` and `minimize`: a finding, and what is done with it.

use std::path::{Path, PathBuf};

use clap::Args;

/// A finding, and where it is run.
#[derive(Debug, Args)]
pub struct Finding {
    /// Folder of the finding
    #[arg(value_name = "ARTIFACT")]
    pub artifact: PathBuf,
    /// Kernel target [default: the finding's]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Patch series, `none` for the base as it is [default: the finding's; none with --kernel-src]
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
    /// Kernel tree to build, as it stands; it is not modified
    #[arg(long, value_name = "DIR", conflicts_with = "bzimage")]
    pub kernel_src: Option<PathBuf>,
    /// Kernel image to boot; it is judged by what it supports
    #[arg(long, value_name = "FILE")]
    pub bzimage: Option<PathBuf>,
    /// Use only what the cache holds
    #[arg(long)]
    pub offline: bool,
}

impl Finding {
    /// As it was found.
    pub fn as_found(artifact: &Path) -> Self {
        let artifact = artifact.to_owned();
        Self {
            artifact,
            target: None,
            series: None,
            kernel_src: None,
            bzimage: None,
            offline: false,
        }
    }
}

/// `repro`.
#[derive(Debug, Args)]
pub struct Repro {
    /// The finding.
    #[command(flatten)]
    pub finding: Finding,
    /// Runs, each on a freshly restored machine
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Run it once and print each call, what it came to, who slept and woke, and what was expected
    #[arg(long, conflicts_with_all = ["runs", "replay"])]
    pub trace: bool,
    /// Run it so often and hold trace and console, to the nanosecond, against the first run
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20",
        value_parser = clap::value_parser!(u32).range(2..), conflicts_with = "runs")]
    pub replay: Option<u32>,
    /// Stop it for gdb, at the call that is wrong or the kernel's first report, and print how gdb attaches
    #[arg(long, conflicts_with_all = ["runs", "trace", "replay"])]
    pub gdb: bool,
    /// With --gdb: stop where the call of this step enters the kernel, or where this function of the kernel is
    /// entered first
    ///
    /// Up to a function it is the same run to the nanosecond. On its way to a step it stops at the calls before
    /// it, and each time virtual time moves on to the next timer: races do not replay there.
    #[arg(long, value_name = "STEP|FUNCTION", requires = "gdb", value_parser = at)]
    pub at: Option<At>,
    /// Write it as a C program, which needs nothing but a compiler
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "trace", "replay"])]
    pub c: Option<PathBuf>,
    /// Write it as a test for the kernel's tools/testing/selftests/filesystems/fanotify
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "trace", "replay"])]
    pub kselftest: Option<PathBuf>,
}

/// Where a run stops for gdb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Where the call of this step, from 1, enters the kernel.
    Step(u16),
    /// Where this function of the kernel is entered first.
    Function(String),
}

fn at(text: &str) -> Result<At, String> {
    match text.parse() {
        Ok(0) => Err("steps are counted from 1".to_owned()),
        Ok(step) => Ok(At::Step(step)),
        Err(_) if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
            Ok(At::Function(text.to_owned()))
        }
        Err(_) => Err("expected the number of a step or the name of a function".to_owned()),
    }
}

/// `minimize`.
#[derive(Debug, Args)]
pub struct Minimize {
    /// The finding.
    #[command(flatten)]
    pub finding: Finding,
    /// Write the least program as a scenario to this file, too
    #[arg(long, value_name = "FILE")]
    pub scn: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gdb_stops_at_a_step_or_a_function() {
        assert_eq!(at("3"), Ok(At::Step(3)));
        assert_eq!(at("fanotify_read"), Ok(At::Function("fanotify_read".to_owned())));
        assert!(at("0").is_err() && at("-1").is_err() && at("").is_err());
    }
}

//! What a campaign is to pass of the kernel's source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use refan_runner::Prepared;
use refan_runner::coverage::{Code, Exclusions, LineGoals, PassedLines, Report, added_lines};
use refan_runner::prepared::KERNEL_SOURCES;

use crate::{cli, prepare};

/// The source under test.
pub struct Source {
    /// Its functions.
    pub code: Code,
    passed: PassedLines,
    goals: LineGoals,
}

impl Source {
    /// That of a kernel: what is watched of it, and the lines of the series that it was built with.
    pub fn of(
        repository: &Path,
        options: &cli::Machine,
        prepared: &Prepared,
        code: Code,
    ) -> Result<Self> {
        let sources = prepared.image.with_file_name(KERNEL_SOURCES);
        let added = of_series(repository, options)?;
        let goals = LineGoals::new(&sources, exclusions(repository)?, added);
        Ok(Self { passed: PassedLines::of(prepared, &code)?, code, goals })
    }

    /// How many of the lines that are to be covered were, by what was passed.
    pub fn lines(&self, places: &BTreeSet<u32>, edges: &BTreeSet<u32>) -> Result<Report> {
        let lines = self.passed.covered(places, edges);
        self.goals.report(&lines).context("the source of the kernel")
    }
}

/// The lines that the series has added to the kernel that is asked for, by file.
pub fn of_series(
    repository: &Path,
    options: &cli::Machine,
) -> Result<BTreeMap<String, BTreeSet<u32>>> {
    let series = prepare::configs(repository).series(&prepare::request(options).series)?;
    let patches: Vec<_> =
        series.patches.iter().map(|patch| String::from_utf8_lossy(&patch.bytes)).collect();
    Ok(added_lines(patches.iter().map(AsRef::as_ref)))
}

/// The lines that no program is to reach.
pub fn exclusions(repository: &Path) -> Result<Exclusions> {
    Exclusions::read(&repository.join("kernel-configs/coverage/exclusions.toml"))
}

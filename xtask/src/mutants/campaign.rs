//! Campaigns against mutants: how long a search from nothing takes to find each.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use xtask::kernel::Progress;

use super::matrix::Matrix;
use super::{Kernels, Mutant, of_series, terminal};
use crate::exit::usage;
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{cli, fuzz};

/// Makes sure that campaigns on a target know what they reach.
pub fn check_target(repository: &Path, target: &str) -> Result<()> {
    if prepare::configs(repository).target(target)?.coverage.is_empty() {
        return Err(usage(format!(
            "kernels of target {target} do not tell what a campaign reaches: --target kcov, which is \
             quick, or --target kasan"
        )));
    }
    Ok(())
}

/// Runs a campaign from an empty corpus on each mutant, up to what it finds first, and one on each of their
/// kernels without a bug; nothing where that one finds something.
pub fn run(
    repository: &Path,
    mutants: &[(&str, &Mutant)],
    kernels: &mut Kernels,
    arguments: &cli::Mutants,
    steps: &Steps,
) -> Result<Option<Matrix>> {
    steps.phase("build the fuzz target");
    let target = fuzz::build(repository)?;
    steps.done();
    let campaign = |series: &str, ready: &Ready| {
        let folder = tempfile::tempdir().context("cannot make a folder for a corpus")?;
        let arguments = cli::Fuzz {
            time: Some(arguments.time),
            runs: None,
            jobs: None,
            seed: arguments.seed,
            corpus: Some(folder.path().join("corpus")),
            no_seeds: true,
            cover: Vec::new(),
            store: None,
            mutant: None,
            minimize: false,
            json: false,
            machine: of_series(series, &arguments.machine),
        };
        fuzz::first(repository, &arguments, ready, &target, steps)
    };
    let mut matrix = Matrix::default();
    let switched = mutants.iter().filter(|(_, mutant)| mutant.switch.is_some());
    let series: BTreeSet<&str> = switched.map(|(name, mutant)| mutant.series(name)).collect();
    for series in series {
        let ready = kernels.get_mut(series).context("a kernel that was prepared")?;
        ready.prepared.mutant = Some(0);
        let first = campaign(series, ready)?;
        if let Some(found) = first.found {
            eprintln!("  {}\n{}", found.key, found.verdict);
            return Ok(None);
        }
        matrix.unmutated.programs += first.runs;
    }
    for (name, mutant) in mutants {
        let series = mutant.series(name);
        let ready = kernels.get_mut(series).context("a kernel that was prepared")?;
        ready.prepared.mutant = mutant.switch;
        matrix.add_campaign(name, mutant, &campaign(series, ready)?);
        let line = matrix.rows.last().map(terminal::line).unwrap_or_default();
        steps.note(&format!("{} of {}: {line}", matrix.rows.len(), mutants.len()));
    }
    Ok(Some(matrix))
}

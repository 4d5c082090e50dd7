//! The suites against mutants, and against their kernel without a bug.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Prepared, Verdict, pool};
use xtask::kernel::Progress;

use super::matrix::{Matrix, Unmutated};
use super::order::in_order;
use super::run::{self, Fate, Job};
use super::{Kernels, Mutant, SERIES, mechanical, terminal};
use crate::steps::Steps;
use crate::{cli, select};

/// Judges each mutant by the scenarios; nothing where the kernel without a bug does not hold them.
pub fn run(
    repository: &Path,
    mutants: &[(&str, &Mutant)],
    kernels: &Kernels,
    arguments: &cli::Mutants,
    steps: &Steps,
) -> Result<Option<Matrix>> {
    let scenarios = select::scenarios(repository, &[])?;
    let mut matrix = Matrix::default();
    let with_switch = |series: &str, switch| {
        let prepared = &kernels[series].prepared;
        Prepared { mutant: switch, ..prepared.clone() }
    };
    // The same kernel without a bug: it has to hold what its mutants are judged by, and what programs
    // without the feature do on it is what they should do.
    let switched = if arguments.mechanical { mechanical::SERIES } else { SERIES };
    let unmutated = kernels.contains_key(switched).then(|| with_switch(switched, Some(0)));
    let jobs: Vec<Job> = mutants
        .iter()
        .map(|&(name, mutant)| Job {
            name,
            mutant,
            prepared: with_switch(mutant.series(name), mutant.switch),
            reference: unmutated.as_ref().filter(|_| mutant.switch.is_some()),
            scenarios: in_order(&scenarios, mutant, arguments.full),
        })
        .collect();
    // Sweeps are many runs each: without `--full` the kernel without a bug has to hold just those by
    // which a mutant was killed.
    let (at_once, later): (Vec<Scenario>, Vec<Scenario>) = scenarios
        .iter()
        .cloned()
        .partition(|scenario| arguments.full || scenario.program.swept().is_none());
    let unmutated_holds = |scenarios: &[Scenario], count: &mut Unmutated| match &unmutated {
        Some(unmutated) if !scenarios.is_empty() => holds(unmutated, scenarios, count, steps),
        _ => Ok(true),
    };
    if !unmutated_holds(&at_once, &mut matrix.unmutated)? {
        return Ok(None);
    }
    steps.phase("run the mutants");
    let total = jobs.len();
    let machines = jobs.first().map_or(Ok(0), |job| job.prepared.machines(total))?;
    let mut killers = BTreeSet::new();
    run::each(&jobs, machines, arguments.full, |job, fate, elapsed| {
        if let Fate::Killed(outcomes) = &fate {
            killers.extend(outcomes.iter().map(|outcome| outcome.name.clone()));
        }
        matrix.add(job.name, job.mutant, fate, elapsed);
        let line = matrix.rows.last().map(terminal::line).unwrap_or_default();
        steps.note(&format!("{} of {total}: {line}", matrix.judged()));
    });
    steps.done();
    let later: Vec<Scenario> =
        later.into_iter().filter(|scenario| killers.contains(&scenario.name)).collect();
    Ok(unmutated_holds(&later, &mut matrix.unmutated)?.then_some(matrix))
}

/// Whether the kernel without a bug holds the scenarios; those that it holds are counted.
fn holds(
    unmutated: &Prepared,
    scenarios: &[Scenario],
    count: &mut Unmutated,
    steps: &Steps,
) -> Result<bool> {
    steps.phase(&format!("hold the kernel without a bug against {} scenarios", scenarios.len()));
    let mut fallen = Vec::new();
    let before = count.held;
    let (machines, sweeps) = (unmutated.machines(scenarios.len())?, Budget::default());
    pool::run(unmutated, Some(unmutated), scenarios, machines, sweeps, |outcome| {
        match outcome.verdict {
            Verdict::Held | Verdict::Known(_) => count.held += 1,
            Verdict::Unsupported(_) => count.unsupported += 1,
            _ => fallen.push(outcome),
        }
    })?;
    steps.done();
    if count.held > before && fallen.is_empty() {
        return Ok(true);
    }
    for outcome in &fallen {
        eprintln!("  {}: {}\n{}", outcome.name, outcome.verdict.word(), outcome.verdict);
    }
    Ok(false)
}

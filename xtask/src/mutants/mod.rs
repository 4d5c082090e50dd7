//! `mutants`: kernels with one seeded bug each, and which scenario sees it.

mod data;
mod matrix;
mod order;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Prepared, Verdict, pool};
use xtask::kernel::Progress;

use crate::exit::{Exit, usage};
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{cli, select};

pub use data::{Mutant, all};
use matrix::Matrix;
use order::in_order;
use run::{Fate, Job};

/// The series of the kernel that carries all bugs that have a switch.
const SERIES: &str = "mutants";

/// Runs the suites against the mutants that are named, or all.
pub fn run(repository: &Path, arguments: &cli::Mutants) -> Result<Exit> {
    let all = all(repository)?;
    let mut chosen: BTreeMap<&str, &Mutant> = BTreeMap::new();
    for name in &arguments.names {
        let (name, mutant) = named(&all, name)?;
        chosen.insert(name, mutant);
    }
    if arguments.names.is_empty() {
        chosen.extend(all.iter().map(|(name, mutant)| (name.as_str(), mutant)));
    }
    if arguments.machine.series.is_some() || arguments.machine.bzimage.is_some() {
        return Err(usage("the mutants are kernels of their own: neither --series nor --bzimage"));
    }
    let begun = Instant::now();
    let steps = Steps::new();
    let scenarios = select::scenarios(repository, &[])?;
    let mut matrix = Matrix::new(arguments.full);

    // Every name on its list holds a kernel in the cache as long as it is used.
    let mut kernels: BTreeMap<String, Ready> = BTreeMap::new();
    let mut jobs = Vec::new();
    for (&name, &mutant) in &chosen {
        if let Some(why) = mutant.set_apart(&arguments.machine.target) {
            matrix.set_apart(name, mutant, why);
            continue;
        }
        let series = mutant.series(name);
        if !kernels.contains_key(series) {
            let machine = of_series(series, &arguments.machine);
            kernels.insert(series.to_owned(), prepare::prepare(repository, &machine, &steps)?);
        }
        jobs.push((name, mutant, series));
    }
    let with_switch = |series: &str, switch| {
        let prepared = &kernels[series].prepared;
        Prepared { mutant: switch, ..prepared.clone() }
    };
    // The same kernel without a bug: it has to hold what its mutants are judged by, and what programs
    // without the feature do on it is what they should do.
    let unmutated = kernels.contains_key(SERIES).then(|| with_switch(SERIES, Some(0)));
    let jobs: Vec<Job> = jobs
        .into_iter()
        .map(|(name, mutant, series)| Job {
            name,
            mutant,
            prepared: with_switch(series, mutant.switch),
            reference: unmutated.as_ref().filter(|_| mutant.switch.is_some()),
            scenarios: in_order(&scenarios, &mutant.breaks, arguments.full),
        })
        .collect();
    // Sweeps are many runs each: without `--full` the kernel without a bug has to hold just those by
    // which a mutant was killed.
    let (at_once, later): (Vec<Scenario>, Vec<Scenario>) = scenarios
        .iter()
        .cloned()
        .partition(|scenario| arguments.full || scenario.program.swept().is_none());
    if let Some(unmutated) = &unmutated
        && !holds(unmutated, &at_once, &steps)?
    {
        return Ok(Exit::NoVerdict);
    }
    steps.phase("run the mutants");
    let total = jobs.len();
    let mut killers = BTreeSet::new();
    run::each(&jobs, arguments.full, |job, fate, elapsed| {
        if let Fate::Killed(outcomes) = &fate {
            killers.extend(outcomes.iter().map(|outcome| outcome.name.clone()));
        }
        matrix.add(job.name, job.mutant, fate, elapsed);
        steps.note(&format!("{} of {total}: {}", matrix.judged(), matrix.latest()));
    });
    steps.done();
    let later: Vec<Scenario> =
        later.into_iter().filter(|scenario| killers.contains(&scenario.name)).collect();
    if let Some(unmutated) = unmutated.as_ref().filter(|_| !later.is_empty())
        && !holds(unmutated, &later, &steps)?
    {
        return Ok(Exit::NoVerdict);
    }
    matrix.print(begun.elapsed());
    Ok(matrix.exit())
}

/// Whether the kernel without a bug holds the scenarios.
fn holds(unmutated: &Prepared, scenarios: &[Scenario], steps: &Steps) -> Result<bool> {
    steps.phase(&format!("hold the kernel without a bug against {} scenarios", scenarios.len()));
    let mut fallen = Vec::new();
    let (mut held, mut unsupported) = (0, 0);
    let (machines, sweeps) = (pool::size(scenarios.len()), Budget::default());
    pool::run(unmutated, Some(unmutated), scenarios, machines, &sweeps, |outcome| {
        match outcome.verdict {
            Verdict::Held => held += 1,
            Verdict::Unsupported(_) => unsupported += 1,
            _ => fallen.push(outcome),
        }
    })?;
    steps.done();
    say!("  unmutated   {held} held, {} did not, {unsupported} unsupported", fallen.len());
    if held > 0 && fallen.is_empty() {
        return Ok(true);
    }
    for outcome in &fallen {
        say!("    {}: {}\n{}", outcome.name, outcome.verdict.word(), outcome.verdict);
    }
    eprintln!("error: the kernel without a bug does not hold, so no kill means anything");
    Ok(false)
}

/// Prepares the kernel with the seeded bug of that name.
pub fn prepare(
    repository: &Path,
    name: &str,
    machine: &cli::Machine,
    steps: &Steps,
) -> Result<Ready> {
    let all = all(repository)?;
    let (name, mutant) = named(&all, name)?;
    let machine = of_series(mutant.series(name), machine);
    let mut ready = prepare::prepare(repository, &machine, steps)?;
    steps.note(&format!("the kernel has the bug {name}: {}", mutant.summary));
    ready.prepared.mutant = mutant.switch;
    Ok(ready)
}

fn of_series(series: &str, machine: &cli::Machine) -> cli::Machine {
    cli::Machine { series: Some(series.to_owned()), ..machine.clone() }
}

fn named<'a>(all: &'a BTreeMap<String, Mutant>, name: &str) -> Result<(&'a str, &'a Mutant)> {
    all.get_key_value(name).map(|(name, mutant)| (name.as_str(), mutant)).ok_or_else(|| {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        usage(format!("`{name}` is no mutant; mutants: {}", known.join(", ")))
    })
}

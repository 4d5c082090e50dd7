//! `mutants`: kernels with one bug each, and which scenario sees it.

mod data;
mod json;
mod matrix;
mod mechanical;
mod order;
mod page;
mod run;
mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Prepared, Verdict, pool};
use xtask::kernel::Progress;

use crate::exit::{Exit, usage};
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{agent, cli, select};

pub use data::{Mutant, all};
use matrix::{Matrix, Unmutated};
use order::in_order;
use run::{Fate, Job};

/// The series of the kernel that carries all bugs that have a switch.
const SERIES: &str = "mutants";

/// Runs the suites against the mutants that are named, or all.
pub fn run(repository: &Path, arguments: &cli::Mutants) -> Result<Exit> {
    if arguments.generate {
        return mechanical::generate(repository, arguments.machine.offline);
    }
    let all = if arguments.mechanical { mechanical::all(repository)? } else { all(repository)? };
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
    if arguments.mechanical {
        mechanical::check(repository, arguments.machine.offline, &steps)?;
    }
    let scenarios = select::scenarios(repository, &[])?;
    let mut matrix = Matrix::default();

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
    let switched = if arguments.mechanical { mechanical::SERIES } else { SERIES };
    let unmutated = kernels.contains_key(switched).then(|| with_switch(switched, Some(0)));
    // Which rule a mechanical one breaks nobody knows, so no sweep is more likely to see it than another.
    let all_sweeps = arguments.full || arguments.mechanical;
    let jobs: Vec<Job> = jobs
        .into_iter()
        .map(|(name, mutant, series)| Job {
            name,
            mutant,
            prepared: with_switch(series, mutant.switch),
            reference: unmutated.as_ref().filter(|_| mutant.switch.is_some()),
            scenarios: in_order(&scenarios, &mutant.breaks, all_sweeps),
        })
        .collect();
    // Sweeps are many runs each: without `--full` the kernel without a bug has to hold just those by
    // which a mutant was killed.
    let (at_once, later): (Vec<Scenario>, Vec<Scenario>) = scenarios
        .iter()
        .cloned()
        .partition(|scenario| arguments.full || scenario.program.swept().is_none());
    let unmutated_holds = |scenarios: &[Scenario], matrix: &mut Matrix| match &unmutated {
        Some(unmutated) if !scenarios.is_empty() => {
            holds(unmutated, scenarios, &mut matrix.unmutated, &steps)
        }
        _ => Ok(true),
    };
    if !unmutated_holds(&at_once, &mut matrix)? {
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
        let line = matrix.rows.last().map(terminal::line).unwrap_or_default();
        steps.note(&format!("{} of {total}: {line}", matrix.judged()));
    });
    steps.done();
    let later: Vec<Scenario> =
        later.into_iter().filter(|scenario| killers.contains(&scenario.name)).collect();
    if !unmutated_holds(&later, &mut matrix)? {
        return Ok(Exit::NoVerdict);
    }
    matrix.sort();
    let elapsed = begun.elapsed();
    let kernels: Vec<&str> = kernels.values().map(|ready| ready.prepared.kernel.as_str()).collect();
    if arguments.json {
        json::print(&matrix, &kernels, elapsed);
    } else {
        terminal::print(&matrix, elapsed);
    }
    let (title, file) = if arguments.mechanical {
        ("Mechanical mutants", "refan/mechanical-mutants.html")
    } else {
        ("Mutants", "refan/mutants.html")
    };
    let file = agent::target_folder(repository).join(file);
    write(&file, &page::page(title, &matrix, &kernels, elapsed))?;
    steps.note(&format!("the matrix as a page: {}", file.display()));
    Ok(matrix.exit())
}

/// Writes a file and the folder that it is in.
fn write(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().context("a file without a folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(file, text))
        .with_context(|| format!("cannot write {}", file.display()))
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
    let (machines, sweeps) = (pool::size(scenarios.len()), Budget::default());
    pool::run(unmutated, Some(unmutated), scenarios, machines, &sweeps, |outcome| {
        match outcome.verdict {
            Verdict::Held => count.held += 1,
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
    let mut all = all(repository)?;
    all.extend(mechanical::all(repository)?);
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

//! `mutants`: kernels with one bug each, and which scenario sees it.

mod campaign;
mod data;
mod json;
mod killed;
mod matrix;
mod mechanical;
mod order;
mod run;
mod suites;
mod terminal;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use xtask::kernel::Progress;

use crate::exit::{Exit, usage};
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{cli, site};

pub use data::{Mutant, all};
pub use killed::Record;
use matrix::{Came, Matrix};

/// The series of the kernel that carries all bugs that have a switch.
const SERIES: &str = "mutants";

/// The kernels that have the mutants, by series; each is in the cache as long as it is on this list.
type Kernels = BTreeMap<String, Ready>;

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
    if arguments.fuzz {
        campaign::check_target(repository, &arguments.machine.target)?;
    }
    let begun = Instant::now();
    let steps = Steps::new();
    if arguments.mechanical {
        mechanical::check(repository, arguments.machine.offline, &steps)?;
    }
    let mut not_run = Vec::new();
    let machine = match arguments.fuzz {
        true => prepare::in_campaigns(repository, &arguments.machine)?,
        false => arguments.machine.clone(),
    };
    let mut kernels = Kernels::new();
    let mut judged = Vec::new();
    for (name, mutant) in chosen {
        let apart = mutant.set_apart(&arguments.machine.target).map(Came::SetApart);
        if let Some(came) = apart.or_else(|| mutant.unreachable.clone().map(Came::Unreachable)) {
            not_run.push((name, mutant, came));
            continue;
        }
        let series = mutant.series(name);
        if !kernels.contains_key(series) {
            let machine = of_series(series, &machine);
            kernels.insert(series.to_owned(), prepare::prepare(repository, &machine, &steps)?);
        }
        judged.push((name, mutant));
    }
    let matrix = if arguments.fuzz {
        campaign::run(repository, &judged, &mut kernels, arguments, &steps)?
    } else {
        suites::run(repository, &judged, &kernels, arguments, &steps)?
    };
    let Some(mut matrix) = matrix else {
        eprintln!("error: the kernel without a bug does not hold, so no kill means anything");
        return Ok(Exit::NoVerdict);
    };
    for (name, mutant, came) in not_run {
        matrix.add_not_run(name, mutant, came);
    }
    matrix.sort();
    tell(repository, arguments, &matrix, &kernels, begun.elapsed(), &steps)?;
    if arguments.write {
        let mut record = Record::load(repository)?;
        record.update(repository, &matrix, &arguments.machine.target)?;
        record.store(repository)?;
    }
    Ok(matrix.exit())
}

/// Prints the matrix, and of a run of all mutants makes the page.
fn tell(
    repository: &Path,
    arguments: &cli::Mutants,
    matrix: &Matrix,
    kernels: &Kernels,
    elapsed: Duration,
    steps: &Steps,
) -> Result<()> {
    let kernels: Vec<&str> = kernels.values().map(|ready| ready.prepared.kernel.as_str()).collect();
    let objects = json::objects(matrix, &kernels, elapsed);
    if arguments.json {
        objects.iter().for_each(|object| say!("{object}"));
    } else {
        terminal::print(matrix, elapsed);
    }
    if !arguments.names.is_empty() {
        // The page is of all: a run of some would take its place.
        return Ok(());
    }
    let record = match (arguments.fuzz, arguments.mechanical) {
        (false, false) => site::MUTANTS,
        (false, true) => site::MECHANICAL_MUTANTS,
        (true, false) => site::SEARCHED_MUTANTS,
        (true, true) => site::SEARCHED_MECHANICAL_MUTANTS,
    };
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    site::keep(&site::kept(repository), record, lines.as_bytes())?;
    let page = site::make(repository, &site::default_folder(repository))?.join("mutants.html");
    steps.note(&format!("the matrix as a page: {}", page.display()));
    Ok(())
}

/// A deterministic machine whose kernel of `kasan` has this bug, for tests.
#[cfg(test)]
pub fn on_kasan(repository: &Path, name: &str) -> refan_runner::Prepared {
    let words = ["--target", "kasan", "--machine", "deterministic"].map(str::to_owned);
    let machine = cli::Machine::of_words(&words).expect("a machine");
    let ready = prepare(repository, name, &machine, &Steps::new());
    ready.unwrap_or_else(|error| panic!("{error:#}")).prepared
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

/// The seeded bug of that name.
pub fn named<'a>(all: &'a BTreeMap<String, Mutant>, name: &str) -> Result<(&'a str, &'a Mutant)> {
    all.get_key_value(name).map(|(name, mutant)| (name.as_str(), mutant)).ok_or_else(|| {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        usage(format!("`{name}` is no mutant; mutants: {}", known.join(", ")))
    })
}

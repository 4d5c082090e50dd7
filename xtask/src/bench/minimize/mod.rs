//! `bench minimize`: what campaigns find, made as small as it gets and taken out of Refan.

mod c_file;
mod row;
mod scenario;

use std::path::Path;

use anyhow::{Context, Result};
use refan_runner::minimize::Minimizer;
use xtask::kernel::Progress as _;

use super::search;
use crate::cli;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::minimize::{self, Minimized};
use crate::mutants;
use crate::steps::Steps;
use row::{Row, Shown};

/// The bugs, one of each kind: what is pending is dropped, answered twice, turned round or not counted, a
/// second queue, memory that is freed too soon or never, an error path, a missing wake-up, a race.
const BUGS: [&str; 10] = [
    "drop-at-release",
    "answered-restarts",
    "order-reversed",
    "restart-uncounted",
    "second-queue",
    "no-group-ref",
    "canceled-leaks",
    "failed-open-sticks",
    "readers-sleep-on",
    "peek-then-take",
];

/// Of these the one by which freed memory is used: what a kernel without checkers makes of that depends on what ran
/// there before, which no C file has.
const USES_FREED: &str = "no-group-ref";

/// The targets whose kernels a scenario has to tell apart.
const TARGETS: [&str; 2] = ["fast", "kasan"];

/// Of these the one with the kernel's own checkers.
const CHECKED: &str = "kasan";

/// How often the least program is run.
const REPEATS: u32 = 100;

/// Searches for the bugs and says of each what its finding has come to.
pub fn minimize(repository: &Path, arguments: &cli::Minimizations) -> Result<Exit> {
    let all = mutants::all(repository)?;
    let bugs: Vec<&str> = match &arguments.bugs[..] {
        [] => BUGS.to_vec(),
        bugs => bugs.iter().map(String::as_str).collect(),
    };
    let bugs = bugs.into_iter().map(|name| mutants::named(&all, name));
    let bugs = bugs.collect::<Result<Vec<_>>>()?;
    row::head();
    let mut rows = Vec::new();
    for (name, bug) in bugs {
        let row = of_bug(repository, name, bug, arguments)?;
        row.print();
        rows.push(row);
    }
    Ok(if row::sum_up(&rows) { Exit::Held } else { Exit::Broken })
}

fn of_bug(
    repository: &Path,
    name: &str,
    bug: &mutants::Mutant,
    arguments: &cli::Minimizations,
) -> Result<Row> {
    let is_checked = bug.judged_by.as_deref() == Some(CHECKED) || name == USES_FREED;
    let target = if is_checked { CHECKED } else { search::TARGET };
    let mut row = Row::new(name);
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let corpus = scratch.path().join("corpus");
    let Some((found, artifact)) = search::find(repository, name, target, arguments.time, &corpus)?
    else {
        return Ok(row);
    };
    row.found = Some(found);

    let steps = Steps::new();
    let finding = Finding::open(repository, &cli::Finding::as_found(&artifact), &steps)?;
    row.title.clone_from(&finding.found.title);
    row.before = finding.program.steps.len();
    let Some(minimized) = minimize::minimize(repository, &finding, &artifact, &steps)? else {
        return Ok(row);
    };
    let Minimized { least, earlier, took, kept, .. } = minimized;
    let is_exact = finding.prepared().spec()?.profile.virtual_time.is_some();
    row.least = Some((least.steps.len(), took));

    steps.phase("run the least program");
    let (prepared, reference) = (finding.prepared(), finding.reference());
    let mut minimizer = Minimizer::start(prepared, reference, &row.title, &earlier)?;
    row.shows = Some(Shown { rate: minimizer.rate(&least, REPEATS), is_exact });
    drop(minimizer);

    steps.phase("run it as C");
    let kernels = scenario::Kernels::of(repository, name, target, &steps)?;
    row.c_file = Some(c_file::run(&kernels, &kept, scratch.path())?);

    // What the kernel reports takes its checkers.
    let by_checker = is_checked || finding.found.verdict != "broken";
    for target in TARGETS.iter().filter(|target| !by_checker || **target == CHECKED) {
        let kernels = scenario::Kernels::of(repository, name, target, &steps)?;
        steps.phase(&format!("run it as a scenario on {target}"));
        row.scenarios.push((target, scenario::run(&kernels, &least)?));
    }
    steps.done();
    Ok(row)
}

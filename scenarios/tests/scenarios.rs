//! One test a scenario, each on a machine of its own, restored from the snapshot.
//!
//! They run on what `cargo xtask test` prepared last for the kernel target that `REFAN_TARGET` names
//! (default `fast`). A scenario that needs a facility which this kernel lacks is listed as ignored; one
//! that the kernel does not support otherwise has shown nothing, and fails.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use refan_runner::cache::Cache;
use refan_runner::run::Worker;
use refan_runner::suite::{self, Scenario};
use refan_runner::sweep::Budget;
use refan_runner::{Prepared, Verdict};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let found = match suite::find(&scenarios::folder()) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let selected = |name: &str| match &arguments.filter {
        Some(filter) if arguments.exact => name == filter,
        Some(filter) => name.contains(filter),
        None => true,
    };
    let mut worker = None;
    let trials = found
        .into_iter()
        .map(|(name, file)| {
            let ignored = selected(&name) && is_not_judged(&mut worker, &name, &file);
            Trial::test(name.clone(), move || run(&name, &file).map_err(Failed::from))
                .with_ignored_flag(ignored)
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(name: &str, file: &Path) -> Result<(), String> {
    let outcome = outcome(name, file).map_err(|error| format!("{error:#}"))?;
    match outcome.verdict {
        Verdict::Held => Ok(()),
        Verdict::Known(report) => {
            eprintln!("known: {}", report.title);
            Ok(())
        }
        verdict => Err(format!("{verdict}\n{}\n{}", outcome.history, outcome.console)),
    }
}

/// Whether the scenario needs a facility that the kernel lacks. Where that cannot be found out, the
/// scenario's own run says why.
fn is_not_judged(worker: &mut Option<Worker<'static>>, name: &str, file: &Path) -> bool {
    let Ok(scenario) = Scenario::read(name.to_owned(), file) else { return false };
    if scenario.program.needs().next().is_none() {
        return false;
    }
    if worker.is_none() {
        // It lives as long as the process.
        *worker = prepared().and_then(|it| Worker::start(Box::leak(Box::new(it)), None)).ok();
    }
    worker.as_ref().is_some_and(|worker| worker.lacking(&scenario.program).is_some())
}

fn outcome(name: &str, file: &Path) -> anyhow::Result<refan_runner::Outcome> {
    let scenario = Scenario::read(name.to_owned(), file)?;
    let prepared = prepared()?;
    Ok(Worker::start(&prepared, None)?.run(&scenario, Budget::default()))
}

fn prepared() -> anyhow::Result<Prepared> {
    let target = std::env::var("REFAN_TARGET").unwrap_or_else(|_| "fast".to_owned());
    Prepared::load(&Cache::open()?, &scenarios::repository(), &target)
}

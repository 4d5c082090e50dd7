//! `test`: the main job.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use refan_runner::reach::Reach;
use refan_runner::sweep::Budget;
use refan_runner::{Outcome, Prepared, Verdict, artifact, pool};
use xtask::doctor::Purpose;
use xtask::kernel::Progress;

use crate::cli;
use crate::exit::Exit;
use crate::report::{self, Totals};
use crate::steps::Steps;
use crate::{agent, doctor_command, mutants, prepare, select};

/// Prepares what is missing, runs the scenarios and reports.
pub fn run(repository: &Path, arguments: &cli::Test) -> Result<Exit> {
    let mut scenarios = select::scenarios_and_random(repository, arguments)?;
    let steps = Steps::new();
    let all = scenarios.len();
    if leaves_sweeps(arguments) {
        scenarios.retain(|scenario| scenario.program.swept().is_none());
    }
    let left = all - scenarios.len();
    if left > 0 {
        steps.note(&format!("{left} sweeps are left out; `--sweep 5m` or `test race` runs them"));
    }
    if arguments.install_deps {
        doctor_command::install(Purpose::Use, &steps)?;
    }
    let reference = match &arguments.against {
        Some(series) => {
            let machine =
                cli::Machine { series: Some(series.clone()), ..arguments.machine.clone() };
            Some(prepare::prepare(repository, &machine, &steps)?)
        }
        None => None,
    };
    let ready = match &arguments.mutant {
        Some(name) => mutants::prepare(repository, name, &arguments.machine, &steps)?,
        None => prepare::prepare(repository, &arguments.machine, &steps)?,
    };
    ready.store(&arguments.machine.target)?;
    if arguments.prepare {
        return Ok(Exit::Held);
    }
    let mut report = report::choose(arguments.output);
    let machines = ready.prepared.machines(scenarios.len())?;
    report.start(&ready.prepared, scenarios.len(), machines);
    // It tells of restartable groups.
    let deep = arguments.random.is_some() && arguments.kind != cli::Kind::Classic;
    let reach = deep.then(Reach::default);
    let mut totals = Totals { reach, ..Totals::default() };
    let begun = Instant::now();
    let budget = match arguments.sweep {
        None => Budget::default(),
        Some(cli::Sweep::Full) => Budget::Full,
        Some(cli::Sweep::For(time)) => Budget::Time(time),
    };
    let reference = reference.as_ref().map(|ready| &ready.prepared);
    let artifacts = agent::target_folder(repository).join("refan/artifacts");
    pool::run(&ready.prepared, reference, &scenarios, machines, budget, |outcome| {
        match &outcome.verdict {
            Verdict::Held => totals.held += 1,
            Verdict::Broken(_) | Verdict::Report(_) => totals.findings += 1,
            Verdict::Known(report) => {
                *totals.known.entry(report.title.clone()).or_default() += 1;
            }
            Verdict::Unsupported(_) => totals.unsupported += 1,
            Verdict::None(_) => totals.none += 1,
        }
        if let Some(why) = outcome.verdict.obstacle() {
            *totals.unjudged.entry(why.to_owned()).or_default() += 1;
        }
        if let Some(reach) = totals.reach.as_mut().filter(|_| outcome.reach.programs > 0) {
            reach.add(&outcome.reach);
        }
        if let Some(sweep) = &outcome.sweep {
            totals.sweeps.add(sweep);
        }
        let artifact = keep(&artifacts, &ready.prepared, reference, &outcome);
        report.outcome(&outcome, artifact.as_deref());
    })?;
    totals.elapsed = begun.elapsed();
    report.end(&totals);
    Ok(exit(&totals, scenarios.len()))
}

/// Keeps what was found, if anything was.
fn keep(
    folder: &Path,
    prepared: &Prepared,
    reference: Option<&Prepared>,
    outcome: &Outcome,
) -> Option<PathBuf> {
    if !outcome.verdict.is_finding() {
        return None;
    }
    match artifact::write(folder, prepared, reference, outcome) {
        Ok(folder) => Some(folder),
        Err(error) => {
            eprintln!("warning: what `{}` found is not kept: {error}", outcome.name);
            None
        }
    }
}

/// A verdict on everything is wanted in seconds: sweeps are run only when they are asked for, by
/// name or by what they may cost.
fn leaves_sweeps(arguments: &cli::Test) -> bool {
    arguments.scenarios.is_empty() && arguments.sweep.is_none() && arguments.random.is_none()
}

/// A finding outweighs a missing verdict; nothing but held, known and unsupported ends in 0, and something
/// must have held.
fn exit(totals: &Totals, scenarios: usize) -> Exit {
    let counted = totals.held + totals.findings + totals.known() + totals.unsupported + totals.none;
    if totals.findings > 0 {
        Exit::Broken
    } else if totals.none > 0 || totals.held == 0 || counted != scenarios {
        Exit::NoVerdict
    } else {
        Exit::Held
    }
}

#[cfg(test)]
mod tests {
    use refan_runner::earlier;
    use refan_runner::run::Worker;

    use super::*;

    #[test]
    fn nothing_that_went_wrong_ends_in_zero() {
        let totals = |held, findings, unsupported, none| Totals {
            held,
            findings,
            unsupported,
            none,
            ..Totals::default()
        };
        assert_eq!(exit(&totals(3, 0, 1, 0), 4), Exit::Held);
        assert_eq!(exit(&totals(3, 0, 0, 1), 4), Exit::NoVerdict);
        assert_eq!(exit(&totals(2, 1, 0, 1), 4), Exit::Broken);
        assert_eq!(exit(&totals(0, 0, 4, 0), 4), Exit::NoVerdict);
        assert_eq!(exit(&totals(3, 0, 0, 0), 4), Exit::NoVerdict);
    }

    /// Which of two locks lockdep names depends on what it saw before: where another program has released a
    /// queue, the watchdog.
    #[test]
    #[ignore = "takes the mutants' kernel of `kasan`; `cargo xtask ci pr` runs it"]
    fn what_shows_only_behind_others_is_kept_with_them() {
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let prepared = mutants::on_kasan(repository, "lock-order");
        let names = ["restart/order", "restart/watchdog"].map(str::to_owned);
        let scenarios = select::scenarios(repository, &names).expect("scenarios");
        let mut worker = Worker::start(&prepared, None).expect("a machine");
        let outcomes: Vec<_> =
            scenarios.iter().map(|scenario| worker.run(scenario, Budget::default())).collect();
        assert!(matches!(outcomes[0].verdict, Verdict::Held), "{}", outcomes[0].verdict);
        let told = outcomes[1].verdict.title();
        let title = "possible circular locking dependency in perm_group_watchdog";
        assert_eq!(told.as_deref(), Some(title), "{}", outcomes[1].verdict);
        assert_eq!(outcomes[1].repeated, Some((2, 2)));
        assert!(!outcomes[1].earlier.is_empty());
        let folder = tempfile::tempdir().expect("a folder");
        let kept = artifact::write(folder.path(), &prepared, None, &outcomes[1]).expect("kept");
        let earlier = artifact::Artifact::earlier(&kept).expect("read");
        assert_eq!(earlier::encode(&earlier), earlier::encode(&outcomes[1].earlier));
    }
}

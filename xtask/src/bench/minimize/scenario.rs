//! The least program as a scenario, on a kernel with the bug and on the one without.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use refan_program::{Offset, Program};
use refan_runner::run::Worker;
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Outcome, Prepared};

use super::row::Pair;
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{cli, mutants};

/// How long a race is looked for where calls take another time than on the machine of the finding.
const SWEEP: Duration = Duration::from_secs(90);

/// The kernels of a target with and without a bug.
pub struct Kernels {
    broken: Ready,
    good: Ready,
}

impl Kernels {
    /// Prepares them.
    pub fn of(repository: &Path, bug: &str, target: &str, steps: &Steps) -> Result<Self> {
        let machine = cli::Machine::of_words(&["--target".to_owned(), target.to_owned()])?;
        let broken = mutants::prepare(repository, bug, &machine, steps)?;
        let good = prepare::prepare(repository, &machine, steps)?;
        Ok(Self { broken, good })
    }

    /// The one with the bug.
    pub fn broken(&self) -> &Prepared {
        &self.broken.prepared
    }

    /// The one without.
    pub fn good(&self) -> &Prepared {
        &self.good.prepared
    }
}

/// Runs a scenario on both. A branch that begins at a time is swept where it does not show at that time: the
/// instant is another one on each kernel.
pub fn run(kernels: &Kernels, program: &Program) -> Result<Pair> {
    let mut broken = once(kernels.broken(), program)?;
    if !broken.verdict.is_finding() && program.is_timed() {
        let mut worker = Worker::start(kernels.broken(), None)?;
        broken = worker.run(&scenario(&swept(program)), Budget::Time(SWEEP));
    }
    let shown = broken.program.as_ref().filter(|_| broken.verdict.is_finding());
    let good = once(kernels.good(), shown.unwrap_or(program))?;
    Ok(Pair {
        broken: told(&broken),
        good: told(&good),
        is_told: broken.verdict.is_finding(),
        is_held: matches!(good.verdict, refan_runner::Verdict::Held),
    })
}

fn once(prepared: &Prepared, program: &Program) -> Result<Outcome> {
    Ok(Worker::start(prepared, None)?.run_once(&scenario(program)))
}

fn scenario(program: &Program) -> Scenario {
    Scenario { name: "the least program".to_owned(), program: program.clone() }
}

/// The program with its first branch that begins at a time swept, and the others as they are.
fn swept(program: &Program) -> Program {
    let mut program = program.clone();
    if let Some(start) = program.steps.iter_mut().find_map(|step| step.start.as_mut()) {
        start.at = Offset::Sweep;
    }
    program
}

/// The verdict in a few words.
fn told(outcome: &Outcome) -> String {
    let swept = if outcome.sweep.is_some() { ", swept" } else { "" };
    let word = outcome.verdict.title().unwrap_or_else(|| outcome.verdict.word().to_owned());
    format!("{word}{swept}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_branch_is_swept() {
        let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nd = fork()\npar {\n    \
                    open_queue(c)\n    d: close(c) @ 32ns\n}\n";
        let program = refan_program::parse(text).expect("a program");
        assert_eq!(program.swept(), None);
        assert_eq!(swept(&program).swept(), Some(3));
    }
}

//! As many machines as the host carries, side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Result;

use crate::prepared::Prepared;
use crate::reach::Reach;
use crate::run::{Outcome, Worker};
use crate::suite::Scenario;
use crate::sweep::{Budget, Plan};
use crate::verdict::Verdict;

/// Runs scenarios on `machines` machines and hands over each outcome as it comes, and at the end
/// what kmemleak finds on a machine. Each of them has a
/// machine of the reference beside it, if there is one, that programs without the feature are held
/// against (I4). Scenarios with a branch that is swept come last, as far as the budget goes.
///
/// # Errors
/// When no machine starts or its kernel is not what it is said to be: then no scenario has run.
pub fn run(
    prepared: &Prepared,
    reference: Option<&Prepared>,
    scenarios: &[Scenario],
    machines: usize,
    budget: Budget,
    mut report: impl FnMut(Outcome),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let single: Vec<&Scenario> =
        scenarios.iter().filter(|scenario| scenario.program.swept().is_none()).collect();
    let first = Worker::start(prepared, reference)?;
    let plan = Plan::new(scenarios, budget);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let mut first = Some(first);
        for _ in 0..machines {
            let (sender, next, ready) = (sender.clone(), &next, first.take());
            let (single, plan) = (&single, &plan);
            scope.spawn(move || {
                // Where nobody listens any more, nobody wants to know.
                let tell = |outcome| drop(sender.send(outcome));
                let mut worker = ready.map_or_else(|| Worker::start(prepared, reference), Ok);
                while let Some(scenario) = single.get(next.fetch_add(1, Ordering::Relaxed)) {
                    tell(match &mut worker {
                        Ok(worker) => worker.run(scenario, budget),
                        Err(error) => without_machine(scenario, error),
                    });
                }
                match &mut worker {
                    Ok(worker) => plan.run(worker, tell),
                    Err(error) => plan.give_up(|scenario| without_machine(scenario, error), tell),
                }
                worker.ok().and_then(Worker::finish).into_iter().for_each(tell);
            });
        }
        drop(sender);
        receiver.iter().for_each(&mut report);
    });
    plan.finish().into_iter().for_each(report);
    Ok(())
}

fn without_machine(scenario: &Scenario, error: &anyhow::Error) -> Outcome {
    Outcome {
        name: scenario.name.clone(),
        rules: scenario.program.rules(),
        verdict: Verdict::None(format!("{error:#}")),
        history: String::new(),
        console: String::new(),
        repeated: None,
        earlier: Vec::new(),
        sweep: None,
        reach: Reach::default(),
        program: Some(scenario.program.clone()),
        command_line: Vec::new(),
        elapsed: std::time::Duration::ZERO,
    }
}

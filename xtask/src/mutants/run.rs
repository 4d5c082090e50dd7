//! Mutants on machines, one mutant a machine at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use refan_runner::run::Worker;
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Outcome, Prepared, Verdict};

use super::data::Mutant;

/// A mutant to be judged.
pub struct Job<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub mutant: &'a Mutant,
    /// The machine with the bug.
    pub prepared: Prepared,
    /// The machine without it, for programs without the feature (I4).
    pub reference: Option<&'a Prepared>,
    /// What it is judged by, in this order.
    pub scenarios: Vec<&'a Scenario>,
}

/// What came of a mutant.
pub enum Fate {
    /// Scenarios saw it: the first one, or in a full run all that did.
    Killed(Vec<Outcome>),
    /// The probe saw that the kernel is not what it says.
    Refused(String),
    /// All scenarios held that could be judged.
    Survived,
    /// No scenario saw it, and these ended without a verdict, or with one that did not show again.
    Unjudged(Vec<Outcome>),
}

/// Judges each mutant, so many at a time, and tells what came of it and how long that took.
pub fn each<'a>(
    jobs: &[Job<'a>],
    machines: usize,
    full: bool,
    mut tell: impl FnMut(&Job<'a>, Fate, Duration),
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..machines {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let fate = judge(job, full);
                    if sender.send((job, fate, begun.elapsed())).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        receiver.iter().for_each(|(job, fate, elapsed)| tell(job, fate, elapsed));
    });
}

fn judge(job: &Job<'_>, full: bool) -> Fate {
    let mut worker = match Worker::start(&job.prepared, job.reference) {
        Ok(worker) => worker,
        Err(error) => return Fate::Refused(format!("{error:#}")),
    };
    let (mut killed, mut unjudged) = (Vec::new(), Vec::new());
    for scenario in &job.scenarios {
        let is_known = job.mutant.seen_by.as_ref() == Some(&scenario.name);
        let budget = if is_known { Budget::Full } else { Budget::default() };
        let outcome = worker.run(scenario, budget);
        match outcome.verdict {
            // What never shows again may come of a program before it.
            Verdict::Broken(_) | Verdict::Report(_) if matches!(outcome.repeated, Some((0, _))) => {
                unjudged.push(outcome);
            }
            Verdict::Broken(_) | Verdict::Report(_) => killed.push(outcome),
            Verdict::None(_) => unjudged.push(outcome),
            Verdict::Held | Verdict::Known(_) | Verdict::Unsupported(_) => {}
        }
        if !full && !killed.is_empty() {
            break;
        }
    }
    if let Some(leaks) = worker.finish().filter(|_| full || killed.is_empty()) {
        match leaks.verdict {
            Verdict::Report(_) => killed.push(leaks),
            _ => unjudged.push(leaks),
        }
    }
    match (killed.is_empty(), unjudged.is_empty()) {
        (false, _) => Fate::Killed(killed),
        (true, false) => Fate::Unjudged(unjudged),
        (true, true) => Fate::Survived,
    }
}

//! Judging: from a trace to a verdict, on the host.
//!
//! The model says what the contract allows ([`refan_model`]); this module turns the guest's records
//! into what the model takes, and holds the scenario's own expectations against them. The guest is
//! not trusted: a trace that is incomplete or contradicts itself is never *held*.

mod expect;
mod history;
mod listing;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
mod trace;

#[cfg(test)]
mod tests;

use std::ops::Range;

use refan_abi::{ApiValues, Errno};
use refan_model::{Kernel, Model, Moment, Stop, Traversed, Violation};
use refan_program::{Call, Expect, Program, Rule, Step};
use refan_wire::{Leak, Record};

pub(crate) use expect::event_text;
pub use history::history;
pub use listing::listing;

use trace::Trace;

/// What judging came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Everything that was observed is allowed and expected.
    Held,
    /// A rule was broken.
    Broken(Violation),
    /// The program needs the feature under test, which this kernel does not have.
    Unsupported(String),
    /// The run does not tell whether the rules held.
    Unjudgeable(String),
}

/// Judges the trace of a program's run on a kernel that has the feature or does not. Also says what
/// the run has come to, as far as it was judged.
pub fn judge(
    program: &Program,
    records: &[Record],
    api: ApiValues,
    restartable: bool,
) -> (Judgement, Traversed) {
    let mut traversed = Traversed::default();
    let judgement = judge_into(program, records, api, restartable, &mut traversed);
    (judgement, traversed)
}

fn judge_into(
    program: &Program,
    records: &[Record],
    api: ApiValues,
    restartable: bool,
    traversed: &mut Traversed,
) -> Judgement {
    if !restartable && needs_feature(program) {
        let why = "the kernel has no restartable permission events";
        return Judgement::Unsupported(why.to_owned());
    }
    let trace = Trace::read(program, records);
    let inodes = trace.inodes.clone();
    let kernel = Kernel { api, restartable, inodes };
    let mut model = Model::new(&kernel, program, trace.main);
    for part in &trace.parts {
        let judged = model.step(part.steps.clone(), &part.seen);
        traversed.clone_from(model.traversed());
        match judged {
            Ok(()) => {}
            Err(Stop::Broken(violation)) => return Judgement::Broken(violation),
            Err(Stop::Unjudgeable(why)) => {
                return Judgement::Unjudgeable(format!("step {}: {why}", part.steps.start + 1));
            }
        }
    }
    if let Some(stuck) = &trace.stuck
        && let Err(Stop::Broken(violation)) = model.end(stuck)
    {
        return Judgement::Broken(violation);
    }
    if let Some(violation) = expect::first_failure(program, &trace) {
        return Judgement::Broken(violation);
    }
    if let Some(violation) = leaked(program, trace.leaks.as_deref().unwrap_or_default()) {
        return Judgement::Broken(violation);
    }
    match trace.fault {
        Some(fault) => Judgement::Unjudgeable(fault),
        None => Judgement::Held,
    }
}

/// What the call of a step came to, in words; none of a step that the program does not have.
pub(crate) fn result(program: &Program, records: &[Record], step: usize) -> Option<String> {
    program.steps.get(step)?;
    let trace = Trace::read(program, records);
    Some(expect::words(program, &trace, &expect::outcome(program, &trace, step)))
}

/// Whether the trace is that of a run from its beginning to its end, which left nothing behind.
pub fn is_whole(program: &Program, records: &[Record]) -> bool {
    let trace = Trace::read(program, records);
    trace.fault.is_none() && trace.leaks.is_some_and(|leaks| leaks.is_empty())
}

/// Holds what the program left behind against S3, which leaves nothing, and K4, which leaves nothing of
/// those who were killed.
pub fn leaked(program: &Program, leaks: &[Leak]) -> Option<Violation> {
    if leaks.is_empty() {
        return None;
    }
    let counts = leaks.iter().map(|leak| format!("{} {}", leak.after, leak.what));
    let before = leaks.iter().map(|leak| format!("{} {}", leak.before, leak.what));
    Some(Violation {
        rule: rule_of_leaks(program, leaks),
        step: program.steps.len().saturating_sub(1),
        allowed: format!("after the program {}", before.collect::<Vec<_>>().join(", ")),
        observed: counts.collect::<Vec<_>>().join(", "),
        history: Vec::new(),
    })
}

/// An event is what is left of its accessor, and with it the file that is accessed.
fn rule_of_leaks(program: &Program, leaks: &[Leak]) -> Rule {
    const S3: Rule = Rule::named('S', 3);
    const K4: Rule = Rule::named('K', 4);
    let of_events =
        |leak: &Leak| leak.what.ends_with("_event") || leak.what.ends_with("file systems in use");
    let kills = |step: &Step| matches!(step.call.innermost(), Call::Kill { .. });
    if leaks.iter().all(of_events) && program.steps.iter().any(kills) { K4 } else { S3 }
}

/// What the calls of a block came to: the result of each, and the steps in the order in which they
/// returned. Step numbers count from 1.
pub fn block_outcome(
    program: &Program,
    records: &[Record],
    block: Range<usize>,
) -> (String, String) {
    let trace = Trace::read(program, records);
    let result = |step: usize| {
        let outcome = expect::outcome(program, &trace, step);
        let result = match &outcome {
            // Which fd it is says nothing.
            expect::Outcome::Returned(back)
                if back.value >= 0 && program.steps[step].call.innermost().returns_fd() =>
            {
                "fd".to_owned()
            }
            outcome => expect::words(program, &trace, outcome),
        };
        format!("{} -> {result}", step + 1)
    };
    let results: Vec<String> = block.clone().map(result).collect();
    let order = returned(&trace, block).map(|step| (step + 1).to_string());
    (results.join(", "), order.collect::<Vec<_>>().join(" "))
}

/// The steps of a block in the order in which their calls returned.
pub fn returned_in(program: &Program, records: &[Record], block: Range<usize>) -> Vec<usize> {
    returned(&Trace::read(program, records), block).collect()
}

fn returned(trace: &Trace, block: Range<usize>) -> impl Iterator<Item = usize> {
    let part = trace.part_of(block.start).map(|part| &trace.parts[part].seen);
    part.into_iter().flat_map(|seen| &seen.order).filter_map(move |moment| match moment {
        Moment::Return(step) if block.contains(step) => Some(*step),
        _ => None,
    })
}

/// Whether the program asks for the feature as one who means to use it: a scenario that expects an error
/// which such a group is also refused with where there is none says something about every kernel (I1).
fn needs_feature(program: &Program) -> bool {
    program
        .steps
        .iter()
        .filter(|step| step.call.innermost().asks_for_restartable())
        .any(|step| !matches!(step.expect, Some(Expect::Errno(Errno::EPERM | Errno::EINVAL))))
}

//! What a scenario expects, beside what the model says.

use std::collections::BTreeMap;

use refan_abi::{Errno, OpenFlags};
use refan_model::{End, Object, Return, Seen, SeenEvent, Violation};
use refan_program::{Call, EventPattern, Expect, Program, Rule, Step, Task};

use super::trace::Trace;

/// What a scenario that names no rule is about.
const UNNAMED: Rule = Rule::named('I', 4);

/// The first expectation that what was observed does not meet.
pub(super) fn first_failure(program: &Program, trace: &Trace) -> Option<Violation> {
    let seen = trace.parts.last().map_or(0, |part| part.steps.end);
    for (number, step) in program.steps.iter().enumerate().take(seen) {
        let Some(expect) = &step.expect else { continue };
        let outcome = outcome(program, trace, number);
        if !meets(program, trace, expect, step, &outcome) {
            return Some(Violation {
                rule: program.rules().first().copied().unwrap_or(UNNAMED),
                step: number,
                allowed: format!("as the scenario expects, {}", expectation(program, step)),
                observed: words(program, trace, &outcome),
                history: Vec::new(),
            });
        }
    }
    None
}

/// How a call stood at the end of a step.
pub(super) enum Outcome<'a> {
    Returned(&'a Return),
    Blocked,
    Killed,
    /// The task ended without a return, by itself.
    Gone,
    Skipped,
    /// No call was made yet.
    None,
}

/// How the call stood that a step made, at its end or that of its block; of an await, the latest
/// call of its task.
pub(super) fn outcome<'a>(program: &Program, trace: &'a Trace, at: usize) -> Outcome<'a> {
    let step = &program.steps[at];
    let Some(part) = trace.part_of(at) else { return Outcome::None };
    if trace.parts[part].seen.skipped(at).is_some() {
        return Outcome::Skipped;
    }
    let (task, made) = match &step.call {
        Call::Await { task } => {
            let made = trace.entered.range(..at).rev().copied();
            let mut made = made.filter(|made| program.steps[*made].caller() == Some(*task));
            (*task, made.next())
        }
        Call::Kill { .. } | Call::KernelLog => (step.caller().unwrap_or(Task::MAIN), Some(at)),
        _ => (step.caller().unwrap_or(step.task), Some(at)),
    };
    let Some(made) = made else { return Outcome::None };
    let first = trace.part_of(made).unwrap_or(part);
    let seen = || trace.parts[first..=part].iter().map(|part| &part.seen);
    let returned = seen().flat_map(|seen| &seen.returns).find(|back| back.step == made);
    if let Some(back) = returned {
        return Outcome::Returned(back);
    }
    let end = seen().flat_map(|seen| &seen.ended).find(|(ended, _)| *ended == task);
    match end {
        Some((_, End::Signaled(_))) => Outcome::Killed,
        Some((_, End::Exited(_))) => Outcome::Gone,
        None if !trace.entered.contains(&made) => Outcome::None,
        None if trace.parts[part].seen.blocked.contains(&task) => Outcome::Blocked,
        None => Outcome::None,
    }
}

fn meets(
    program: &Program,
    trace: &Trace,
    expect: &Expect,
    step: &Step,
    outcome: &Outcome<'_>,
) -> bool {
    let back = match (expect, outcome) {
        (Expect::Blocked, outcome) => return matches!(outcome, Outcome::Blocked),
        (Expect::Killed, outcome) => return matches!(outcome, Outcome::Killed),
        (_, Outcome::Returned(back)) => *back,
        _ => return false,
    };
    let made = &program.steps[back.step].call;
    match expect {
        Expect::Value(value) => {
            let returns_fd = made.innermost().returns_fd() || step.call.returns_fd();
            let seen = if returns_fd && back.value >= 0 { 0 } else { back.value };
            seen == i64::from(*value)
        }
        Expect::Errno(errno) => back.value == -i64::from(errno.0),
        Expect::Blocked | Expect::Killed => false,
        Expect::Events(patterns) => match &back.data {
            Seen::Events(events) => {
                events.len() == patterns.len()
                    && patterns.iter().zip(events).all(|(pattern, seen)| fits(trace, pattern, seen))
            }
            _ => false,
        },
        Expect::Poll(flags) => back.value == i64::from(flags.bits()),
        Expect::Open(flags) => {
            // The kernel sets O_LARGEFILE by itself.
            let large = OpenFlags::O_LARGEFILE.bits();
            u32::try_from(back.value).is_ok_and(|seen| seen & !large == flags.bits() & !large)
        }
        Expect::FdFlags(flags) => back.value == i64::from(flags.bits()),
        Expect::Text(text) => match &back.data {
            Seen::Text(seen) => seen == text,
            Seen::Bytes(seen) => seen == text.as_bytes(),
            Seen::Nothing => text.is_empty() && back.value == 0,
            Seen::Events(_) => false,
        },
    }
}

fn fits(trace: &Trace, pattern: &EventPattern, seen: &SeenEvent) -> bool {
    let error = Errno::from_return(seen.event.fd.into());
    pattern.mask == seen.event.mask
        && pattern.error.is_none_or(|errno| error == Some(errno))
        && pattern.path.is_none_or(|inode| seen.object == Object::File(inode))
        && pattern.by.is_none_or(|task| trace.pids.get(&task) == Some(&seen.event.pid))
}

/// The expectation of a step as its text form has it.
fn expectation(program: &Program, step: &Step) -> String {
    step.expect.as_ref().map(|expect| program.expect_text(expect)).unwrap_or_default()
}

/// An outcome in words, as expectations have them.
pub(super) fn words(program: &Program, trace: &Trace, outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Blocked => "blocked".to_owned(),
        Outcome::Killed => "killed".to_owned(),
        Outcome::Gone => "the task exited".to_owned(),
        Outcome::Skipped => "skipped".to_owned(),
        Outcome::None => "nothing".to_owned(),
        Outcome::Returned(back) => match (Errno::from_return(back.value), &back.data) {
            (Some(errno), _) => errno.to_string(),
            (None, Seen::Events(events)) => {
                let event = |seen| event_text(program, &trace.pids, seen);
                events.iter().map(event).collect::<Vec<_>>().join(", ")
            }
            (None, Seen::Text(text)) => format!("{text:?}"),
            (None, Seen::Bytes(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
            (None, Seen::Nothing) => back.value.to_string(),
        },
    }
}

/// An event in words, by the names of tasks with these pids.
pub(crate) fn event_text(
    program: &Program,
    pids: &BTreeMap<Task, i32>,
    seen: &SeenEvent,
) -> String {
    let names: Vec<&str> = seen.event.mask.iter_names().map(|(name, _)| name).collect();
    let mut text =
        if names.is_empty() { format!("{:#x}", seen.event.mask.bits()) } else { names.join(" | ") };
    if let Some(errno) = Errno::from_return(seen.event.fd.into()) {
        text += &format!(" fd {errno}");
    }
    match seen.object {
        Object::File(inode) => text += &format!(" {inode}"),
        Object::Foreign => text += " of another file",
        Object::None => {}
    }
    match pids.iter().find(|(_, pid)| **pid == seen.event.pid) {
        Some((task, _)) => text + " by " + program.task_name(*task),
        None => text + &format!(" by pid {}", seen.event.pid),
    }
}

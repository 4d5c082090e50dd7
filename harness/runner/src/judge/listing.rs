//! A run as a walk through it: each call with who made it, what it came to, who slept and who woke, and
//! beside it what the model expected.

use refan_abi::{ApiValues, Errno};
use refan_model::{End, Kernel, Model, Observation};
use refan_program::{Call, Program, Task};
use refan_wire::Record;

use super::expect::{Outcome, outcome, words};
use super::trace::{Part, Trace};
use crate::Verdict;

/// The run of a program, a paragraph a step. `verdict` says where it went wrong; a call that had not
/// returned when the kernel reported something was in flight.
pub fn listing(program: &Program, records: &[Record], api: ApiValues, verdict: &Verdict) -> String {
    let trace = Trace::read(program, records);
    let kernel = Kernel { api, restartable: true, inodes: trace.inodes.clone() };
    let mut model = Some(Model::new(&kernel, program, trace.main));
    let mut text = String::new();
    for part in &trace.parts {
        let expected = model.as_ref().map_or_else(Vec::new, |model| expected(model, &trace, part));
        let fits =
            model.as_mut().is_none_or(|model| model.step(part.steps.clone(), &part.seen).is_ok());
        if !fits {
            model = None;
        }
        let in_block = program.steps[part.steps.start].block.is_some();
        for number in part.steps.clone() {
            let result = words(program, &trace, &outcome(program, &trace, number));
            text += &call_line(program, number, Some(&result), in_block);
        }
        text += &meanwhile(program, part);
        let told = || expected.join(", or ");
        if !fits {
            text += &note("expected", &told());
        } else if expected.len() > 1 {
            text += &note("expected", &format!("{}, and it was one of these", told()));
        }
        if let Verdict::Broken(violation) = verdict
            && part.steps.contains(&violation.step)
        {
            text += &note("WRONG", &format!("{}: {}", violation.rule, violation.rule.title()));
            text += &note("", &format!("allowed is {}", violation.allowed));
            text += &note("", &format!("and there was {}", violation.observed));
        }
    }
    text + &in_flight(program, &trace, verdict)
}

/// What of the run came behind its last whole step.
fn in_flight(program: &Program, trace: &Trace, verdict: &Verdict) -> String {
    let end = trace.parts.last().map_or(0, |part| part.steps.end);
    let mut text = String::new();
    for number in trace.entered.range(end..) {
        let in_block = program.steps[*number].block.is_some();
        let back = trace.rest.returns.iter().find(|back| back.step == *number);
        let result = back.map(|back| words(program, trace, &Outcome::Returned(back)));
        text += &call_line(program, *number, result.as_deref(), in_block);
    }
    if let Verdict::Report(report) = verdict {
        let when = match trace.entered.range(end..).next_back() {
            Some(last) => format!("in step {}", last + 1),
            None if end < program.steps.len() => format!("before step {}", end + 1),
            None => "when all steps were made".to_owned(),
        };
        text += &note("REPORT", &format!("{when}: {}", report.title));
    } else if let Some(fault) = &trace.fault {
        text += &note("", fault);
    }
    text
}

fn call_line(program: &Program, number: usize, result: Option<&str>, in_block: bool) -> String {
    let step = &program.steps[number];
    let who = match (&step.call, step.caller()) {
        (Call::Await { .. } | Call::Sleep { .. } | Call::KernelLog, _) => "",
        (Call::Kill { .. }, None) => "",
        (_, caller) => program.task_name(caller.unwrap_or(step.task)),
    };
    let bar = if in_block { "|" } else { " " };
    let call = program.step_text(step);
    let silent = matches!(step.call, Call::Fork | Call::Exit | Call::Kill { .. });
    let result = match result {
        None => " ... in flight".to_owned(),
        Some("nothing") if silent => String::new(),
        Some(result) => format!(" = {result}"),
    };
    format!("{:>4} {bar} {who:<8}{call}{result}\n", number + 1)
}

fn note(word: &str, text: &str) -> String {
    format!("{:7}{:<9} {text}\n", "", word)
}

/// Who woke, who ended and who sleeps.
fn meanwhile(program: &Program, part: &Part) -> String {
    let mut text = String::new();
    for back in part.seen.returns.iter().filter(|back| !part.steps.contains(&back.step)) {
        let value = Errno::from_return(back.value)
            .map_or_else(|| back.value.to_string(), |errno| errno.to_string());
        let step = &program.steps[back.step];
        let who = program.task_name(step.caller().unwrap_or(step.task));
        text += &note("woken", &format!("{who}: step {} returns {value}", back.step + 1));
    }
    for (task, end) in &part.seen.ended {
        let how = match end {
            End::Exited(status) => format!("exits with status {status}"),
            End::Signaled(signal) => format!("is ended by signal {signal}"),
        };
        text += &note("ended", &format!("{} {how}", program.task_name(*task)));
    }
    if !part.seen.blocked.is_empty() {
        let names: Vec<&str> =
            part.seen.blocked.iter().map(|task: &Task| program.task_name(*task)).collect();
        text += &note("asleep", &names.join(", "));
    }
    text
}

/// What the model allows of a step or block, each way once.
fn expected(model: &Model<'_>, trace: &Trace, part: &Part) -> Vec<String> {
    let pid = |task: Task| trace.pids.get(&task).copied();
    let Ok(outcomes) = model.outcomes_of(part.steps.clone(), pid) else { return Vec::new() };
    let mut ways = Vec::new();
    for (seen, _) in outcomes {
        let way = way(model.program(), trace, part, seen);
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways
}

/// In words what is seen in one way.
fn way(program: &Program, trace: &Trace, part: &Part, seen: Observation) -> String {
    let mut texts: Vec<String> = Vec::new();
    let several = part.steps.len() > 1;
    for back in &seen.returns {
        let of = &program.steps[back.step];
        let text = if of.call.innermost().returns_fd() && back.value >= 0 {
            "a new fd".to_owned()
        } else {
            words(program, trace, &Outcome::Returned(back))
        };
        if several || !part.steps.contains(&back.step) {
            texts.push(format!("{text} for step {}", back.step + 1));
        } else {
            texts.push(text);
        }
    }
    for task in &seen.blocked {
        texts.push(format!("{} asleep", program.task_name(*task)));
    }
    texts.join("; ")
}

//! A run as text: what each step did, what went on meanwhile, and who was blocked after it.

use std::ops::Range;

use refan_abi::Errno;
use refan_program::{Call, Program, Task};
use refan_wire::Record;

use super::expect::{outcome, words};
use super::trace::{Part, Trace};

/// The run of a program, a line a step, with lines for what earlier calls came to. Times are
/// microseconds since the beginning; those of calls in a block are nanoseconds from the instant at
/// which its branches begin, and calls that were under way at the same time are named. What of the
/// trace makes no sense is left out, and the last line says so.
pub fn history(program: &Program, records: &[Record]) -> String {
    let trace = Trace::read(program, records);
    let times = Times::of(program, records);
    let mut text = String::new();
    for part in &trace.parts {
        let last = part.steps.end - 1;
        let quiet = times.quiet[last]
            .map_or_else(String::new, |at| format!("{} us", at.saturating_sub(times.begin) / 1000));
        let is_block = program.steps[last].block.is_some();
        if is_block {
            text += &format!("{quiet:>12}      par\n");
        }
        for number in part.steps.clone() {
            let quiet = if is_block { "" } else { &quiet };
            text += &step_line(program, &trace, &times, number, quiet);
        }
        text += &meanwhile(program, part);
    }
    let mut last_line = |what: &str| text += &format!("{:17}{what}\n", "");
    if let Some(stuck) = &trace.stuck {
        let names: Vec<&str> = stuck.iter().map(|task| program.task_name(*task)).collect();
        last_line(&format!("did not end when killed: {}", names.join(", ")));
    }
    if let Some(fault) = &trace.fault {
        last_line(fault);
    }
    text
}

/// A step, what it came to, and in a block when.
fn step_line(program: &Program, trace: &Trace, times: &Times, number: usize, time: &str) -> String {
    let step = &program.steps[number];
    let indent = if step.block.is_some() { "  " } else { "" };
    let mut line = format!("{time:>12} {:>3}  {indent}{}", number + 1, program.step_text(step));
    let awaits = matches!(step.call, Call::Await { .. });
    if awaits || !matches!(step.call, Call::Fork | Call::Exit | Call::Kill { .. }) {
        let result = words(program, trace, &outcome(program, trace, number));
        line = format!("{line:<60} -> {result}");
    }
    let block = program.block_of(number);
    if step.block.is_some()
        && let Some(when) = times.in_block(block, number)
    {
        line = format!("{line:<75} {when}");
    }
    format!("{}\n", line.trim_end())
}

/// What happened in a step or block beside its own calls, and how it ended.
fn meanwhile(program: &Program, part: &Part) -> String {
    let mut text = String::new();
    let mut line = |what: &str| text += &format!("{:17}{what}\n", "");
    for back in part.seen.returns.iter().filter(|back| !part.steps.contains(&back.step)) {
        let value = match Errno::from_return(back.value) {
            Some(errno) => errno.to_string(),
            None => back.value.to_string(),
        };
        line(&format!("step {} returns {value}", back.step + 1));
    }
    for (task, end) in &part.seen.ended {
        line(&format!("{} ends: {end:?}", program.task_name(*task)));
    }
    if !part.seen.blocked.is_empty() {
        let names = part.seen.blocked.iter().map(|task: &Task| program.task_name(*task));
        line(&format!("blocked: {}", names.collect::<Vec<_>>().join(", ")));
    }
    text
}

/// When what happened, in nanoseconds of the guest's clock; of each step, if it did.
struct Times {
    begin: u64,
    quiet: Vec<Option<u64>>,
    entered: Vec<Option<u64>>,
    returned: Vec<Option<u64>>,
    /// Of a block's first step.
    instant: Vec<Option<u64>>,
}

impl Times {
    fn of(program: &Program, records: &[Record]) -> Self {
        let none = || vec![None; program.steps.len()];
        let mut times =
            Self { begin: 0, quiet: none(), entered: none(), returned: none(), instant: none() };
        for record in records {
            let (of, step, at) = match record {
                Record::Begin { at } => {
                    times.begin = *at;
                    continue;
                }
                Record::Quiet { step, at, .. } => (&mut times.quiet, step, at),
                Record::Enter { step, at, .. } => (&mut times.entered, step, at),
                Record::Exit { step, at, .. } => (&mut times.returned, step, at),
                Record::Instant { step, at } => (&mut times.instant, step, at),
                _ => continue,
            };
            if let Some(time) = of.get_mut(usize::from(*step)) {
                *time = Some(*at);
            }
        }
        times
    }

    /// When a call of a block was under way: a call of which nothing tells the end still is. One that
    /// was entered before the instant waited for that.
    fn span(&self, instant: u64, step: usize) -> Option<(u64, Option<u64>)> {
        let from = self.entered[step]?.saturating_sub(instant);
        Some((from, self.returned[step].map(|at| at.saturating_sub(instant))))
    }

    /// `2300 to 9120 ns beside 6`.
    fn in_block(&self, block: Range<usize>, step: usize) -> Option<String> {
        let instant = self.instant[block.start]?;
        let (from, to) = self.span(instant, step)?;
        let end = to.map_or_else(|| "…".to_owned(), |to| to.to_string());
        let mut text = format!("{from} to {end} ns");
        let beside: Vec<String> = block
            .filter(|other| *other != step)
            .filter(|other| {
                self.span(instant, *other).is_some_and(|(other_from, other_to)| {
                    to.is_none_or(|to| other_from < to) && other_to.is_none_or(|end| from < end)
                })
            })
            .map(|other| (other + 1).to_string())
            .collect();
        if !beside.is_empty() {
            text += &format!(" beside {}", beside.join(", "));
        }
        Some(text)
    }
}

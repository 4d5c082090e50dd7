//! A run as text: what each step did, what went on meanwhile, and who was blocked after it.

use refan_abi::Errno;
use refan_program::{Call, Program, Task};
use refan_wire::Record;

use super::expect::{outcome, words};
use super::trace::Trace;

/// The run of a program, a line a step, with lines for what earlier calls came to. Times are
/// microseconds since the beginning. What of the trace makes no sense is left out, and the last
/// line says so.
pub fn history(program: &Program, records: &[Record]) -> String {
    let trace = Trace::read(program, records);
    let begin = records
        .iter()
        .find_map(|record| match record {
            Record::Begin { at } => Some(*at),
            _ => None,
        })
        .unwrap_or_default();
    let mut quiet = vec![None; program.steps.len()];
    for record in records {
        if let Record::Quiet { step, at, .. } = record
            && let Some(time) = quiet.get_mut(usize::from(*step))
        {
            *time = Some(at.saturating_sub(begin) / 1000);
        }
    }
    let mut text = String::new();
    for (number, (step, seen)) in program.steps.iter().zip(&trace.steps).enumerate() {
        let time = quiet[number].map_or_else(String::new, |time| format!("{time}"));
        let mut line = format!("{time:>9} us {:>3}  {}", number + 1, program.step_text(step));
        let awaits = matches!(step.call, Call::Await { .. });
        if awaits || !matches!(step.call, Call::Fork | Call::Exit | Call::Kill { .. }) {
            let result = words(program, &trace, &outcome(program, &trace, number));
            line = format!("{line:<60} -> {result}");
        }
        text += line.trim_end();
        text += "\n";
        for back in seen.returns.iter().filter(|back| back.step != number) {
            let value = match Errno::from_return(back.value) {
                Some(errno) => errno.to_string(),
                None => back.value.to_string(),
            };
            text += &format!("{:17}step {} returns {value}\n", "", back.step + 1);
        }
        for (task, end) in &seen.ended {
            let name = program.task_name(*task);
            text += &format!("{:17}{name} ends: {end:?}\n", "");
        }
        if !seen.blocked.is_empty() {
            let names: Vec<&str> =
                seen.blocked.iter().map(|task: &Task| program.task_name(*task)).collect();
            text += &format!("{:17}blocked: {}\n", "", names.join(", "));
        }
    }
    if let Some(stuck) = &trace.stuck {
        let names: Vec<&str> = stuck.iter().map(|task| program.task_name(*task)).collect();
        text += &format!("{:17}did not end when killed: {}\n", "", names.join(", "));
    }
    if let Some(fault) = &trace.fault {
        text += &format!("{:17}{fault}\n", "");
    }
    text
}

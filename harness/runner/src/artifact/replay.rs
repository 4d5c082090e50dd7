//! Whether a run is the same each time.

use anyhow::Result;
use refan_program::Program;

use crate::Prepared;
use crate::earlier::Earlier;
use crate::run::{SeenRun, Worker};

/// What came of replaying a run.
#[derive(Clone, Debug)]
pub struct Replays {
    /// The first run.
    pub first: SeenRun,
    /// How many runs were the same, the first one among them.
    pub same: u32,
    /// What was different in the first one that was not.
    pub difference: Option<String>,
}

/// Runs a program so many times, each time on a freshly restored machine, and holds traces with all
/// their times, and consoles, against those of the first run.
///
/// # Errors
/// No machine starts, or its kernel is not what it is said to be.
pub fn replay(
    prepared: &Prepared,
    reference: Option<&Prepared>,
    earlier: &[Earlier],
    program: &Program,
    runs: u32,
    mut told: impl FnMut(u32),
) -> Result<Replays> {
    let mut worker = Worker::start(prepared, reference)?;
    let first = worker.run_seen(earlier, program);
    told(1);
    let mut replays = Replays { first, same: 1, difference: None };
    for number in 2..=runs {
        let run = worker.run_seen(earlier, program);
        match difference(&replays.first, &run) {
            None => replays.same += 1,
            Some(what) => {
                replays.difference.get_or_insert(format!("run {number}: {what}"));
            }
        }
        told(number);
    }
    Ok(replays)
}

/// The first thing in which a run is another than the first one.
pub fn difference(first: &SeenRun, other: &SeenRun) -> Option<String> {
    let pairs = first.records.iter().zip(&other.records);
    if let Some((at, (one, other))) = pairs.enumerate().find(|(_, (one, other))| one != other) {
        return Some(format!("record {} of the trace is {other:?} where it was {one:?}", at + 1));
    }
    let (one, another) = (first.records.len(), other.records.len());
    if one != another {
        return Some(format!("its trace has {another} records where there were {one}"));
    }
    (first.console != other.console).then(|| "its console says something else".to_owned())
}

#[cfg(test)]
mod tests {
    use refan_wire::Record;

    use super::*;
    use crate::Verdict;

    fn run(times: &[u64], console: &str) -> SeenRun {
        let records = times.iter().map(|at| Record::End { at: *at }).collect();
        SeenRun { verdict: Verdict::Held, records, console: console.to_owned() }
    }

    #[test]
    fn a_nanosecond_makes_another_run() {
        let first = run(&[1, 2], "a");
        assert_eq!(difference(&first, &run(&[1, 2], "a")), None);
        let told = |times, console| difference(&first, &run(times, console)).expect("a difference");
        assert!(told(&[1, 3], "a").starts_with("record 2"));
        assert!(told(&[1], "a").contains("1 records"));
        assert!(told(&[1, 2], "b").contains("console"));
    }
}

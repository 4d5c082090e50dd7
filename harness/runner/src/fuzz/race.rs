//! Races that a campaign has come upon: where a branch began in the midst of another one's call, it is
//! tried at other instants of that call.
//!
//! How many places the call had passed when the branch preempted it says where that was: two instants with
//! the same number are one, and between two whose numbers are neighbours is no further one. So the gaps are
//! halved, the widest first.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use refan_program::{Offset, Program};
use refan_wire::Record;

use crate::sweep;

/// The step of timers on the deterministic machine, in nanoseconds.
const STEP: u32 = 16;

/// No call takes longer, in nanoseconds.
const LONGEST: u32 = 1 << 24;

/// How often a race is run at most.
const RUNS: u32 = 64;

/// What stands for all of a call's places.
const END: u32 = u32::MAX;

/// The races that were tried, by what met and what came of it.
#[derive(Debug, Default)]
pub(super) struct Races(HashSet<u64>);

/// A race that is tried at one instant after another.
#[derive(Debug)]
pub(super) struct Race {
    program: Program,
    /// The step that begins the branch.
    step: usize,
    /// How many places the other call had passed at each instant that was tried.
    tried: BTreeMap<u32, u32>,
    runs: u32,
}

impl Races {
    /// A race in this run that is of no kind that was met before.
    pub fn new_in(&mut self, program: &Program, records: &[Record]) -> Option<Race> {
        let is_plain = |step: &usize| {
            let start = program.steps[*step].start;
            start.is_some_and(|start| matches!(start.at, Offset::Nanoseconds(_)))
        };
        let mut started = (0..program.steps.len()).filter(is_plain);
        started.find_map(|step| {
            let raced = sweep::has_raced(program, step, records);
            let is_new = raced && self.0.insert(kind(program, step, records));
            is_new.then(|| Race { program: program.clone(), step, tried: BTreeMap::new(), runs: 0 })
        })
    }
}

/// What the calls of the block are and what they came to.
fn kind(program: &Program, step: usize, records: &[Record]) -> u64 {
    let block = program.block_of(step);
    let mut hasher = DefaultHasher::new();
    step.abs_diff(block.start).hash(&mut hasher);
    for step in block {
        program.steps[step].call.innermost().name().hash(&mut hasher);
        // How many bytes there were, or which fd it is, says nothing.
        let returned = records.iter().find_map(|record| match record {
            Record::Exit { step: of, ret, .. } if usize::from(*of) == step => Some((*ret).min(1)),
            _ => None,
        });
        returned.hash(&mut hasher);
    }
    hasher.finish()
}

impl Race {
    /// The program with the branch at the next instant; none when there is nothing left to try.
    pub fn next(&self) -> Option<Program> {
        if self.runs >= RUNS {
            return None;
        }
        let at = self.offset()?;
        let mut program = self.program.clone();
        program.steps[self.step].start.as_mut()?.at = Offset::Nanoseconds(at);
        Some(program)
    }

    /// Takes note of a run of such a program.
    pub fn note(&mut self, program: &Program, records: &[Record]) {
        self.runs += 1;
        let start = program.steps.get(self.step).and_then(|step| step.start);
        let Some(Offset::Nanoseconds(at)) = start.map(|start| start.at) else { return };
        let passed = records.iter().find_map(|record| match record {
            Record::Preempts { step, places } if usize::from(*step) == self.step => Some(*places),
            _ => None,
        });
        // It may have begun when the other one had returned.
        let raced = sweep::has_raced(program, self.step, records);
        self.tried.insert(at, passed.filter(|passed| raced || *passed == 0).unwrap_or(END));
    }

    fn offset(&self) -> Option<u32> {
        let start = self.program.steps[self.step].start?;
        let Offset::Nanoseconds(found) = start.at else { return None };
        if self.tried.is_empty() {
            return Some(0);
        }
        // First the end of the call is looked for: what is behind it is one instant.
        let (last, passed) = self.tried.last_key_value()?;
        if *passed != END {
            return Some(last.max(&found).saturating_mul(2).max(STEP)).filter(|at| *at < LONGEST);
        }
        let pairs = self.tried.iter().zip(self.tried.iter().skip(1));
        let gaps = pairs.filter(|((from, before), (to, behind))| {
            to.abs_diff(**from) > STEP && behind.saturating_sub(**before) > 1
        });
        let (from, to) = gaps
            .max_by_key(|((from, before), (to, behind))| {
                // Where the call ends is told only by going there.
                let places = if **behind == END { 1 } else { **behind - **before };
                (places, to.abs_diff(**from))
            })
            .map(|((from, _), (to, _))| (*from, *to))?;
        Some(((from + (to - from) / 2) / STEP * STEP).max(from + STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nd = fork()\npar {\n    \
                        open_queue(c)\n    d: close(c) @ 320ns\n}\n";

    /// The call passes a place every 64 ns, from 128 ns on, up to 20 of them.
    fn records(program: &Program) -> Vec<Record> {
        let start = program.steps[3].start.expect("a start");
        let Offset::Nanoseconds(at) = start.at else { panic!("it is plain") };
        let enter = |step, task, at| Record::Enter { step, task, at };
        let exit =
            |step, task, at| Record::Exit { step, task, at, ret: 0, data: refan_wire::Data::None };
        let base = [Record::Instant { step: 2, at: 0 }, enter(2, 0, 0)];
        let places = (at.saturating_sub(64) / 64).min(20);
        let mut own = vec![Record::Preempts { step: 3, places }, enter(3, 1, at.into())];
        own.push(exit(3, 1, u64::from(at) + 10));
        let end = exit(2, 0, 1500);
        let records =
            if places == 20 { [vec![end], own].concat() } else { [own, vec![end]].concat() };
        [base.to_vec(), records].concat()
    }

    #[test]
    fn every_place_of_a_race_is_tried_once() {
        let program = refan_program::parse(TEXT).expect("a program");
        let mut races = Races::default();
        let mut race = races.new_in(&program, &records(&program)).expect("it raced");
        assert!(races.new_in(&program, &records(&program)).is_none(), "it is known");
        let mut runs = 0;
        while let Some(program) = race.next() {
            race.note(&program, &records(&program));
            runs += 1;
        }
        let met: HashSet<u32> = race.tried.values().copied().collect();
        assert_eq!(met.len(), 21, "{:?}", race.tried);
        assert!(runs < 45, "{runs}");
    }

    #[test]
    fn what_did_not_race_is_not_tried() {
        let late = TEXT.replace("320ns", "5000ns");
        let program = refan_program::parse(&late).expect("a program");
        assert!(Races::default().new_in(&program, &records(&program)).is_none());
    }
}

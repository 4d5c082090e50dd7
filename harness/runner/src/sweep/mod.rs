//! `@ sweep`: a program run again and again, each time with the swept branch at another offset, so
//! that it preempts the others at one place after another (bounded preemptions, systematically, as
//! CHESS and PCT do it).
//!
//! The first run puts the branch behind everything that the base does, which tells how long that is
//! and, on a kernel with KCOV, which places it passes. Then offsets are chosen by [`Search`]. Each run
//! has a machine of its own, restored from the same snapshot: so all of them do the same up to the
//! preemption, and what one of them hit is hit again by whoever runs the program with that offset.

mod budget;
mod known;
mod plan;
mod search;
mod seen;

use std::collections::BTreeMap;
use std::ops::Range;

use refan_program::{Offset, Program};
use refan_wire::Record;

pub use budget::Budget;
pub use plan::Plan;
pub use search::Places;

use crate::judge;
use search::{At, STEP, Search};
use seen::Seen;

/// An offset behind all that a base does, in nanoseconds.
const BEHIND: u32 = 200_000_000;

/// How long a base counts as when nothing tells, in nanoseconds.
const UNKNOWN_LENGTH: u32 = 1_000_000;

/// How many offsets are tried while a base exits.
const IN_EXIT: u32 = 4;

/// How often a sweep is run where time is not virtual.
const REPEATS: u32 = 20;

/// The same, at most, where there is time for more.
const MOST_REPEATS: u32 = 1 << 13;

/// What a sweep has tried and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Runs.
    pub runs: u32,
    /// Those in which the swept branch began while a call of another one was under way.
    pub raced: u32,
    /// Places of the base; none where it could not be watched.
    pub places: Option<Places>,
    /// Whether there was nothing left to try.
    pub complete: bool,
    /// Each distinct outcome, with how often it was seen.
    pub outcomes: BTreeMap<BlockOutcome, u32>,
}

/// Whether the branch that begins with this step began while a call of another branch of its block
/// was under way and not asleep.
pub fn has_raced(program: &Program, step: usize, records: &[Record]) -> bool {
    Seen::of(program, step, records).raced
}

/// What the calls of a block came to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockOutcome {
    /// The result of each step.
    pub results: String,
    /// The steps in the order in which they returned.
    pub order: String,
}

impl Sweep {
    /// In how many orders the calls have returned.
    pub fn orders(&self) -> usize {
        let mut orders: Vec<&str> =
            self.outcomes.keys().map(|outcome| outcome.order.as_str()).collect();
        orders.sort_unstable();
        orders.dedup();
        orders.len()
    }

    fn note(&mut self, program: &Program, swept: usize, records: &[Record], seen: &Seen) {
        self.runs += 1;
        self.raced += u32::from(seen.raced);
        let (results, order) = judge::block_outcome(program, records, program.block_of(swept));
        *self.outcomes.entry(BlockOutcome { results, order }).or_default() += 1;
    }
}

/// The program with a plain offset in place of the sweep.
fn plain(program: &Program, swept: usize, offset: u32) -> Program {
    let mut program = program.clone();
    if let Some(start) = &mut program.steps[swept].start {
        start.at = Offset::Nanoseconds(offset);
    }
    program
}

/// The search that the first run, in which the swept branch came last, gives rise to.
fn new_search(seen: &Seen, virtual_time: bool, budget: Budget) -> Search {
    let before = |time: Option<u64>| time.filter(|time| *time < u64::from(BEHIND));
    let rested = before(seen.rested).filter(|_| virtual_time);
    let returned = before(seen.returned);
    let longest = if seen.exits { rested.max(returned) } else { returned.or(rested) };
    let end = longest.map_or(UNKNOWN_LENGTH, |end| end as u32);
    if !virtual_time {
        let runs = if matches!(budget, Budget::Time(_)) { MOST_REPEATS } else { REPEATS };
        return Search::grid(end, runs - 1);
    }
    match &seen.at {
        // A base may pass nothing that the kernel tells.
        Some(At::End(path)) if !path.is_empty() => {
            let exit = returned.filter(|_| seen.exits).map(|returned| returned as u32..end);
            let in_exit = exit.into_iter().flat_map(|Range { start, end }| {
                (1..=IN_EXIT).map(move |i| (start + (end - start) / IN_EXIT * i) / STEP * STEP)
            });
            Search::watched(path.clone(), end, in_exit.collect())
        }
        _ => Search::blind(end),
    }
}

//! How deep programs went that nobody wrote: of random ones it says whether they tried anything.

use std::collections::{BTreeMap, BTreeSet};

use refan_model::{Reached, Traversed};
use refan_program::{Program, Step};
use refan_wire::Record;

use crate::judge;
use crate::sweep;

/// What runs of programs have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How many programs were run.
    pub programs: u32,
    /// How many of them reached what.
    pub reached: BTreeMap<Reached, u32>,
    /// By what a fuzzer tells runs apart ([`Traversed::features`]).
    pub features: BTreeSet<u32>,
    /// Their blocks.
    pub blocks: Blocks,
}

/// What happened in blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Blocks of at least two branches.
    pub blocks: u32,
    /// Blocks whose calls have not returned in the order in which they stand.
    pub reordered: u32,
    /// Branches with a start.
    pub started: u32,
    /// Those of them that began while a call of another branch was under way and not asleep.
    pub raced: u32,
}

impl Reach {
    /// Of one run, of which the model says that it went through this.
    pub(crate) fn of(program: &Program, records: &[Record], traversed: Traversed) -> Self {
        let Traversed { reached, features } = traversed;
        let reached = reached.into_iter().map(|what| (what, 1)).collect();
        Self { programs: 1, reached, features, blocks: Blocks::of(program, records) }
    }

    /// Adds that of other runs.
    pub fn add(&mut self, other: &Self) {
        self.programs += other.programs;
        for (what, number) in &other.reached {
            *self.reached.entry(*what).or_default() += number;
        }
        self.features.extend(&other.features);
        self.blocks.blocks += other.blocks.blocks;
        self.blocks.reordered += other.blocks.reordered;
        self.blocks.started += other.blocks.started;
        self.blocks.raced += other.blocks.raced;
    }
}

impl Blocks {
    fn of(program: &Program, records: &[Record]) -> Self {
        let mut all = Self::default();
        let mut at = 0;
        while at < program.steps.len() {
            let block = program.block_of(at);
            let steps = &program.steps[block.clone()];
            at = block.end;
            let mut callers = steps.iter().filter_map(Step::caller);
            let first = callers.next();
            if steps[0].block.is_none() || callers.all(|caller| Some(caller) == first) {
                continue;
            }
            let returned = judge::returned_in(program, records, block.clone());
            all.blocks += 1;
            all.reordered += u32::from(!returned.is_sorted());
            for step in block.filter(|step| program.steps[*step].start.is_some()) {
                all.started += 1;
                all.raced += u32::from(sweep::has_raced(program, step, records));
            }
        }
        all
    }
}

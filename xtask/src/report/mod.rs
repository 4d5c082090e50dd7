//! How results are told: to a person, to a program, to a KTAP reader.

mod json;
mod ktap;
mod terminal;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use refan_runner::reach::Reach;
use refan_runner::sweep::{Places, Sweep};
use refan_runner::{Outcome, Prepared};

use crate::cli::Output;

pub use terminal::{repeated, seconds};

/// Takes what happens during a run, in the order in which it happens.
pub trait Report {
    /// The machines are ready; so many scenarios will run.
    fn start(&mut self, prepared: &Prepared, scenarios: usize, machines: usize);
    /// A scenario is done; what it found is kept in the folder `artifact`.
    fn outcome(&mut self, outcome: &Outcome, artifact: Option<&Path>);
    /// All are done.
    fn end(&mut self, totals: &Totals);
}

/// How many scenarios came to what.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Held.
    pub held: usize,
    /// A rule was broken, or the kernel reported.
    pub findings: usize,
    /// The kernel reported nothing but what is known, by title.
    pub known: BTreeMap<String, usize>,
    /// The kernel neither has nor claims to have what they need.
    pub unsupported: usize,
    /// Nothing was learnt.
    pub none: usize,
    /// What the sweeps have tried.
    pub sweeps: Sweeps,
    /// What random programs have come to, if that is what was run.
    pub reach: Option<Reach>,
    /// Why nothing was learnt, and how often.
    pub unjudged: BTreeMap<String, usize>,
    /// From the first scenario's start to the last one's end.
    pub elapsed: Duration,
}

impl Totals {
    /// How many came to nothing but a known report.
    pub fn known(&self) -> usize {
        self.known.values().sum()
    }
}

/// What several sweeps have tried.
#[derive(Debug, Clone, Default)]
pub struct Sweeps {
    /// How many.
    pub sweeps: usize,
    /// Those in which no call was made while another was under way.
    pub without_race: usize,
    /// Those that had nothing left to try.
    pub complete: usize,
    /// Runs of all.
    pub runs: u32,
    /// Those in which a call was made while another was under way.
    pub raced: u32,
    /// Places of those that could be watched, each counted in each sweep.
    pub counts: Counts,
    /// The same places, each counted once.
    pub distinct: Places,
}

/// Places by number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// At which a base was preempted.
    pub hit: usize,
    /// At which it cannot be, since preemption is off there.
    pub out_of_reach: usize,
    /// All.
    pub total: usize,
}

impl Counts {
    /// How many there are of each.
    pub fn of(places: &Places) -> Self {
        Self {
            hit: places.hit.len(),
            out_of_reach: places.out_of_reach.difference(&places.hit).count(),
            total: places.all.len(),
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hit, out_of_reach, total } = self;
        write!(f, "{hit} of {total} places hit ({out_of_reach} out of reach, with preemption off)")
    }
}

impl Sweeps {
    /// Adds one.
    pub fn add(&mut self, sweep: &Sweep) {
        self.sweeps += 1;
        self.without_race += usize::from(sweep.raced == 0);
        self.complete += usize::from(sweep.complete);
        self.runs += sweep.runs;
        self.raced += sweep.raced;
        if let Some(places) = &sweep.places {
            let counts = Counts::of(places);
            self.counts.hit += counts.hit;
            self.counts.out_of_reach += counts.out_of_reach;
            self.counts.total += counts.total;
            self.distinct.hit.extend(&places.hit);
            self.distinct.out_of_reach.extend(&places.out_of_reach);
            self.distinct.all.extend(&places.all);
        }
    }
}

/// The report that the options ask for.
pub fn choose(output: Output) -> Box<dyn Report> {
    match output {
        Output { json: true, .. } => Box::new(json::Json),
        Output { ktap: true, .. } => Box::new(ktap::Ktap::default()),
        Output { .. } => Box::new(terminal::Terminal::default()),
    }
}

//! How results are told: to a person, to a program, to a KTAP reader.

mod json;
mod ktap;
mod terminal;

use std::time::Duration;

use refan_runner::{Outcome, Prepared};

use crate::cli::Output;

pub use terminal::seconds;

/// Takes what happens during a run, in the order in which it happens.
pub trait Report {
    /// The machines are ready; so many scenarios will run.
    fn start(&mut self, prepared: &Prepared, scenarios: usize, machines: usize);
    /// A scenario is done.
    fn outcome(&mut self, outcome: &Outcome);
    /// All are done.
    fn end(&mut self, totals: &Totals);
}

/// How many scenarios came to what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Held.
    pub held: usize,
    /// A rule was broken, or the kernel reported.
    pub findings: usize,
    /// The kernel neither has nor claims to have what they need.
    pub unsupported: usize,
    /// Nothing was learnt.
    pub none: usize,
    /// From the first scenario's start to the last one's end.
    pub elapsed: Duration,
}

/// The report that the options ask for.
pub fn choose(output: Output) -> Box<dyn Report> {
    match output {
        Output { json: true, .. } => Box::new(json::Json),
        Output { ktap: true, .. } => Box::new(ktap::Ktap::default()),
        Output { .. } => Box::new(terminal::Terminal::default()),
    }
}

//! Run, judge, report: what the command line, the scenarios' tests and the fuzz target call.

pub mod artifact;
pub mod c_source;
pub mod cache;
pub mod corpus;
pub mod coverage;
pub mod debug;
pub mod differential;
pub mod earlier;
pub mod exec;
pub mod fuzz;
pub mod gcov;
pub mod guest;
pub mod judge;
pub mod kernel_log;
mod kmemleak;
pub mod known;
pub mod minimize;
pub mod pool;
pub mod prepared;
pub mod random;
pub mod reach;
pub mod run;
pub mod suite;
pub mod sweep;
mod verdict;
mod watchdog;

pub use prepared::{Declared, Prepared};
pub use run::Outcome;
pub use verdict::Verdict;

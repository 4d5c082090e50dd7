//! The contract as a state machine that judges.
//!
//! The model takes the steps of a program together with what was observed of each, and says whether
//! the contract allows it. It makes no system calls and knows nothing of guests and traces.
//!
//! What the contract leaves to mainline follows Linux 7.3.4; each place names the function of the
//! kernel that it follows.

mod access;
mod action;
mod agree;
mod calls;
mod context;
mod counterexample;
mod explore;
mod fault;
mod fdinfo;
mod feature;
mod footprint;
mod group;
mod history;
mod kernel;
mod latest;
mod lookup;
mod mark;
mod model;
mod observe;
mod outcomes;
mod reached;
mod read;
mod rules;
mod signal;
mod socket;
mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod violation;
mod walk;
mod watchdog;

pub use kernel::Kernel;
pub use model::Model;
pub use observe::{End, Moment, Object, Observation, Return, Seen, SeenEvent, Skipped};
pub use outcomes::MAIN_PID;
pub use reached::{Reached, Traversed};
pub use violation::{Stop, Violation};

//! Programs that nobody wrote, one after another on one machine: what a fuzz target does with its
//! input, without the engine that chooses it.

mod driver;
mod exchange;
mod finding;
pub mod minimize;
mod progress;
mod race;

pub use driver::{Driver, Feedback, MODEL_COUNTERS, as_searched};
pub use exchange::{Exchanged, ToShare};
pub use finding::{Confirmer, Found, Key};
pub(crate) use finding::{moved, spread};
pub use progress::{Progress, Shares};

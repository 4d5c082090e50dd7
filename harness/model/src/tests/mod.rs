//! Histories of right and wrong kernels, written down by hand.

mod race;
mod search;
mod speed;
pub(crate) mod tape;

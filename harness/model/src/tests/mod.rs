//! Histories of right and wrong kernels, written down by hand.

mod race;
mod speed;
pub(crate) mod tape;

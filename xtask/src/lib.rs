//! What the command line is made of.

pub mod doctor;
pub mod kernel;

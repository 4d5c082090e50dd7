//! What the command line is made of.

pub mod docs;
pub mod doctor;
pub mod kernel;

//! What the command line is made of.

pub mod kernel;

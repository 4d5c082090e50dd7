//! Placeholder.

pub mod cache;

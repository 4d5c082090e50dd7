//! What was reached and what was found, as pages to open from disk: HTML without scripts, and nothing
//! that is not in their folder.
//!
//! [`coverage`] and [`campaign`] are the records that the pages are made from, [`gcov`] reads what gcov
//! counts, [`compare`] holds a run against an earlier one, and [`pages`] makes the pages.

#[cfg(test)]
mod browser;
pub mod campaign;
pub mod compare;
pub mod coverage;
pub mod gcov;
pub mod mutants;
pub mod page;
pub mod pages;
pub mod plot;
#[cfg(test)]
mod testing;

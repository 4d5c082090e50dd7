//! The text form: what people read and write, and what the repository stores.
//!
//! One step a line, `[TASK:] [NAME… =] CALL [-> EXPECTATION]`. Lines that begin with `#` are
//! comments: those before the first step are the program's header, others belong to the step below
//! them. Blank lines mean nothing. Printing is canonical: expectations begin in one column where
//! they can.

mod call;
mod cursor;
mod error;
mod expect;
mod parse;
mod print;
mod quote;
mod words;

pub use error::ParseError;
pub use parse::parse;

#[cfg(test)]
mod tests;

//! The text form: what people read and write, and what the repository stores.
//!
//! One step a line, `[TASK:] [NAME… =] CALL [@ START] [-> EXPECTATION]`. Steps of a block stand
//! between a line `par {` and a line `}`, and only they can have a start. Lines that begin with `#`
//! are comments: those before the first step are the program's header, others belong to the step
//! below them. Blank lines mean nothing. Printing is canonical: starts and expectations begin in one
//! column where they can, and comments of a block's first step stand above the block.

mod call;
mod cursor;
mod error;
mod expect;
mod parse;
mod print;
mod quote;
mod start;
mod words;

pub use error::ParseError;
pub use parse::parse;

#[cfg(test)]
mod tests;

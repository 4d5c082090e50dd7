//! Which parts of the kernel's source were passed.
//!
//! KCOV tells *places*; which functions and lines those stand for the kernel's debug information and code
//! say. What is to be covered of the lines is data: `kernel-configs/coverage/exclusions.toml` and the
//! patches of the series.

mod added;
mod blocks;
mod code;
mod exclusions;
mod flow;
mod machine_code;
mod report;
mod source;

pub use added::added_lines;
pub use blocks::{Lines, PassedLines};
pub use code::Code;
pub use exclusions::Exclusions;
pub use report::{LineGoals, Part, Report};

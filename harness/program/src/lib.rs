//! The program: the one thing that scenarios, fuzz inputs, artifacts and reproducers are.
//!
//! A program is a list of [`Step`]s over named files, fds, events and tasks. It has this one type
//! in memory, a text form and a binary form. Nothing here makes a system call.

mod binary;
mod call;
mod executable;
mod expect;
pub mod mutate;
mod names;
mod path;
mod program;
pub mod reduce;
mod rule;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;
mod valid;

pub use binary::DecodeError;
pub use call::{Call, Facility, Fd, Sysctl};
pub use expect::{EventPattern, Expect};
pub use path::{Inode, Mount, Path, PathKind};
pub use program::{Bind, Block, Offset, Program, Start, Step, Task, Var, VarDecl, VarKind};
pub use rule::Rule;
pub use text::{ParseError, parse};
pub use valid::ProgramError;

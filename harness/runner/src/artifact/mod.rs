//! What is kept of a finding: a folder with all that it takes to understand it, to run it again and to
//! attach it to a mail.
//!
//! ```text
//! README              what was found, and the one command that runs it again
//! artifact.json       the same for programs: an [`Artifact`]
//! program.scn         the program as text, a scenario
//! program.bin         the same in its binary form
//! earlier.bin         what ran on the machine before it, if it does not fail without
//! repro.c             the same as C, of a finding that was minimized
//! verdict.txt         what was allowed and what was seen
//! history.txt         the run, call by call
//! report.txt          the kernel's report as printed, if that is what was found
//! symbolized.txt      the same with lines of the source, where there is debug information
//! console.txt         all that the kernel printed during the run
//! kernel.config       the configuration of a kernel that was built here
//! machine.toml        the machine profile
//! ```
//! It appears whole under its name or not at all.

mod folder;
mod readme;
mod record;
mod repeat;
mod replay;
mod write;

pub use record::{Artifact, Broken, Error, FORMAT};
pub use repeat::{Repeats, repeat};
pub use replay::{Replays, difference, replay};
pub use write::{write, write_with_c};

/// The program as text.
pub const PROGRAM: &str = "program.scn";
/// The program as C.
pub const C_SOURCE: &str = "repro.c";
/// The [`Artifact`].
const RECORD: &str = "artifact.json";
/// What ran before ([`crate::earlier`]).
const EARLIER: &str = "earlier.bin";

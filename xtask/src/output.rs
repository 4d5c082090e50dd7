//! Standard output: what a command has to say, line by line.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write as _};

use crate::exit::Exit;

/// Prints a line to standard output, as `println!` does.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::output::line(format_args!($($arguments)*)) };
}

/// Prints a line. When nobody reads it any more (`| head`) or it cannot be written, there is no
/// verdict to tell, and the process ends; what it started dies with it.
pub fn line(arguments: Arguments) {
    let mut out = io::stdout().lock();
    give_up_on_failure(out.write_fmt(arguments).and_then(|()| out.write_all(b"\n")));
}

/// Prints bytes as they are, at once; as [`line`] does where they cannot be.
pub fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    give_up_on_failure(out.write_all(bytes).and_then(|()| out.flush()));
}

fn give_up_on_failure(written: io::Result<()>) {
    let Err(error) = written else { return };
    if error.kind() != ErrorKind::BrokenPipe {
        eprintln!("error: cannot write to standard output: {error}");
    }
    std::process::exit(i32::from(Exit::NoVerdict.status()));
}

//! A program that nobody looks on at: what it says is kept.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use refan_runner::Prepared;
use refan_runner::exec::{self, Input, Peer, Ran, Stream, Streams};

use super::guest_files::Inside;
use super::{NO_TERM, command};

/// Runs a static program of the host on a freshly started machine. Returns what came of it, and what it wrote.
pub fn run(prepared: &Prepared, program: &Path, limit: Duration) -> Result<(Ran, String)> {
    let mut inside = Inside::default();
    let words = [program.as_os_str().to_owned()];
    let (program, rest) = inside.add_program(&words)?;
    let command = command(program.in_guest(), rest, NO_TERM, Peer::Pipes, Some(limit));
    let prepared = exec::with_room(prepared, &inside.files)?;
    let mut kept = Kept(Vec::new());
    let ran = exec::run(&prepared, &inside.files, &command, &mut kept)?;
    Ok((ran, String::from_utf8_lossy(&kept.0).into_owned()))
}

/// What was written, by whatever stream.
struct Kept(Vec<u8>);

impl Streams for Kept {
    fn wrote(&mut self, _: Stream, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn input(&mut self, _: Duration) -> Input {
        Input::End
    }
}

//! `shell`: an interactive guest.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use refan_runner::exec::{self, Input, Peer, Stream, Streams, Window};

use super::guest_files::Inside;
use super::raw_mode::RawMode;
use super::terminal::Terminal;
use super::{command, prepare, tell};
use crate::cli;
use crate::exit::{Exit, usage};

/// What the guest's programs take the terminal for where this process does not know.
const TERM: &str = "vt100";

/// Runs a shell in the guest at the user's terminal, and passes on what it ends with.
pub fn run(repository: &Path, arguments: &cli::Shell) -> Result<Exit> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(usage(
            "a shell needs a terminal as its input and output; `exec` runs commands without one",
        ));
    }
    let mut inside = Inside::of(&arguments.guest)?;
    let words = match &arguments.command[..] {
        [] => vec![inside.shell()?],
        words => words.to_vec(),
    };
    let (program, rest) = inside.add_program(&words)?;
    let (_ready, prepared) = prepare(repository, &arguments.guest, true, &inside.files)?;
    eprintln!("  kernel   {}", prepared.kernel);
    eprintln!("  machine  {}", prepared.machine);
    let window = size()?;
    let term = std::env::var("TERM").unwrap_or_else(|_| TERM.to_owned());
    let command = command(program.in_guest(), rest, &term, Peer::Terminal(window), None);
    let raw_mode = RawMode::enter(rustix::stdio::stdin()).context("the terminal's raw mode")?;
    let ran = exec::run(&prepared, &inside.files, &command, &mut AtTerminal { window });
    drop(raw_mode);
    Ok(tell(&ran?, &program.name(), None))
}

/// The user's terminal, as a command's.
struct AtTerminal {
    /// The size that the guest knows.
    window: Window,
}

impl Streams for AtTerminal {
    fn wrote(&mut self, stream: Stream, bytes: &[u8]) {
        Terminal.wrote(stream, bytes);
    }

    fn input(&mut self, wait: Duration) -> Input {
        match size() {
            Ok(window) if window != self.window => {
                self.window = window;
                Input::Window(window)
            }
            _ => Terminal.input(wait),
        }
    }
}

fn size() -> Result<Window> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout())
        .context("asking for the terminal's size")?;
    Ok(Window { rows: size.ws_row, columns: size.ws_col })
}

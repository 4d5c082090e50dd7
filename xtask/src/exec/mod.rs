//! `exec`: what the user has, run in the guest.

mod guest_files;
mod terminal;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use refan_runner::exec::{self, Command, CommandEnd, Files, Ran, TaskEnd};

use crate::cli;
use crate::exit::Exit;
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{mutants, report};
use guest_files::{FOLDER, Program};
use terminal::Terminal;

/// Its environment: what a shell's login would set.
const ENVIRONMENT: [(&str, &str); 4] =
    [("PATH", "/work:/bin:/sbin:/usr/bin:/usr/sbin"), ("HOME", "/work"), ("USER", "root"), ("TERM", "dumb")];

/// Runs the command and passes on what it ends with.
pub fn run(repository: &Path, arguments: &cli::Exec) -> Result<Exit> {
    // What the user can mend is told before anything is built.
    let mut files = Files::default();
    if let Some(busybox) = &arguments.busybox {
        guest_files::add_busybox(&mut files, busybox)?;
    }
    for path in &arguments.copy {
        guest_files::add_copy(&mut files, path)?;
    }
    let has_busybox = arguments.busybox.is_some();
    let (program, rest) = guest_files::program(&arguments.command, has_busybox)?;
    program.add(&mut files)?;
    let command = command(&program, rest, arguments);

    let steps = Steps::new();
    let ready = prepare_kernel(repository, arguments, &steps)?;
    steps.done();
    let ran = exec::run(&ready.prepared, &files, &command, &mut Terminal)?;
    Ok(tell(&ran, &program.name(), arguments))
}

fn prepare_kernel(repository: &Path, arguments: &cli::Exec, steps: &Steps) -> Result<Ready> {
    match &arguments.mutant {
        Some(name) => mutants::prepare(repository, name, &arguments.machine, steps),
        None => prepare::prepare(repository, &arguments.machine, steps),
    }
}

fn command(program: &Program, rest: &[OsString], arguments: &cli::Exec) -> Command {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Command {
        program: program.in_guest(),
        arguments: rest.iter().map(|word| word.as_bytes().to_vec()).collect(),
        environment: ENVIRONMENT.map(|(name, value)| (bytes(name), bytes(value))).to_vec(),
        folder: bytes(FOLDER),
        limit_ms: u64::try_from(arguments.timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Says on standard error what the program's own output does not, and with what all of it ends: the
/// kernel's word comes first.
fn tell(ran: &Ran, name: &str, arguments: &cli::Exec) -> Exit {
    let (exit, what) = match &ran.end {
        Some(CommandEnd::Ended(TaskEnd::Exited(status))) => {
            (Exit::Command(u8::try_from(*status).unwrap_or(u8::MAX)), None)
        }
        Some(CommandEnd::Ended(TaskEnd::Signaled(signal))) => {
            let status = u8::try_from(*signal).unwrap_or(u8::MAX).saturating_add(128);
            (Exit::Command(status), Some(format!("{name} was ended by signal {signal}")))
        }
        Some(CommandEnd::NotStarted { errno }) => {
            let missing = std::io::Error::from_raw_os_error(*errno);
            let status = if missing.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
            (Exit::Command(status), Some(format!("{name} cannot be executed: {missing}")))
        }
        Some(CommandEnd::Overdue { tasks }) => {
            let after = report::seconds(arguments.timeout);
            let tasks: String = tasks.lines().map(|line| format!("\n  {line}")).collect();
            (Exit::NoVerdict, Some(format!("{name} has not ended after {after}:{tasks}")))
        }
        None => (Exit::NoVerdict, None),
    };
    if let Some(what) = what {
        eprintln!("error: {what}");
    }
    let Some(found) = &ran.report else { return exit };
    if let Exit::Command(status @ 0..128) = exit {
        eprintln!("note: {name} itself ended with status {status}");
    }
    eprintln!("error: the kernel reported: {}", found.title);
    for line in found.best_text().lines() {
        eprintln!("  {}", line.trim_end());
    }
    Exit::Broken
}

//! `exec` and `shell`: what the user has, run in the guest.

mod folder;
mod guest_files;
mod quiet;
mod raw_mode;
mod rootfs;
mod shell;
mod tap;
mod terminal;

pub use quiet::run as quietly;
pub use shell::run as shell;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use refan_runner::Prepared;
use refan_runner::exec::{self, Command, CommandEnd, Files, Peer, Ran, TaskEnd};
use refan_wire::WORK_FOLDER;

use crate::cli;
use crate::exit::{Exit, usage};
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{mutants, report};
use guest_files::{Inside, search_path};
use terminal::Terminal;

/// The terminal of a command that has none.
const NO_TERM: &str = "dumb";

/// Runs the command and passes on what it ends with.
pub fn run(repository: &Path, arguments: &cli::Exec) -> Result<Exit> {
    // What the user can mend is told before anything is built.
    let mut inside = Inside::of(&arguments.guest)?;
    if let Some(folder) = inside.folder(&arguments.command) {
        if arguments.command.len() > 1 {
            return Err(usage("the tests of a folder are run without arguments"));
        }
        return folder::run(repository, arguments, inside, folder);
    }
    let (program, rest) = inside.add_program(&arguments.command)?;
    let command = command(program.in_guest(), rest, NO_TERM, Peer::Pipes, Some(arguments.timeout));
    let (_ready, prepared) = prepare(repository, &arguments.guest, false, &inside.files)?;
    let ran = exec::run(&prepared, &inside.files, &command, &mut Terminal)?;
    Ok(tell(&ran, &program.name(), Some(arguments.timeout)))
}

/// Prepares the kernel, and a machine with room for the files.
fn prepare(
    repository: &Path,
    arguments: &cli::Guest,
    terminals: bool,
    files: &Files,
) -> Result<(Ready, Prepared)> {
    let steps = Steps::new();
    let machine = cli::Machine { terminals, ..arguments.machine.clone() };
    let ready = match &arguments.mutant {
        Some(name) => mutants::prepare(repository, name, &machine, &steps)?,
        None => prepare::prepare(repository, &machine, &steps)?,
    };
    steps.done();
    let prepared = exec::with_room(&ready.prepared, files)?;
    Ok((ready, prepared))
}

fn command(
    program: Vec<u8>,
    rest: &[OsString],
    term: &str,
    speaks_to: Peer,
    limit: Option<Duration>,
) -> Command {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let path = search_path();
    // What a shell's login would set.
    let environment =
        [("PATH", path.as_str()), ("HOME", WORK_FOLDER), ("USER", "root"), ("TERM", term)];
    Command {
        program,
        arguments: rest.iter().map(|word| word.as_bytes().to_vec()).collect(),
        environment: environment.map(|(name, value)| (bytes(name), bytes(value))).to_vec(),
        folder: bytes(WORK_FOLDER),
        speaks_to,
        limit_ms: limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Says on standard error what the program's own output does not.
fn tell(ran: &Ran, name: &str, limit: Option<Duration>) -> Exit {
    let exit = exit_of(ran);
    let what = match &ran.end {
        None | Some(CommandEnd::Ended(TaskEnd::Exited(_))) => None,
        Some(CommandEnd::Ended(TaskEnd::Signaled(signal))) => {
            Some(format!("{name} was ended by signal {signal}"))
        }
        Some(CommandEnd::NotStarted { errno }) => {
            let error = std::io::Error::from_raw_os_error(*errno);
            Some(format!("{name} cannot be executed: {error}"))
        }
        Some(CommandEnd::Overdue { tasks }) => {
            let after = report::seconds(limit.unwrap_or_default());
            let tasks: String = tasks.lines().map(|line| format!("\n  {line}")).collect();
            Some(format!("{name} has not ended after {after}:{tasks}"))
        }
    };
    if let Some(what) = what {
        eprintln!("error: {what}");
    }
    if let Some(found) = &ran.report {
        if let Some(CommandEnd::Ended(TaskEnd::Exited(status))) = &ran.end {
            eprintln!("note: {name} itself ended with status {status}");
        }
        eprintln!("error: the kernel reported: {}", found.title);
        for line in found.best_text().lines() {
            eprintln!("  {}", line.trim_end());
        }
    }
    exit
}

/// What it all ends with: the kernel's word comes first, then the program's, in the way of shells.
fn exit_of(ran: &Ran) -> Exit {
    let command = |status: i32| Exit::Command(u8::try_from(status).unwrap_or(u8::MAX));
    if ran.report.is_some() {
        return Exit::Broken;
    }
    match &ran.end {
        Some(CommandEnd::Ended(TaskEnd::Exited(status))) => command(*status),
        Some(CommandEnd::Ended(TaskEnd::Signaled(signal))) => {
            command(signal.saturating_add(128).max(129))
        }
        Some(CommandEnd::NotStarted { errno }) => {
            let kind = std::io::Error::from_raw_os_error(*errno).kind();
            command(if kind == std::io::ErrorKind::NotFound { 127 } else { 126 })
        }
        Some(CommandEnd::Overdue { .. }) | None => Exit::NoVerdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_runner::kernel_log::Report;

    fn status(end: Option<CommandEnd>, reported: bool) -> u8 {
        let report = Report { title: "a".into(), text: "a".into(), symbolized: None };
        exit_of(&Ran { end, report: reported.then_some(report) }).status()
    }

    #[test]
    fn the_status_is_the_programs_own() {
        let ended = |end| status(Some(CommandEnd::Ended(end)), false);
        assert_eq!([0, 1, 77, 255].map(|n| ended(TaskEnd::Exited(n))), [0, 1, 77, 255]);
        assert_eq!(ended(TaskEnd::Signaled(11)), 139);
        // What the guest says is not trusted.
        assert_eq!([-1, 256, i32::MAX].map(|n| ended(TaskEnd::Exited(n))), [255; 3]);
        assert_eq!([-128, 0, i32::MAX].map(|n| ended(TaskEnd::Signaled(n))), [129, 129, 255]);
        let unstarted = |errno| status(Some(CommandEnd::NotStarted { errno }), false);
        assert_eq!([2, 8, 13].map(unstarted), [127, 126, 126]);
    }

    #[test]
    fn what_is_no_end_and_what_the_kernel_reports_is_never_0() {
        let overdue = || Some(CommandEnd::Overdue { tasks: String::new() });
        assert_eq!((status(overdue(), false), status(None, false)), (3, 3));
        let held = Some(CommandEnd::Ended(TaskEnd::Exited(0)));
        assert_eq!((status(held, true), status(overdue(), true), status(None, true)), (1, 1, 1));
    }
}

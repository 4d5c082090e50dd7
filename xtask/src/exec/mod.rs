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
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/work:/bin:/sbin:/usr/bin:/usr/sbin"),
    ("HOME", "/work"),
    ("USER", "root"),
    ("TERM", "dumb"),
];

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

/// Says on standard error what the program's own output does not.
fn tell(ran: &Ran, name: &str, arguments: &cli::Exec) -> Exit {
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
            let after = report::seconds(arguments.timeout);
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

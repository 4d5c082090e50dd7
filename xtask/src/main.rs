//! `cargo xtask`: the command line of Refan.

#![warn(clippy::print_stdout)]

#[macro_use]
mod output;

mod agent;
mod bench;
mod c_source;
mod ci;
mod cli;
mod coverage;
mod crashes;
#[cfg(test)]
mod deployed;
mod doctor_command;
#[cfg(test)]
mod documented;
mod exec;
mod exit;
mod finding;
mod fuzz;
mod gdb;
mod kernel_command;
mod minimize;
mod mutants;
mod nightly;
mod prepare;
mod report;
mod repro;
mod rules;
mod select;
mod self_description;
mod site;
mod steps;
mod test;
mod workflows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use refan_runner::artifact;
use refan_runner::exec::{BinaryError, FilesError};
use xtask::kernel;

use exit::{Exit, UsageError};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let exit = run(&cli).unwrap_or_else(|error| {
        eprintln!("error: {}", tell(&error));
        if error.is::<refan_vm::QemuError>()
            && let Some(advice) = doctor_command::advice()
        {
            eprintln!("{advice}");
        }
        exit_of(&error)
    });
    ExitCode::from(match &cli.command {
        cli::Command::Test(arguments) if arguments.bisect => exit.bisect_status(),
        _ => exit.status(),
    })
}

fn run(cli: &cli::Cli) -> Result<Exit> {
    let repository = repository();
    match &cli.command {
        cli::Command::Test(arguments) => test::run(&repository, arguments),
        cli::Command::Fuzz(arguments) => fuzz::run(&repository, arguments),
        cli::Command::Coverage(arguments) => coverage::run(&repository, arguments),
        cli::Command::Exec(arguments) => exec::run(&repository, arguments),
        cli::Command::Shell(arguments) => exec::shell(&repository, arguments),
        cli::Command::Kernel(command) => kernel_command::run(&repository, command),
        cli::Command::Doctor(arguments) => doctor_command::run(&repository, arguments),
        cli::Command::Bench(arguments) => match &arguments.one {
            None => bench::table(&repository, arguments),
            Some(cli::Bench::Boot(measure)) => bench::boot(&repository, measure),
            Some(cli::Bench::Restore(measure)) => bench::restore(&repository, measure),
            Some(cli::Bench::Fuzz(measure)) => bench::fuzz(&repository, measure),
            Some(cli::Bench::Minimize(arguments)) => bench::minimize(&repository, arguments),
            Some(cli::Bench::Crashes(arguments)) => crashes::run(&repository, arguments),
        },
        cli::Command::Repro(arguments) => repro::run(&repository, arguments),
        cli::Command::Minimize(arguments) => minimize::run(&repository, arguments),
        cli::Command::Mutants(arguments) => mutants::run(&repository, arguments),
        cli::Command::Site(arguments) => site::run(&repository, arguments),
        cli::Command::Rules(arguments) => rules::run(&repository, arguments),
        cli::Command::Ci(cli::Ci::Pr { install_deps }) => ci::pr(&repository, *install_deps),
        cli::Command::Ci(cli::Ci::Nightly(arguments)) => nightly::run(&repository, arguments),
        cli::Command::Completions { shell } => Ok(self_description::completions(*shell)),
        cli::Command::Man { folder } => self_description::man(folder),
    }
}

/// The error and its causes; a cause that was told already is left out.
fn tell(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The checkout that this program was built from.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// What the user or the host can mend is 2, all else is no verdict.
fn exit_of(error: &anyhow::Error) -> Exit {
    let usage = error.is::<UsageError>()
        || error.downcast_ref::<kernel::Error>().is_some_and(kernel::Error::is_usage_or_host)
        || error.is::<refan_vm::QemuError>()
        || error.is::<refan_vm::AccelError>()
        || error.is::<refan_vm::ProfileError>()
        || error.is::<BinaryError>()
        || error.is::<FilesError>()
        || matches!(
            error.downcast_ref(),
            Some(artifact::Error::NoArtifact { .. } | artifact::Error::Full(_))
        );
    if usage { Exit::Usage } else { Exit::NoVerdict }
}

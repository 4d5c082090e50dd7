//! `repro`: a finding, run again.

use std::path::Path;

use anyhow::{Context, Result};
use refan_runner::artifact::{self, Artifact, Repeats};
use refan_runner::coverage::Code;

use crate::cli::{Machine, Repro};
use crate::exit::{Exit, usage};
use crate::prepare::{self, Ready};
use crate::steps::Steps;

/// Runs the finding's program and says how often it shows.
pub fn run(repository: &Path, arguments: &Repro) -> Result<Exit> {
    let found = Artifact::read(&arguments.artifact)?;
    let program = Artifact::program(&arguments.artifact)?;
    let steps = Steps::new();
    let reference = match &found.against {
        Some(words) => Some(prepare(repository, &of_words(words, arguments)?, &steps)?),
        None => None,
    };
    let machine = override_with(of_words(&found.options, arguments)?, arguments);
    let mut ready = prepare(repository, &machine, &steps)?;
    // A kernel that the options name has no switch for the finding's seeded bug.
    if !names_kernel(arguments) {
        ready.prepared.mutant = found.mutant;
    }
    if !found.watched.is_empty() {
        let folders: Vec<&str> = found.watched.iter().map(String::as_str).collect();
        let code = Code::of(&ready.prepared, &folders)?;
        ready.prepared = ready.prepared.watching(&code, &folders);
    }
    steps.done();
    say!("  finding  {}", found.title);
    say!("  program  {}", found.scenario);
    say!("  kernel   {}", ready.prepared.kernel);
    say!("  machine  {}", ready.prepared.machine);
    let mut number = 0;
    let repeats = artifact::repeat(
        &ready.prepared,
        reference.as_ref().map(|ready| &ready.prepared),
        &program,
        &found.title,
        arguments.runs,
        |verdict| {
            number += 1;
            let title = verdict.title();
            let what = title.as_deref().unwrap_or_else(|| verdict.word());
            say!("  run {number:<4} {what}");
        },
    )?;
    print(&repeats, arguments.runs);
    Ok(match repeats.reproduces() {
        Some(true) => Exit::Broken,
        Some(false) => Exit::Held,
        None => Exit::NoVerdict,
    })
}

fn prepare(repository: &Path, machine: &Machine, steps: &Steps) -> Result<Ready> {
    prepare::prepare(repository, machine, steps).context("the finding's machine")
}

fn of_words(words: &[String], arguments: &Repro) -> Result<Machine> {
    let machine = Machine::of_words(words).map_err(|error| {
        usage(format!("the options of {} are not ours: {error}", arguments.artifact.display()))
    })?;
    Ok(Machine { offline: arguments.offline, ..machine })
}

fn names_kernel(arguments: &Repro) -> bool {
    let Repro { series, kernel_src, bzimage, .. } = arguments;
    series.is_some() || kernel_src.is_some() || bzimage.is_some()
}

/// The finding's machine with what the options name in its place.
fn override_with(machine: Machine, arguments: &Repro) -> Machine {
    let mut machine = machine;
    if let Some(target) = &arguments.target {
        machine.target.clone_from(target);
        // Which machines a target runs on is its own.
        machine.machine = None;
    }
    if arguments.kernel_src.is_some() || arguments.bzimage.is_some() {
        machine.series = None;
        machine.kernel_src.clone_from(&arguments.kernel_src);
        machine.bzimage.clone_from(&arguments.bzimage);
    }
    if arguments.series.is_some() {
        machine.series.clone_from(&arguments.series);
    }
    machine
}

fn print(repeats: &Repeats, runs: u32) {
    for (title, count) in &repeats.others {
        say!("  other    {count} × {title}");
    }
    for (why, count) in &repeats.unjudged {
        say!("  unjudged {count} × {why}");
    }
    let word = match repeats.reproduces() {
        Some(true) => "reproduced",
        Some(false) => "not reproduced",
        None => "cannot tell",
    };
    say!("  verdict  {word}: {} of {runs} runs", repeats.found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn machine(words: &[&str]) -> Machine {
        let cli = Cli::parse_from([&["xtask", "repro", "X"], words].concat());
        let Command::Repro(arguments) = cli.command else { unreachable!("it is repro") };
        let recorded = ["--target", "kasan", "--series", "mutants", "--machine", "smp"];
        let recorded = of_words(&recorded.map(str::to_owned), &arguments).expect("a machine");
        override_with(recorded, &arguments)
    }

    #[test]
    fn options_replace_what_is_recorded() {
        let as_found = machine(&[]);
        assert_eq!(as_found.series.as_deref(), Some("mutants"));
        assert_eq!(as_found.machine.as_deref(), Some("smp"));
        let fast = machine(&["--target", "fast"]);
        assert_eq!((fast.target.as_str(), fast.machine), ("fast", None));
        let tree = machine(&["--kernel-src", "/linux"]);
        assert_eq!(tree.series, None);
        assert!(tree.kernel_src.is_some());
        assert_eq!(machine(&["--series", "none"]).series.as_deref(), Some("none"));
    }
}

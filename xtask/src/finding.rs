//! A finding that was kept, and the machine that it was made on.

use std::path::Path;

use anyhow::{Context, Result};
use refan_program::Program;
use refan_runner::Prepared;
use refan_runner::artifact::Artifact;
use refan_runner::coverage::Code;
use refan_runner::earlier::Earlier;

use crate::cli::{self, Machine};
use crate::exit::usage;
use crate::prepare::{self, Ready};
use crate::steps::Steps;

/// A finding and its machine, or the one that options name in its place.
pub struct Finding {
    /// What was kept.
    pub found: Artifact,
    /// What has to run before it.
    pub earlier: Vec<Earlier>,
    /// Its program.
    pub program: Program,
    ready: Ready,
    reference: Option<Ready>,
}

impl Finding {
    /// Reads an artifact and prepares the machine.
    pub fn open(repository: &Path, arguments: &cli::Finding, steps: &Steps) -> Result<Self> {
        let found = Artifact::read(&arguments.artifact)?;
        let program = Artifact::program(&arguments.artifact)?;
        let earlier = Artifact::earlier(&arguments.artifact)?;
        let prepare = |machine: &Machine| {
            prepare::prepare(repository, machine, steps).context("the finding's machine")
        };
        let reference = match &found.against {
            Some(words) => Some(prepare(&of_words(words, arguments)?)?),
            None => None,
        };
        let mut ready = prepare(&override_with(of_words(&found.options, arguments)?, arguments))?;
        // A kernel that the options name has no switch for the finding's seeded bug.
        if !names_kernel(arguments) {
            ready.prepared.mutant = found.mutant;
        }
        if !found.watched.is_empty() {
            let folders: Vec<&str> = found.watched.iter().map(String::as_str).collect();
            let code = Code::of(&ready.prepared, &folders)?;
            ready.prepared = ready.prepared.watching(&code, &folders);
        }
        Ok(Self { found, earlier, program, ready, reference })
    }

    /// The machine.
    pub fn prepared(&self) -> &Prepared {
        &self.ready.prepared
    }

    /// The one with the kernel that classic programs are held against.
    pub fn reference(&self) -> Option<&Prepared> {
        self.reference.as_ref().map(|ready| &ready.prepared)
    }

    /// Says what it is and where it runs.
    pub fn tell(&self) {
        say!("  finding  {}", self.found.title);
        say!("  program  {}", self.found.scenario);
        say!("  kernel   {}", self.prepared().kernel);
        say!("  machine  {}", self.prepared().machine);
    }
}

fn of_words(words: &[String], arguments: &cli::Finding) -> Result<Machine> {
    let machine = Machine::of_words(words).map_err(|error| {
        usage(format!("the options of {} are not ours: {error}", arguments.artifact.display()))
    })?;
    Ok(Machine { offline: arguments.offline, ..machine })
}

fn names_kernel(arguments: &cli::Finding) -> bool {
    let cli::Finding { series, kernel_src, bzimage, .. } = arguments;
    series.is_some() || kernel_src.is_some() || bzimage.is_some()
}

/// The finding's machine with what the options name in its place.
fn override_with(machine: Machine, arguments: &cli::Finding) -> Machine {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn machine(words: &[&str]) -> Machine {
        let cli = Cli::parse_from([&["xtask", "repro", "X"], words].concat());
        let Command::Repro(arguments) = cli.command else { unreachable!("it is repro") };
        let recorded = ["--target", "kasan", "--series", "mutants", "--machine", "smp"];
        let recorded =
            of_words(&recorded.map(str::to_owned), &arguments.finding).expect("a machine");
        override_with(recorded, &arguments.finding)
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

//! `ci`: what CI runs, the same at a desk.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::doctor_command;
use crate::exit::Exit;
use crate::report::seconds;
use crate::steps::Steps;

/// The kernel targets whose suites a pull request must pass.
const TARGETS: &[&str] = &["fast", "kasan"];

/// Lint, tests without Linux in a machine, then the suites on each target: once through the main
/// job and, on the quickest target, once more as tests of their own under nextest.
pub fn pr(repository: &Path, install_deps: bool) -> Result<Exit> {
    if install_deps {
        doctor_command::install(&Steps::new())?;
    }
    let cargo = |arguments: &[&str]| Step::cargo(arguments);
    let mut steps = vec![
        cargo(&["fmt", "--all", "--check"]),
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        cargo(&["nextest", "run", "--profile", "ci", "--workspace", "--exclude", "scenarios"]),
    ];
    for target in TARGETS {
        steps.push(cargo(&["xtask", "test", "--target", target]));
    }
    steps.push(cargo(&["nextest", "run", "--profile", "ci", "--package", "scenarios"]));
    for step in &steps {
        let exit = step.run(repository)?;
        if exit != Exit::Held {
            return Ok(exit);
        }
    }
    Ok(Exit::Held)
}

/// One command of the run.
struct Step {
    arguments: Vec<String>,
}

impl Step {
    fn cargo(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect() }
    }

    fn run(&self, repository: &Path) -> Result<Exit> {
        let line = format!("cargo {}", self.arguments.join(" "));
        println!("\n== {line}");
        let begun = Instant::now();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(repository)
            .args(&self.arguments)
            .status()
            .with_context(|| format!("cannot run `{line}`"))?;
        println!("== {line}: {status} after {}", seconds(begun.elapsed()));
        Ok(match status.code() {
            Some(0) => Exit::Held,
            Some(2) => Exit::Usage,
            Some(3) => Exit::NoVerdict,
            _ => Exit::Broken,
        })
    }
}

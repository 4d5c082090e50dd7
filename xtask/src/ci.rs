//! `ci`: what CI runs, the same at a desk.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use xtask::doctor::Purpose;

use crate::agent::cargo;
use crate::doctor_command;
use crate::exit::{Exit, usage};
use crate::report::seconds;
use crate::steps::Steps;
use crate::workflows::{self, Checked};

/// The kernel targets whose suites a pull request must pass.
const TARGETS: &[&str] = &["fast", "kasan"];

/// What is ignored as it is no test: other processes of tests, and what writes golden files.
const NO_TESTS: &str =
    "test(/(^|::)(parent|holder|owns_a_machine_until_killed|write_the_forms_anew)$/)";

/// Subcommands of cargo that are packages of their own.
const TOOLS: &[&str] = &["nextest", "deny"];

/// Lint, tests without Linux in a machine, then the suites on each target, a short campaign, what classic groups do
/// beside the kernel without the series, and on the quickest target the suites once more as tests
/// of their own under nextest.
pub fn pr(repository: &Path, install_deps: bool) -> Result<Exit> {
    if install_deps {
        doctor_command::install(Purpose::Tests, &Steps::new())?;
    }
    for tool in TOOLS {
        require(tool, install_deps)?;
    }
    say!("\n== actionlint");
    let not_checked = match workflows::check(repository)? {
        Checked::Clean => None,
        Checked::Wrong(told) => {
            say!("{told}");
            return Ok(Exit::Broken);
        }
        Checked::NotAtAll(why) => Some(why),
    };
    let step = Step::cargo;
    // What is asked for in the same words is built once.
    let ordinary = ["nextest", "run", "--profile", "ci", "--workspace", "--exclude", "scenarios"];
    // What is quick is first to fail.
    let mut steps = vec![
        step(&["fmt", "--all", "--check"]),
        step(&["deny", "check", "licenses", "bans", "sources"]),
        step(&["xtask", "rules"]),
        step(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        step(&ordinary),
    ];
    // The pages in a browser.
    let browser = ["nextest", "run", "--profile", "ci", "--package", "refan-site"];
    steps.push(step(&[browser.as_slice(), &["--run-ignored", "only"]].concat()));
    for target in TARGETS {
        steps.push(step(&["xtask", "test", "--target", target]));
    }
    // A campaign from nothing, short and always the same.
    let corpus = "target/refan/ci-corpus";
    let campaign = ["--runs", "100", "--jobs", "1", "--no-seeds", "--corpus", corpus];
    steps.push(step(&[&["xtask", "fuzz"], campaign.as_slice()].concat()));
    // Tests that take kernels: first what dying tasks pass, and campaigns that share a corpus, then the fuzz target
    // under a driver that is not ours, gdb, kernels with seeded bugs, and what the pages tell to run.
    let harness = format!("not (package(refan-site) or package(xtask) or {NO_TESTS})");
    steps.push(step(&[ordinary.as_slice(), &["--run-ignored", "only", "-E", &harness]].concat()));
    let tests = format!("not {NO_TESTS}");
    let xtask = ["nextest", "run", "--profile", "ci", "--package", "xtask"];
    steps.push(step(&[xtask.as_slice(), &["--run-ignored", "only", "-E", &tests]].concat()));
    // I4: classic groups, held against the kernel without the series.
    steps.push(step(&["xtask", "test", "classic", "--against", "none"]));
    steps.push(step(&[
        "xtask",
        "test",
        "--random",
        "200",
        "--kind",
        "classic",
        "--against",
        "none",
    ]));
    steps.push(step(&["nextest", "run", "--profile", "ci", "--package", "scenarios"]));
    for step in &steps {
        let exit = step.run(repository)?;
        if exit != Exit::Held {
            return Ok(exit);
        }
    }
    if let Some(why) = not_checked {
        say!("note: the workflows were not checked: {why}");
    }
    Ok(Exit::Held)
}

/// Makes sure that cargo has the subcommand.
fn require(tool: &str, install: bool) -> Result<()> {
    let found =
        Command::new(cargo()).args([tool, "--version"]).output().context("cannot run cargo")?;
    if found.status.success() {
        return Ok(());
    }
    let package = format!("cargo-{tool}");
    if !install {
        return Err(usage(format!(
            "{package} is not installed; this mends it:\n  cargo install --locked {package}\nor pass --install-deps"
        )));
    }
    say!("== cargo install --locked {package}");
    let status = Command::new(cargo())
        .args(["install", "--locked", "--quiet", &package])
        .status()
        .context("cannot run cargo")?;
    if status.success() {
        Ok(())
    } else {
        Err(usage(format!("{package} could not be installed: {status}")))
    }
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
        say!("\n== {line}");
        let begun = Instant::now();
        let status = Command::new(cargo())
            .current_dir(repository)
            .args(&self.arguments)
            .status()
            .with_context(|| format!("cannot run `{line}`"))?;
        say!("== {line}: {status} after {}", seconds(begun.elapsed()));
        Ok(Exit::of_status(status))
    }
}

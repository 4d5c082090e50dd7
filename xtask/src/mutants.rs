//! `mutants`: kernels with one seeded bug each, and which scenario sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use refan_program::Rule;
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Outcome, Verdict, pool};
use serde::Deserialize;
use xtask::kernel::Progress;

use crate::exit::{Exit, usage};
use crate::report::seconds;
use crate::steps::Steps;
use crate::{cli, prepare, select};

/// What a mutant says of itself; how it is built is read elsewhere.
#[derive(Deserialize)]
struct Mutant {
    /// The rules that it breaks.
    breaks: Vec<String>,
}

/// What came of a mutant.
enum Fate {
    /// Some scenario saw it.
    Killed(Vec<Outcome>),
    /// The probe saw that the kernel is not what it says.
    Refused(String),
    /// All scenarios held.
    Survived,
}

/// Runs the suites against the mutants that are named, or all.
pub fn run(repository: &Path, names: &[String], machine: &cli::Machine) -> Result<Exit> {
    let all = all(repository)?;
    if let Some(unknown) = names.iter().find(|name| !all.contains_key(*name)) {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        return Err(usage(format!("`{unknown}` is no mutant; mutants: {}", known.join(", "))));
    }
    let scenarios = select::scenarios(repository, &[])?;
    let mut exit = Exit::Held;
    for (name, breaks) in all.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        let begun = Instant::now();
        let fate = one(repository, name, machine, &scenarios)?;
        let took = seconds(begun.elapsed());
        match fate {
            Fate::Killed(outcomes) => print_kill(name, breaks, &outcomes, &took),
            Fate::Refused(why) => say!("  refused   {name} ({took}): {why}"),
            Fate::Survived => {
                say!("  SURVIVED  {name} ({took}): breaks {}", list(breaks));
                exit = Exit::Broken;
            }
        }
    }
    Ok(exit)
}

fn one(
    repository: &Path,
    name: &str,
    machine: &cli::Machine,
    scenarios: &[Scenario],
) -> Result<Fate> {
    let steps = Steps::new();
    steps.phase(&format!("mutant {name}"));
    let machine = cli::Machine { series: Some(name.to_owned()), ..machine.clone() };
    let ready = prepare::prepare(repository, &machine, &steps)?;
    let mut killed = Vec::new();
    let ran = pool::run(
        &ready.prepared,
        None,
        scenarios,
        pool::size(scenarios.len()),
        &Budget::default(),
        |outcome| {
            if outcome.verdict.is_finding() {
                killed.push(outcome);
            }
        },
    );
    Ok(match ran {
        Err(error) => Fate::Refused(format!("{error:#}")),
        Ok(()) if killed.is_empty() => Fate::Survived,
        Ok(()) => Fate::Killed(killed),
    })
}

fn print_kill(name: &str, breaks: &[Rule], outcomes: &[Outcome], took: &str) {
    let seen = |outcome: &Outcome| match &outcome.verdict {
        Verdict::Broken(violation) => violation.rule.to_string(),
        Verdict::Report(report) => report.title.clone(),
        verdict => verdict.word().to_owned(),
    };
    let mut rules: Vec<_> = outcomes.iter().map(&seen).collect();
    rules.sort();
    rules.dedup();
    say!("  killed    {name} ({took}): breaks {}, seen as {}", list(breaks), rules.join(", "));
    for outcome in outcomes.iter().take(3) {
        say!("              {} ({})", outcome.name, seen(outcome));
    }
}

fn list(rules: &[Rule]) -> String {
    rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}

/// Every mutant by name, with the rules that it breaks.
pub fn all(repository: &Path) -> Result<BTreeMap<String, Vec<Rule>>> {
    let folder = repository.join("kernel-configs/mutants");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut all = BTreeMap::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        all.insert(name, breaks(&entry.path().join("series.toml"))?);
    }
    Ok(all)
}

fn breaks(file: &Path) -> Result<Vec<Rule>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mutant: Mutant =
        toml::from_str(&text).with_context(|| format!("{} is no mutant", file.display()))?;
    let rule = |rule: &String| {
        rule.parse().map_err(|()| {
            anyhow::anyhow!("{}: `{rule}` is no rule of the contract", file.display())
        })
    };
    mutant.breaks.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_names_the_rules_that_it_breaks() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (name, breaks) in all(&repository).expect("mutants") {
            assert!(!breaks.is_empty(), "{name}");
        }
    }
}

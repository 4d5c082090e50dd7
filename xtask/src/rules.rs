//! `rules`: which scenarios and which mutants stand for each rule of the contract.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refan_program::Rule;
use serde_json::json;

use crate::exit::Exit;
use crate::{cli, mutants, select};

/// With fewer scenarios a rule is a hole: one scenario shows one face of it.
const ENOUGH: usize = 2;

/// What stands for a rule, by name.
#[derive(Default)]
pub struct Row {
    /// The scenarios that are about it.
    pub scenarios: Vec<String>,
    /// The mutants that break it and are known to be killed.
    killed: Vec<String>,
    /// The others that break it.
    alive: Vec<String>,
    /// Whether one of the others is for a target of its own, which may not have been asked yet.
    is_open: bool,
}

impl Row {
    /// The mutants that break it.
    pub fn mutants(&self) -> Vec<String> {
        [self.killed.as_slice(), &self.alive].concat()
    }
}

/// Prints the table, or writes it into the documentation; a hole ends in status 1.
pub fn run(repository: &Path, arguments: &cli::Rules) -> Result<Exit> {
    let table = table(repository)?;
    if arguments.write {
        let page = page(repository);
        std::fs::write(&page, markdown(&table))
            .with_context(|| format!("cannot write {}", page.display()))?;
    } else if arguments.json {
        for (rule, row) in &table {
            let mutants = row.mutants();
            let object = json!({
                "rule": rule.to_string(), "title": rule.title(),
                "scenarios": row.scenarios, "mutants": mutants,
                "killed": row.killed,
            });
            say!("{object}");
        }
    } else {
        for (rule, row) in &table {
            let (scenarios, killed) = (row.scenarios.len(), row.killed.len());
            let mutants = killed + row.alive.len();
            say!(
                "  {rule:<4} {scenarios:>3} scenarios {killed:>3} of {mutants:>2} mutants killed  {}",
                rule.title()
            );
        }
    }
    let all = mutants::all(repository)?;
    let record = mutants::Record::load(repository)?;
    let stale = record.stale(repository, &all)?;
    if !stale.is_empty() {
        eprintln!(
            "note: patch or scenario has changed since these were killed; `cargo xtask mutants --write` \
             says whether they still are: {}",
            stale.join(", ")
        );
    }
    let holes = |is_hole: &dyn Fn(&Row) -> bool| -> Vec<String> {
        table.iter().filter(|(_, row)| is_hole(row)).map(|(rule, _)| rule.to_string()).collect()
    };
    let few = holes(&|row| row.scenarios.len() < ENOUGH);
    if !few.is_empty() {
        eprintln!("error: fewer than {ENOUGH} scenarios name {}", few.join(", "));
    }
    let open = holes(&|row| row.killed.is_empty() && row.is_open);
    if !open.is_empty() {
        eprintln!(
            "note: mutants that break these are judged by a target of their own, and not known to be killed; \
             `cargo xtask mutants --write --target kasan` judges them: {}",
            open.join(", ")
        );
    }
    let unseen = holes(&|row| row.killed.is_empty() && !row.is_open);
    if !unseen.is_empty() {
        eprintln!("error: no mutant that breaks it is known to be killed: {}", unseen.join(", "));
    }
    let whole = few.is_empty() && unseen.is_empty();
    Ok(if whole { Exit::Held } else { Exit::Broken })
}

/// The page of the documentation that holds the table.
fn page(repository: &Path) -> PathBuf {
    repository.join("docs/rules.md")
}

/// The table.
pub fn table(repository: &Path) -> Result<BTreeMap<Rule, Row>> {
    let mut table: BTreeMap<Rule, Row> = Rule::all().map(|rule| (rule, Row::default())).collect();
    for scenario in select::scenarios(repository, &[])? {
        for rule in scenario.program.rules() {
            table.entry(rule).or_default().scenarios.push(scenario.name.clone());
        }
    }
    let told_apart = |(_, mutant): &(_, mutants::Mutant)| mutant.equivalent.is_none();
    let record = mutants::Record::load(repository)?;
    for (name, mutant) in mutants::all(repository)?.into_iter().filter(told_apart) {
        for &rule in &mutant.breaks {
            let row = table.entry(rule).or_default();
            if record.has(&name) {
                row.killed.push(name.clone());
            } else {
                row.alive.push(name.clone());
                row.is_open |= mutant.judged_by.is_some();
            }
        }
    }
    Ok(table)
}

fn markdown(table: &BTreeMap<Rule, Row>) -> String {
    let mut text = "# The rules of the contract, and what stands for each\n\n\
        Written by `cargo xtask rules --write`. A scenario shows that a rule holds; a mutant is a \
        kernel that breaks it. Those in brackets are not known to be killed.\n\n\
        | rule | says | scenarios | mutants |\n|---|---|---|---|\n"
        .to_owned();
    for (rule, row) in table {
        let title = rule.title().replace('|', "\\|");
        let alive = row.alive.iter().map(|name| format!("({name})"));
        let mutants: Vec<String> = row.killed.iter().cloned().chain(alive).collect();
        let (scenarios, mutants) = (row.scenarios.join(", "), mutants.join(", "));
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {rule} | {title} | {scenarios} | {mutants} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_up_to_date() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let written = std::fs::read_to_string(page(&repository)).expect("the page");
        let table = table(&repository).expect("a table");
        assert!(written == markdown(&table), "run `cargo xtask rules --write`");
    }
}

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
struct Row {
    scenarios: Vec<String>,
    mutants: Vec<String>,
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
            let object = json!({
                "rule": rule.to_string(), "title": rule.title(),
                "scenarios": row.scenarios, "mutants": row.mutants,
            });
            say!("{object}");
        }
    } else {
        for (rule, row) in &table {
            let (scenarios, mutants) = (row.scenarios.len(), row.mutants.len());
            say!("  {rule:<4} {scenarios:>3} scenarios {mutants:>3} mutants  {}", rule.title());
        }
    }
    let without_mutant: Vec<String> = table
        .iter()
        .filter(|(_, row)| row.mutants.is_empty())
        .map(|(rule, _)| rule.to_string())
        .collect();
    if !without_mutant.is_empty() {
        eprintln!("note: no mutant breaks {}", without_mutant.join(", "));
    }
    let holes: Vec<String> = table
        .iter()
        .filter(|(_, row)| row.scenarios.len() < ENOUGH)
        .map(|(rule, _)| rule.to_string())
        .collect();
    if holes.is_empty() {
        return Ok(Exit::Held);
    }
    eprintln!("error: fewer than {ENOUGH} scenarios name {}", holes.join(", "));
    Ok(Exit::Broken)
}

/// The page of the documentation that holds the table.
fn page(repository: &Path) -> PathBuf {
    repository.join("docs/rules.md")
}

fn table(repository: &Path) -> Result<BTreeMap<Rule, Row>> {
    let mut table: BTreeMap<Rule, Row> = Rule::all().map(|rule| (rule, Row::default())).collect();
    for scenario in select::scenarios(repository, &[])? {
        for rule in scenario.program.rules() {
            table.entry(rule).or_default().scenarios.push(scenario.name.clone());
        }
    }
    let told_apart = |(_, mutant): &(_, mutants::Mutant)| mutant.equivalent.is_none();
    for (name, mutant) in mutants::all(repository)?.into_iter().filter(told_apart) {
        for rule in mutant.breaks {
            table.entry(rule).or_default().mutants.push(name.clone());
        }
    }
    Ok(table)
}

fn markdown(table: &BTreeMap<Rule, Row>) -> String {
    let mut text = "# The rules of the contract, and what stands for each\n\n\
        Written by `cargo xtask rules --write`. A scenario shows that a rule holds; a mutant is a \
        kernel that breaks it.\n\n| rule | says | scenarios | mutants |\n|---|---|---|---|\n"
        .to_owned();
    for (rule, row) in table {
        let title = rule.title().replace('|', "\\|");
        let (scenarios, mutants) = (row.scenarios.join(", "), row.mutants.join(", "));
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

//! The mechanical mutants as data: which there are, and what is known of those that no scenario sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::super::data::Mutant;
use super::SERIES;

/// What the rules make of a series; written by a program.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The base that the series was on.
    pub base: String,
    /// Those that a kernel can have.
    pub mutants: Vec<Row>,
    /// Those that the compiler does not take.
    pub uncompilable: Vec<Row>,
}

/// A change of a line of the series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it is called: function, rule and a number.
    pub name: String,
    /// Its switch; none where the compiler does not take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch: Option<u32>,
    /// The file.
    pub file: String,
    /// The line in the file with the series.
    pub line: usize,
    /// The text that is changed.
    pub before: String,
    /// The text in its place; nothing where it is left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// What is known of a mutant that no scenario sees which is run once on any target.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// The text that is changed, by which it is told that the mutant is still the same one.
    before: Option<String>,
    /// The sweep that sees it.
    seen_by: Option<String>,
    /// The one kernel target that can judge it, if not all can.
    judged_by: Option<String>,
    /// Why no program can tell it from a kernel that is right, if none can.
    equivalent: Option<String>,
    /// What it takes to see it that programs or kernels under test do not have, if so.
    unreachable: Option<String>,
}

impl Row {
    fn summary(&self) -> String {
        let Self { file, line, before, after, .. } = self;
        let file = file.rsplit('/').next().unwrap_or(file);
        if after.is_empty() {
            format!("{file}:{line}: `{before}` is left out")
        } else {
            format!("{file}:{line}: `{before}` becomes `{after}`")
        }
    }
}

/// The folder of the series.
pub fn folder(repository: &Path) -> PathBuf {
    repository.join("kernel-configs/series").join(SERIES)
}

impl Table {
    fn file(repository: &Path) -> PathBuf {
        folder(repository).join("mutants.toml")
    }

    /// Reads it.
    pub fn load(repository: &Path) -> Result<Self> {
        let file = Self::file(repository);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))
    }

    /// Writes it.
    pub fn store(&self, repository: &Path) -> Result<()> {
        let file = Self::file(repository);
        let text = toml::to_string(self).context("the mechanical mutants as TOML")?;
        let text = format!("# Written by `cargo xtask mutants --mechanical --generate`.\n\n{text}");
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Every mechanical mutant by name.
pub fn all(repository: &Path) -> Result<BTreeMap<String, Mutant>> {
    let file = repository.join("kernel-configs/mutants/mechanical.toml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let mut known: BTreeMap<String, Known> =
        toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))?;
    let mut all = BTreeMap::new();
    for row in Table::load(repository)?.mutants {
        let known = known.remove(&row.name).unwrap_or_default();
        if let Some(before) = &known.before {
            ensure!(
                *before == row.before,
                "{}: {} is now another mutant: it changes `{}`",
                file.display(),
                row.name,
                row.before
            );
        }
        let mutant = Mutant {
            switch: row.switch,
            breaks: Vec::new(),
            summary: row.summary(),
            why: String::new(),
            seen_by: known.seen_by,
            judged_by: known.judged_by,
            equivalent: known.equivalent,
            unreachable: known.unreachable,
        };
        all.insert(row.name, mutant);
    }
    let gone: Vec<&str> = known.keys().map(String::as_str).collect();
    ensure!(gone.is_empty(), "{}: there is no {}", file.display(), gone.join(", "));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::{FIRST, PATCH};
    use super::*;

    #[test]
    fn every_mechanical_mutant_has_a_switch_of_its_own_behind_the_others() {
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let table = Table::load(repository).expect("the table");
        let switches: Vec<u32> = table.mutants.iter().filter_map(|row| row.switch).collect();
        let expected: Vec<u32> = (FIRST..).take(table.mutants.len()).collect();
        assert_eq!(switches, expected);
        let text = std::fs::read_to_string(folder(repository).join(PATCH));
        let text = text.expect("the patch");
        for switch in switches {
            assert!(text.contains(&format!("is_fsnotify_mutant({switch})")), "{switch}");
        }
        assert_eq!(all(repository).expect("all").len(), table.mutants.len());
    }
}

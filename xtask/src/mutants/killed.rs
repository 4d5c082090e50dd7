//! Which mutants are known to be killed: `kernel-configs/mutants/killed.toml`, written from a matrix.
//!
//! A kill is known for the patch that seeds the bug, on its series, and the scenario that saw it. When one of
//! them has changed since, it has to be seen again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refan_runner::cache::Key;
use refan_runner::suite::{self, Scenario};
use serde::{Deserialize, Serialize};
use xtask::kernel::Configs;
use xtask::kernel::configs::{Patch, Series};

use super::SERIES;
use super::data::Mutant;
use super::matrix::{Came, Kill, Matrix, Seen};
use crate::prepare;

/// By what a mutant was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Killed {
    /// The kernel target.
    pub target: String,
    /// The scenario; none where the probe saw it, or what is looked at when all have run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What it saw: a rule, or the title of a kernel report.
    pub saw: String,
    /// Changes with the patches and the scenario.
    pub of: String,
}

/// The kills that are known, by mutant.
#[derive(Debug, Default)]
pub struct Record {
    all: BTreeMap<String, Killed>,
}

impl Record {
    /// Reads it.
    pub fn load(repository: &Path) -> Result<Self> {
        let file = file(repository);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let all =
            toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))?;
        Ok(Self { all })
    }

    /// Writes down what came of the mutants of a matrix; what is known of others stays.
    pub fn update(&mut self, repository: &Path, matrix: &Matrix, target: &str) -> Result<()> {
        let evidence = Evidence::open(repository)?;
        for row in &matrix.rows {
            let kill = match &row.came {
                Came::SetApart(_) => continue,
                Came::Survived | Came::Unreachable(_) | Came::Unjudged(_) => None,
                Came::Refused(_) => Some((None, "the probe".to_owned())),
                Came::Killed(kills) => kills.first().map(|Kill { scenario, seen, .. }| {
                    let saw = match seen {
                        Seen::Rule { rule, .. } => rule.to_string(),
                        Seen::Report(title) => title.clone(),
                    };
                    (Some(scenario.clone()).filter(|name| evidence.has(name)), saw)
                }),
            };
            match kill {
                Some((by, saw)) => {
                    let of = evidence.digest(&row.name, &row.mutant, by.as_deref())?;
                    let killed = Killed { target: target.to_owned(), by, saw, of };
                    self.all.insert(row.name.clone(), killed);
                }
                None => drop(self.all.remove(&row.name)),
            }
        }
        Ok(())
    }

    /// Writes it.
    pub fn store(&self, repository: &Path) -> Result<()> {
        let file = file(repository);
        let text = toml::to_string(&self.all).context("the kills as TOML")?;
        let text = format!(
            "# Written by `cargo xtask mutants --write`: by what each mutant was seen.\n\n{text}"
        );
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Whether a mutant is known to be killed.
    pub fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// Those whose patch or scenario has changed since.
    pub fn stale(
        &self,
        repository: &Path,
        mutants: &BTreeMap<String, Mutant>,
    ) -> Result<Vec<&str>> {
        let evidence = Evidence::open(repository)?;
        let mut stale = Vec::new();
        for (name, killed) in &self.all {
            let of = match mutants.get(name) {
                Some(mutant) => Some(evidence.digest(name, mutant, killed.by.as_deref())?),
                None => None,
            };
            if of.as_ref() != Some(&killed.of) {
                stale.push(name.as_str());
            }
        }
        Ok(stale)
    }
}

fn file(repository: &Path) -> PathBuf {
    repository.join("kernel-configs/mutants/killed.toml")
}

/// What a kill is made of.
struct Evidence {
    configs: Configs,
    /// The series of those that have a switch, read once for all.
    switched: Series,
    scenarios: BTreeMap<String, PathBuf>,
}

impl Evidence {
    fn open(repository: &Path) -> Result<Self> {
        let configs = prepare::configs(repository);
        let switched = configs.series(SERIES)?;
        let scenarios = suite::find(&repository.join("scenarios"))?.into_iter().collect();
        Ok(Self { configs, switched, scenarios })
    }

    fn has(&self, scenario: &str) -> bool {
        self.scenarios.contains_key(scenario)
    }

    fn digest(&self, name: &str, mutant: &Mutant, by: Option<&str>) -> Result<String> {
        /// As many digits tell changes apart.
        const DIGITS: usize = 16;
        let patches = match mutant.switch {
            Some(switch) => {
                let own = format!("{switch:04}-{name}.patch");
                let is_bug = |patch: &Patch| {
                    patch.path.parent().is_some_and(|folder| folder.ends_with(SERIES))
                };
                let all = self.switched.patches.iter();
                all.filter(|it| !is_bug(it) || it.name() == own).cloned().collect()
            }
            None => self.configs.series(mutant.series(name))?.patches,
        };
        let scenario = by.and_then(|by| Some((by, self.scenarios.get(by)?)));
        let scenario =
            scenario.map(|(by, file)| Scenario::read(by.to_owned(), file)).transpose()?;
        let text = scenario.map(|scenario| scenario.program.to_string()).unwrap_or_default();
        let patches = patches.iter().map(|patch| ("patch", patch.bytes.as_slice()));
        let key = Key::of(patches.chain([("scenario", text.as_bytes())]));
        Ok(key.as_str()[..DIGITS].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    fn repository() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn what_is_known_is_of_mutants_that_there_are() {
        let (record, mutants) = (Record::load(repository()), all(repository()));
        let (record, mutants) = (record.expect("the kills"), mutants.expect("mutants"));
        for name in record.all.keys() {
            let mutant = mutants.get(name);
            assert!(mutant.is_some_and(|mutant| mutant.equivalent.is_none()), "{name}");
        }
    }

    #[test]
    fn another_scenario_or_patch_makes_a_kill_stale() {
        let evidence = Evidence::open(repository()).expect("scenarios and series");
        let mutants = all(repository()).expect("mutants");
        let of = |name: &str, by| evidence.digest(name, &mutants[name], by).expect("a digest");
        let kill = of("eexist", Some("queue/dup2"));
        assert_eq!(kill, of("eexist", Some("queue/dup2")));
        assert_ne!(kill, of("eexist", Some("queue/flags")));
        assert_ne!(kill, of("second-queue", Some("queue/dup2")));
        let killed = Killed { target: "fast".into(), by: None, saw: "R1".into(), of: kill };
        let record = Record { all: BTreeMap::from([("eexist".to_owned(), killed)]) };
        assert_eq!(record.stale(repository(), &mutants).expect("a list"), ["eexist"]);
    }
}

//! The mutants as data: `kernel-configs/mutants/mutants.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use refan_program::Rule;
use serde::{Deserialize, Deserializer};

use super::{SERIES, mechanical};

/// A kernel with one seeded bug.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// Number of the bug in the kernel that carries many; without one the bug is a series of its own.
    pub switch: Option<u32>,
    /// The rules that it breaks.
    #[serde(deserialize_with = "rules")]
    pub breaks: Vec<Rule>,
    /// One line for people.
    pub summary: String,
    /// How an author comes to write it, and what goes wrong.
    pub why: String,
    /// The sweep that sees it where no scenario that is run once does; it goes on to its end.
    pub seen_by: Option<String>,
    /// The one kernel target that can judge it, if not all can.
    pub judged_by: Option<String>,
    /// Why no program can tell it from a kernel that is right, if none can.
    pub equivalent: Option<String>,
    /// What it takes to see it that programs or kernels under test do not have, if so: it stays a survivor.
    pub unreachable: Option<String>,
}

impl Mutant {
    /// The series of the kernel that has the bug.
    pub fn series<'a>(&self, name: &'a str) -> &'a str {
        match self.switch {
            Some(mechanical::FIRST..) => mechanical::SERIES,
            Some(_) => SERIES,
            None => name,
        }
    }

    /// Why a target has nothing to say of it, if so.
    pub fn set_apart(&self, target: &str) -> Option<String> {
        if let Some(why) = &self.equivalent {
            return Some(format!("equivalent: {}", why.trim_end()));
        }
        let other = self.judged_by.as_deref().filter(|judge| *judge != target)?;
        Some(format!("judged by target {other}"))
    }
}

/// Every mutant by name.
pub fn all(repository: &Path) -> Result<BTreeMap<String, Mutant>> {
    let file = repository.join("kernel-configs/mutants/mutants.toml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let all: BTreeMap<String, Mutant> =
        toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))?;
    for (name, mutant) in &all {
        ensure!(!mutant.breaks.is_empty(), "{}: {name} breaks no rule", file.display());
    }
    Ok(all)
}

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let rule = |name: String| {
        let no_rule = |()| serde::de::Error::custom(format!("`{name}` is no rule of the contract"));
        name.parse().map_err(no_rule)
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare;

    fn repository() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    /// The patches of the series that are its own: they are the last.
    fn patches(count: usize) -> Vec<(String, String)> {
        let series = prepare::configs(repository()).series(SERIES).expect("the series");
        let own = &series.patches[series.patches.len() - count..];
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        own.iter().map(|patch| (patch.name(), text(&patch.bytes))).collect()
    }

    #[test]
    fn every_switch_has_the_patch_of_its_number() {
        let all = all(repository()).expect("mutants");
        let switches: BTreeMap<u32, &String> = all
            .iter()
            .filter_map(|(name, mutant)| mutant.switch.map(|switch| (switch, name)))
            .collect();
        let with_switch = all.values().filter(|mutant| mutant.switch.is_some()).count();
        assert_eq!(switches.len(), with_switch, "two mutants have one number");
        let patches = patches(switches.len() + 1);
        assert!(patches[0].1.contains("extern int fsnotify_mutant;"));
        for ((number, (switch, name)), (file, text)) in (1..).zip(&switches).zip(&patches[1..]) {
            assert_eq!((number, format!("{switch:04}-{name}.patch")), (*switch, file.clone()));
            let asked: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with('+'))
                .flat_map(|line| line.split("is_fsnotify_mutant(").skip(1))
                .filter_map(|rest| rest.split(')').next())
                .collect();
            assert!(asked.contains(&switch.to_string().as_str()), "{file} has no switch");
        }
    }

    #[test]
    fn a_mutant_without_a_switch_is_a_series() {
        let configs = prepare::configs(repository());
        for (name, mutant) in all(repository()).expect("mutants") {
            assert!(configs.series(mutant.series(&name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_sweep_that_is_known_to_see_a_mutant_is_there() {
        let scenarios = crate::select::scenarios(repository(), &[]).expect("scenarios");
        let mut mutants = all(repository()).expect("mutants");
        mutants.extend(mechanical::all(repository()).expect("mechanical mutants"));
        for (name, mutant) in &mutants {
            if let Some(known) = &mutant.seen_by {
                let sweep = scenarios.iter().find(|scenario| scenario.name == *known);
                assert!(sweep.is_some_and(|it| it.program.swept().is_some()), "{name}: {known}");
            }
        }
    }

    #[test]
    fn a_target_that_cannot_judge_a_mutant_says_so() {
        let text = "breaks = [\"X5\"]\nsummary = \"\"\nwhy = \"\"\njudged_by = \"kasan\"";
        let mutant: Mutant = toml::from_str(text).expect("a mutant");
        assert_eq!(mutant.set_apart("kasan"), None);
        assert_eq!(mutant.set_apart("fast").as_deref(), Some("judged by target kasan"));
        assert!(toml::from_str::<Mutant>(&text.replace("X5", "X6")).is_err());
    }
}

//! The findings that are known and wait to be mended: `kernel-configs/known-titles.toml`.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::exit::usage;

/// A finding that is no news.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// As campaigns tell it.
    pub title: String,
    /// What it is, and where it is followed.
    pub why: String,
    /// The day from which on it was known.
    pub since: String,
}

/// All of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Titles {
    #[serde(default)]
    known: Vec<Known>,
}

impl Titles {
    /// Those that are checked in.
    pub fn read(repository: &Path) -> Result<Self> {
        let file = repository.join("kernel-configs/known-titles.toml");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).map_err(|why| usage(format!("{} is malformed: {why}", file.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let titles: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut seen = std::collections::BTreeSet::new();
        match titles.known.iter().find(|known| !seen.insert(&known.title)) {
            Some(twice) => Err(format!("`{}` is there twice", twice.title)),
            None => Ok(titles),
        }
    }

    /// The entry of that title, if it is known.
    pub fn get(&self, title: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.title == title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str =
        "[[known]]\ntitle = \"rule R2 broken at read\"\nwhy = \"w\"\nsince = \"2026-11-28\"\n";

    #[test]
    fn titles_are_known_to_the_letter() {
        let titles = Titles::parse(ENTRY).expect("titles");
        assert_eq!(titles.get("rule R2 broken at read").expect("known").why, "w");
        assert!(titles.get("rule R2 broken").is_none());
        assert!(Titles::parse("").expect("titles").get("").is_none());
    }

    #[test]
    fn slips_are_told() {
        let twice = Titles::parse(&ENTRY.repeat(2)).expect_err("twice");
        assert!(twice.contains("twice"), "{twice}");
        assert!(Titles::parse("[[known]]\ntitle = \"x\"\n").is_err(), "without why and since");
        assert!(Titles::parse("[[unknown]]\n").is_err());
    }

    #[test]
    fn those_that_are_checked_in_are_well_formed() {
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        Titles::read(repository).expect("titles");
    }
}

//! The findings that are known: `kernel-configs/known.toml`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Where they are listed, in the repository.
pub const FILE: &str = "kernel-configs/known.toml";

/// What the command has that shows a report without the feature.
const WITHOUT_SERIES: &str = "--series none";

/// A finding that is known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its title, whole.
    pub title: String,
    /// What it is, and where it is followed.
    pub why: String,
    /// The day from which on it was known.
    pub since: String,
    /// The command by which classic groups raise it, on the kernel without the series (X5): it is a report that
    /// says nothing about the feature. Without, it is a finding that waits to be mended.
    pub classic: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    known: Vec<Known>,
}

/// The known findings of a repository.
///
/// # Errors
/// When their list cannot be read or is malformed.
pub fn load(repository: &Path) -> Result<Vec<Known>> {
    let file = repository.join(FILE);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text).with_context(|| format!("{} is malformed", file.display()))
}

fn parse(text: &str) -> Result<Vec<Known>> {
    let List { known } = toml::from_str(text)?;
    let mut seen = std::collections::BTreeSet::new();
    for Known { title, classic, .. } in &known {
        ensure!(seen.insert(title), "`{title}` is there twice");
        let shown = classic.as_ref().is_none_or(|command| command.contains(WITHOUT_SERIES));
        ensure!(shown, "the evidence for `{title}` is a command with `{WITHOUT_SERIES}`");
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str =
        "[[known]]\ntitle = \"rule R2 broken at read\"\nwhy = \"w\"\nsince = \"2026-11-28\"\n";

    #[test]
    fn a_finding_waits_unless_classic_groups_raise_it() {
        let waits = parse(ENTRY).expect("a list");
        assert_eq!(waits[0].title, "rule R2 broken at read");
        assert_eq!(waits[0].classic, None);
        let command = "cargo xtask test classic --series none";
        let classic = parse(&format!("{ENTRY}classic = \"{command}\"\n")).expect("a list");
        assert_eq!(classic[0].classic.as_deref(), Some(command));
        assert_eq!(parse("").expect("a list"), []);
    }

    #[test]
    fn slips_are_told() {
        let told = |text: &str| parse(text).expect_err("a slip").to_string();
        assert!(told(&ENTRY.repeat(2)).contains("twice"));
        assert!(
            told(&format!("{ENTRY}classic = \"cargo xtask test\"\n")).contains("--series none")
        );
        assert!(parse("[[known]]\ntitle = \"x\"\n").is_err(), "without why and since");
        assert!(parse("[[unknown]]\n").is_err());
    }

    #[test]
    fn those_that_are_checked_in_are_well_formed() {
        load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).expect("a list");
    }
}

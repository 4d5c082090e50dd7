//! Reports of the kernel's checkers that are known: classic groups raise them as well, on the kernel without the
//! series (X5).

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Where they are listed, in the repository.
const FILE: &str = "kernel-configs/known-reports.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    report: Vec<Known>,
}

/// A report that is known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its title, whole.
    pub title: String,
    /// The command by which it was seen without the feature.
    pub seen: String,
    /// What it is.
    pub why: String,
}

/// The known reports of a repository.
///
/// # Errors
/// When their list cannot be read or is malformed.
pub fn load(repository: &Path) -> Result<Vec<Known>> {
    let file = repository.join(FILE);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let list: List =
        toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))?;
    Ok(list.report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_known_report_is_listed_once_with_its_evidence() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let all = load(&repository).expect("a list");
        let titles: BTreeSet<&str> = all.iter().map(|it| it.title.as_str()).collect();
        assert_eq!(titles.len(), all.len());
        for Known { title, seen, why } in &all {
            assert!(seen.contains("--series none") && !why.is_empty(), "{title}");
        }
    }
}

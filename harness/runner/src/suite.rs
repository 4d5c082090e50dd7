//! Scenario files and the suites they stand in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use refan_program::Program;

/// Ending of scenario files.
const ENDING: &str = "scn";

/// A scenario: a program with a name.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// `suite/name`: of one in a file its path below the folder of the suites, without the ending.
    pub name: String,
    /// The program.
    pub program: Program,
}

impl Scenario {
    /// Reads a scenario. An error says file, line and column.
    pub fn read(name: String, file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the scenario {}", file.display()))?;
        let program = refan_program::parse(&text).map_err(|error| {
            anyhow::anyhow!("{}", error.render(&file.display().to_string(), &text))
        })?;
        if program.rules().is_empty() {
            bail!(
                "{}:1:1: the first line names no rule of the contract; expected for example \
                 `# R1, Q2: what the scenario shows`",
                file.display()
            );
        }
        Ok(Self { name, program })
    }
}

/// Name and file of every scenario below a folder, in the order of their names.
pub fn find(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found)?;
    found.sort();
    if found.is_empty() {
        bail!("there is no scenario below {}", folder.display());
    }
    Ok(found)
}

fn collect(top: &Path, folder: &Path, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_dir() {
            collect(top, &path, found)?;
        } else if path.extension().is_some_and(|ending| ending == ENDING) {
            let name = path.strip_prefix(top).unwrap_or(&path).with_extension("");
            found.push((name.to_string_lossy().into_owned(), path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_scenario_is_named_by_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("broken.scn");
        std::fs::write(&file, "# R1: x\nc = fanotify_init(CLASS_CONTENT, O_RDONLY\n")
            .expect("written");
        let error =
            Scenario::read("broken".to_owned(), &file).expect_err("no scenario").to_string();
        assert!(error.contains("broken.scn:2:"), "{error}");
    }

    #[test]
    fn scenarios_are_found_below_suites() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("queue")).expect("made");
        std::fs::write(folder.path().join("queue/one.scn"), "").expect("written");
        std::fs::write(folder.path().join("queue/notes.txt"), "").expect("written");
        let found = find(folder.path()).expect("found");
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["queue/one"]);
    }
}

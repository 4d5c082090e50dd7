//! Lines that no program is to reach, each with the reason: `kernel-configs/coverage/exclusions.toml`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::source::CFile;

/// A list of exclusions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusions {
    #[serde(rename = "exclusion")]
    entries: Vec<Exclusion>,
}

/// What is left out of a file, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclusion {
    /// The file.
    file: String,
    /// The functions; none stands for all of the file.
    #[serde(default)]
    functions: Vec<String>,
    /// Beginnings of lines: only what they guard is left out. None stands for all of the functions.
    #[serde(default)]
    under: Vec<String>,
    /// Why.
    reason: String,
}

impl Exclusions {
    /// Reads a list.
    ///
    /// # Errors
    /// It is malformed, or an entry gives no reason or leaves out a whole file.
    pub fn read(path: &Path) -> Result<Self> {
        let doing = || format!("the exclusions in {}", path.display());
        let text = std::fs::read_to_string(path).with_context(doing)?;
        Self::parse(&text).with_context(doing)
    }

    fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text)?;
        for entry in &list.entries {
            if entry.reason.trim().is_empty() {
                anyhow::bail!("one for {} gives no reason", entry.file);
            }
            if entry.functions.is_empty() && entry.under.is_empty() {
                anyhow::bail!("one leaves out all of {}", entry.file);
            }
        }
        Ok(list)
    }

    /// The numbers of the lines of a file with this text that are left out.
    pub fn lines(&self, file: &str, text: &str) -> BTreeSet<u32> {
        let source = CFile::read(text);
        let mut lines = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| entry.file == file) {
            let mut all = BTreeSet::new();
            for function in &entry.functions {
                all.extend(source.lines_of(Some(function)));
            }
            if entry.functions.is_empty() {
                all = source.lines_of(None);
            }
            if entry.under.is_empty() {
                lines.extend(all);
            } else {
                let under = entry.under.iter().flat_map(|beginning| source.under(&all, beginning));
                lines.extend(under);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "int a(int x)\n{\n\tif (x)\n\t\treturn 1;\n\treturn 0;\n}\n\nint b(int x)\n{\n\tif (x)\n\t\treturn 1;\n}\n";

    fn lines(entry: &str) -> Vec<u32> {
        let text = format!("[[exclusion]]\nfile = \"f.c\"\nreason = \"r\"\n{entry}");
        let list = Exclusions::parse(&text).expect("a list");
        assert_eq!(list.lines("g.c", SOURCE), BTreeSet::new());
        list.lines("f.c", SOURCE).into_iter().collect()
    }

    #[test]
    fn functions_and_what_is_guarded_are_left_out() {
        assert_eq!(lines("functions = [\"b\"]"), [8, 9, 10, 11, 12]);
        assert_eq!(lines("functions = [\"a\"]\nunder = [\"if (x)\"]"), [4]);
        assert_eq!(lines("under = [\"if (x)\"]"), [4, 11]);
    }

    #[test]
    fn an_exclusion_has_a_reason_and_an_end() {
        let whole = "[[exclusion]]\nfile = \"f.c\"\nreason = \"r\"\n";
        assert!(Exclusions::parse(whole).is_err());
        let silent = "[[exclusion]]\nfile = \"f.c\"\nfunctions = [\"a\"]\nreason = \" \"\n";
        assert!(Exclusions::parse(silent).is_err());
        assert!(Exclusions::parse("[[exclusion]]\nfile = \"f.c\"\n").is_err());
    }

    #[test]
    fn the_list_of_this_repository_is_one() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../kernel-configs/coverage/exclusions.toml");
        assert!(!Exclusions::read(&list).expect("a list").entries.is_empty());
    }
}

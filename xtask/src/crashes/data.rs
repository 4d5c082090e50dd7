//! The bugs on purpose as data: `kernel-configs/series/provoke`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use refan_runner::{Outcome, Verdict};
use serde::Deserialize;

/// The series of the kernel that has them all.
pub const SERIES: &str = "provoke";
/// The file in which they are, and the patch that makes it.
const FILE: &str = "fs/notify/provoke.c";
const PATCH: &str = "0001-fsnotify-add-bugs-on-purpose.patch";

/// A bug on purpose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// The switch's number.
    pub number: u32,
    /// The title of the finding.
    pub title: Option<String>,
    /// Of the reason why there is no verdict, the part that tells this bug; in place of a title.
    pub unjudged: Option<String>,
    /// Whether the report's frames have the line that is to blame.
    #[serde(default = "yes")]
    pub line: bool,
    /// How many seconds a machine is waited for that gives no sign any more.
    pub seconds: Option<u64>,
    /// Whether it takes many programs to show.
    #[serde(default)]
    pub many: bool,
    /// Whether the call that provokes it does not come back, and what is told comes later.
    #[serde(default)]
    pub blocks: bool,
    /// The kernel target that tells it.
    #[serde(default = "kasan")]
    pub target: String,
}

fn yes() -> bool {
    true
}

fn kasan() -> String {
    "kasan".to_owned()
}

/// Every bug by name, and the line of [`FILE`] that each is on.
pub struct Bugs {
    /// The bugs.
    pub all: BTreeMap<String, Bug>,
    lines: BTreeMap<String, usize>,
}

impl Bugs {
    /// Reads them.
    pub fn load(repository: &Path) -> Result<Self> {
        let folder = repository.join("kernel-configs/series").join(SERIES);
        let read = |name: &str| {
            let file = folder.join(name);
            std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))
        };
        let all = toml::from_str(&read("bugs.toml")?)
            .with_context(|| format!("bugs.toml of {} is malformed", folder.display()))?;
        Ok(Self { all, lines: marked(&read(PATCH)?) })
    }

    /// What is wrong with what is told of a bug; nothing where all is as it should be. Lines of the source
    /// are looked for where the kernel has them.
    pub fn fault(&self, name: &str, outcome: &Outcome, has_lines: bool) -> Option<String> {
        let bug = self.all.get(name)?;
        let verdict = &outcome.verdict;
        match (&bug.title, &bug.unjudged, verdict) {
            (Some(title), _, _) if verdict.title().as_ref() == Some(title) => {}
            (None, Some(part), Verdict::None(why)) if why.contains(part) => return None,
            _ => return Some(format!("{}: {verdict}", verdict.word())),
        }
        let Verdict::Report(report) = verdict else { return None };
        let line = self.lines.get(name).filter(|_| bug.line && has_lines)?;
        let names = |text: &str| {
            let place = format!("{FILE}:{line}");
            let mut behind = text.match_indices(&place).map(|(at, _)| &text[at + place.len()..]);
            behind.any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let Some(text) = &report.symbolized else {
            return Some("its report has no lines of the source".to_owned());
        };
        let comment = format!("/* {name} */");
        let shows = |text: &str| {
            text.lines().any(|line| line.trim_start().starts_with("> ") && line.ends_with(&comment))
        };
        if !names(text) {
            Some(format!("{FILE}:{line} is not in its report"))
        } else if !shows(text) {
            Some(format!("its report does not show {FILE}:{line}"))
        } else {
            None
        }
    }

    /// Those that are named, or all that the target tells.
    pub fn chosen(&self, names: &[String], target: &str) -> Result<Vec<(&str, &Bug)>> {
        for name in names {
            if !self.all.contains_key(name) {
                let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
                bail!("`{name}` is no bug on purpose; there are: {}", known.join(", "));
            }
        }
        let wanted = |name: &String, bug: &Bug| {
            if names.is_empty() { bug.target == target } else { names.contains(name) }
        };
        let chosen = self.all.iter().filter(|(name, bug)| wanted(name, bug));
        let chosen: Vec<_> = chosen.map(|(name, bug)| (name.as_str(), bug)).collect();
        if chosen.is_empty() {
            bail!("no bug is made for the target `{target}`; name those that its kernel can tell");
        }
        Ok(chosen)
    }
}

/// The lines of the file that a patch makes which end with a bug's name in a comment.
fn marked(patch: &str) -> BTreeMap<String, usize> {
    let header = format!("+++ b/{FILE}");
    let lines = patch.lines().skip_while(|line| *line != header).skip(1);
    let added = lines.skip_while(|line| !line.starts_with("@@")).skip(1);
    let added = added.map_while(|line| line.strip_prefix('+'));
    let named = added.enumerate().filter_map(|(at, line)| {
        let (_, name) = line.strip_suffix(" */")?.rsplit_once("; /* ")?;
        Some((name.to_owned(), at + 1))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bugs() -> Bugs {
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        Bugs::load(repository).expect("the bugs")
    }

    #[test]
    fn every_bug_is_told_of_and_has_its_line() {
        let bugs = bugs();
        let mut numbers: Vec<u32> = bugs.all.values().map(|bug| bug.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
        for (name, bug) in &bugs.all {
            assert!(bug.title.is_some() != bug.unjudged.is_some(), "{name}");
            let needs_line = bug.line && bug.title.is_some();
            assert!(!needs_line || bugs.lines.contains_key(name), "{name} is on no line");
        }
    }

    #[test]
    fn a_target_tells_its_own() {
        let bugs = bugs();
        let names = |target| -> Vec<&str> {
            let chosen = bugs.chosen(&[], target).expect("some");
            chosen.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("kcsan"), ["data-race"]);
        assert_eq!(names("kasan").len(), bugs.all.len() - 1);
        assert!(bugs.chosen(&[], "fast").is_err());
        assert_eq!(bugs.chosen(&["panic".to_owned()], "fast").expect("it").len(), 1);
        assert!(bugs.chosen(&["x".to_owned()], "kasan").is_err());
    }

    #[test]
    fn a_line_is_counted_in_its_file() {
        let patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n+f(); /* no */\n--- /dev/null\n\
                     +++ b/fs/notify/provoke.c\n@@ -0,0 +1,2 @@\n+a\n+f(); /* here */\ndiff\n+f(); /* no */\n";
        assert_eq!(marked(patch), BTreeMap::from([("here".to_owned(), 2)]));
    }
}

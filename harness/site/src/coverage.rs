//! Which lines and branches of the kernel's source were passed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::compare::Changes;
use crate::gcov::Line;

/// Version of a record as JSON.
pub const VERSION: u32 = 1;

/// The record of a run: what was passed, with the source that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// [`VERSION`].
    pub version: u32,
    /// The kernel, for people.
    pub kernel: String,
    /// What was run on it, for people.
    pub ran: String,
    /// What was passed otherwise than in an earlier run, if it was held against one.
    #[serde(default)]
    pub changes: Option<Changes>,
    /// Files of the kernel's source by their path there.
    pub files: BTreeMap<String, File>,
}

/// A file of the kernel's source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its text.
    pub text: String,
    /// The lines that the series has added, from 1.
    pub of_series: BTreeSet<u32>,
    /// The lines that no program is to reach.
    pub excluded: BTreeSet<u32>,
    /// The lines that have code, with how often it was passed.
    pub lines: BTreeMap<u32, Line>,
}

/// Which lines are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All but those that are excluded.
    All,
    /// Of these the ones that the series has added.
    Series,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Passed.
    pub passed: usize,
    /// There are.
    pub of: usize,
}

impl Share {
    fn add(&mut self, passed: bool) {
        self.passed += usize::from(passed);
        self.of += 1;
    }

    /// In percent; of nothing all is passed.
    pub fn percent(self) -> f64 {
        if self.of == 0 { 100.0 } else { 100.0 * self.passed as f64 / self.of as f64 }
    }
}

impl std::ops::Add for Share {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, of: self.of + other.of }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} % ({} of {})", self.percent(), self.passed, self.of)
    }
}

/// How much was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Of the lines that have code.
    pub lines: Share,
    /// Of the ways that conditions can go.
    pub branches: Share,
}

impl Coverage {
    /// How much of all files was passed.
    pub fn summary(&self, scope: Scope) -> Summary {
        self.files.values().map(|file| file.summary(scope)).fold(Summary::default(), |sum, file| {
            Summary { lines: sum.lines + file.lines, branches: sum.branches + file.branches }
        })
    }
}

impl File {
    /// The lines with code that count.
    pub fn counted(&self, scope: Scope) -> impl Iterator<Item = (u32, &Line)> {
        let counts = move |number: &u32| {
            !self.excluded.contains(number)
                && (scope == Scope::All || self.of_series.contains(number))
        };
        self.lines.iter().map(|(number, line)| (*number, line)).filter(move |(n, _)| counts(n))
    }

    /// How much was passed.
    pub fn summary(&self, scope: Scope) -> Summary {
        let mut summary = Summary::default();
        for (_, line) in self.counted(scope) {
            summary.lines.add(line.count > 0);
            line.branches.iter().for_each(|count| summary.branches.add(*count > 0));
        }
        summary
    }

    /// The lines that count and were not passed.
    pub fn missing(&self, scope: Scope) -> impl Iterator<Item = u32> {
        self.counted(scope).filter(|(_, line)| line.count == 0).map(|(number, _)| number)
    }

    /// Ascending lines, neighbours together: those with nothing but lines without code between them.
    pub fn runs(&self, numbers: impl IntoIterator<Item = u32>) -> Vec<Vec<u32>> {
        let mut runs: Vec<Vec<u32>> = Vec::new();
        for number in numbers {
            let is_next = |last: &u32| self.lines.range(last + 1..number).next().is_none();
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(is_next) => run.push(number),
                _ => runs.push(vec![number]),
            }
        }
        runs
    }

    /// The lines that count and were passed, but not in all the ways that they can go.
    pub fn partial(&self, scope: Scope) -> impl Iterator<Item = (u32, &Line)> {
        self.counted(scope).filter(|(_, line)| line.count > 0 && line.branches.contains(&0))
    }

    /// The function that a line is in, as kernel style has it: the nearest line before it that begins
    /// with a name and has a parenthesis, unless a closing brace stands between.
    pub fn function(&self, number: u32) -> Option<&str> {
        let lines: Vec<&str> = self.text.lines().take(number as usize).collect();
        for (at, line) in lines.iter().enumerate().rev() {
            if line.starts_with('}') && at + 1 < number as usize {
                return None;
            }
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if line.starts_with(is_name)
                && !line.ends_with(':')
                && let Some((head, _)) = line.split_once('(')
            {
                return head.rsplit(|c| !is_name(c)).next().filter(|name| !name.is_empty());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::file;

    #[test]
    fn what_is_excluded_counts_neither_way() {
        let mut file = file();
        let all = file.summary(Scope::All);
        assert_eq!((all.lines, all.branches.of), (Share { passed: 4, of: 7 }, 2));
        let series = file.summary(Scope::Series);
        assert_eq!(series.lines, Share { passed: 1, of: 3 });
        file.excluded.insert(7);
        assert_eq!(file.summary(Scope::Series).lines, Share { passed: 1, of: 2 });
        assert_eq!(Share::default().percent(), 100.0);
    }

    #[test]
    fn missing_neighbours_stand_together() {
        let file = file();
        assert_eq!(file.runs(file.missing(Scope::All)), [vec![7, 9], vec![13]]);
        assert_eq!(file.runs(file.missing(Scope::Series)), [vec![7, 9]]);
        assert_eq!(file.partial(Scope::All).map(|(n, _)| n).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn lines_know_their_function() {
        let file = file();
        assert_eq!(file.function(7), Some("refuse"));
        assert_eq!(file.function(13), Some("b"));
        assert_eq!(file.function(12), Some("refuse"));
        assert_eq!(file.function(2), None);
    }
}

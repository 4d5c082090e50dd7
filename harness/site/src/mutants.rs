//! The kill matrix, as `mutants --json` prints it: one JSON object a line.

use serde::Deserialize;

/// A kernel with a seeded bug, and what saw it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// The rules that it breaks.
    pub breaks: Vec<String>,
    /// The bug.
    pub summary: String,
    /// In a word what came of it: `killed`, `survived`, `no verdict`, `apart`.
    pub fate: String,
    /// What saw it.
    #[serde(default)]
    pub killed_by: Vec<Kill>,
    /// Why it was not run, or what the probe saw.
    pub why: Option<String>,
    /// Those that came to no verdict, where none saw it.
    #[serde(default)]
    pub unjudged: Vec<Unjudged>,
}

/// A scenario without a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Unjudged {
    /// The scenario.
    pub scenario: String,
    /// Why.
    pub why: String,
}

/// A scenario that saw a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kill {
    /// The scenario.
    pub scenario: String,
    /// The rule that it saw broken.
    pub rule: Option<String>,
    /// Whether that is one that the mutant breaks.
    pub right: Option<bool>,
    /// Title of the kernel's report, if that is what it saw.
    pub report: Option<String>,
}

/// What is told of the run as a whole.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct End {
    /// The kernels.
    pub kernels: Vec<String>,
    /// What the kernel without a bug came to.
    pub unmutated: Unmutated,
    /// How long it took.
    pub seconds: f64,
}

/// What ran on the kernel without a bug: scenarios, or campaigns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Unmutated {
    /// Scenarios that held.
    pub held: usize,
    /// Scenarios that it lacks something for.
    pub unsupported: usize,
    /// Programs of campaigns, none of them a finding.
    pub programs: u64,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Mutant(Mutant),
    End(End),
    #[serde(other)]
    Other,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// What kind of mutants they are.
    pub title: String,
    /// The mutants.
    pub mutants: Vec<Mutant>,
    /// The run as a whole.
    pub end: End,
}

impl Matrix {
    /// Reads one.
    ///
    /// # Errors
    /// A line is none of a matrix.
    pub fn read(title: &str, text: &str) -> Result<Self, serde_json::Error> {
        let (title, mutants, end) = (title.to_owned(), Vec::new(), End::default());
        let mut matrix = Self { title, mutants, end };
        for line in text.lines() {
            match serde_json::from_str(line)? {
                Event::Mutant(mutant) => matrix.mutants.push(mutant),
                Event::End(end) => matrix.end = end,
                Event::Other => {}
            }
        }
        Ok(matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MATRIX;

    #[test]
    fn a_matrix_is_read() {
        let Matrix { mutants, end, .. } = Matrix::read("", MATRIX).expect("a matrix");
        assert_eq!(end.unmutated, Unmutated { held: 230, unsupported: 15, programs: 0 });
        let fates: Vec<&str> = mutants.iter().map(|mutant| mutant.fate.as_str()).collect();
        assert_eq!(fates, ["survived", "killed", "apart"]);
        assert_eq!(mutants[1].killed_by[0].rule.as_deref(), Some("R2"));
        assert!(Matrix::read("", "nonsense").is_err());
    }
}

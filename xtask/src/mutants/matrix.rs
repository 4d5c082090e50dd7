//! The kill matrix: which mutant was seen by what.

use std::time::Duration;

use refan_program::Rule;
use refan_runner::{Outcome, Verdict};

use super::data::Mutant;
use super::run::Fate;
use crate::exit::Exit;
use crate::fuzz::First;

/// What came of all mutants.
#[derive(Default)]
pub struct Matrix {
    /// A row a mutant, survivors first once [`Matrix::sort`] has been called.
    pub rows: Vec<Row>,
    /// What the kernel without a bug came to.
    pub unmutated: Unmutated,
}

/// What came of a mutant.
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub mutant: Mutant,
    /// What came of it.
    pub came: Came,
    /// How long that took.
    pub elapsed: Duration,
}

/// What came of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// No scenario saw it.
    Survived,
    /// No scenario saw it, and these ended without a verdict, each with the reason.
    Unjudged(Vec<(String, String)>),
    /// Scenarios saw it, the first one first.
    Killed(Vec<Kill>),
    /// The probe saw it.
    Refused(String),
    /// It was not run: nothing that is there can see it.
    Unreachable(String),
    /// It was not run: there is nothing to be seen, or another target sees it.
    SetApart(String),
}

/// How a scenario saw a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The scenario.
    pub scenario: String,
    /// What it saw.
    pub seen: Seen,
    /// How often it showed again, of how many tries.
    pub repeated: Option<(u32, u32)>,
}

/// What a scenario saw of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A rule was broken.
    Rule {
        /// The rule.
        rule: Rule,
        /// Whether it is one that the mutant breaks; of a mechanical one nobody knows which that is.
        right: bool,
    },
    /// The kernel reported it, under this title.
    Report(String),
}

/// What the kernel without a bug came to in the same run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmutated {
    /// Scenarios that held.
    pub held: usize,
    /// Scenarios that it cannot be judged by.
    pub unsupported: usize,
    /// Programs of campaigns, none of them a finding.
    pub programs: u64,
}

/// How many mutants came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// A scenario saw it as a rule that it breaks.
    pub right_rule: usize,
    /// A scenario saw it as another rule.
    pub other_rule: usize,
    /// The kernel reported it.
    pub report: usize,
    /// The probe saw it.
    pub refused: usize,
    /// Nothing saw it.
    pub survived: usize,
    /// Nothing that is there can see it, and it is known why.
    pub unreachable: usize,
    /// Nothing saw it, and not all that was run came to a verdict.
    pub unjudged: usize,
    /// Not run: equivalent, or judged by another target.
    pub set_apart: usize,
}

impl Counts {
    /// Those that something saw.
    pub fn killed(self) -> usize {
        self.right_rule + self.other_rule + self.report + self.refused
    }

    /// All but those that were set apart.
    pub fn judged(self) -> usize {
        self.killed() + self.survived + self.unreachable + self.unjudged
    }

    /// Of the killed ones the share that was seen as another rule than those that they break.
    pub fn share_of_other_rules(self) -> f64 {
        self.other_rule as f64 / self.killed().max(1) as f64
    }

    /// A survivor outweighs a missing verdict, and one that is explained is no news; that nothing was run shows
    /// nothing.
    fn exit(self) -> Exit {
        if self.survived > 0 {
            Exit::Broken
        } else if self.unjudged > 0 || self.killed() == 0 {
            Exit::NoVerdict
        } else {
            Exit::Held
        }
    }
}

impl Matrix {
    /// How many mutants have been judged so far.
    pub fn judged(&self) -> usize {
        self.counts().judged()
    }

    /// Adds one that is not run.
    pub fn add_not_run(&mut self, name: &str, mutant: &Mutant, came: Came) {
        self.push(name, mutant, came, Duration::ZERO);
    }

    /// Adds what came of one.
    pub fn add(&mut self, name: &str, mutant: &Mutant, fate: Fate, elapsed: Duration) {
        let came = match fate {
            Fate::Survived => Came::Survived,
            Fate::Unjudged(outcomes) => Came::Unjudged(
                outcomes.into_iter().map(|it| (it.name, it.verdict.to_string())).collect(),
            ),
            Fate::Refused(why) => Came::Refused(why),
            Fate::Killed(outcomes) => {
                Came::Killed(outcomes.iter().filter_map(|it| kill(it, mutant)).collect())
            }
        };
        self.push(name, mutant, came, elapsed);
    }

    /// Adds what a campaign came to.
    pub fn add_campaign(&mut self, name: &str, mutant: &Mutant, first: &First) {
        let came = match &first.found {
            None => Came::Survived,
            Some(found) => {
                let seen = match found.key.rule() {
                    Some(rule) => Seen::of(rule, mutant),
                    None => Seen::Report(found.key.to_string()),
                };
                let scenario = format!("a campaign of {} programs", first.runs);
                Came::Killed(vec![Kill { scenario, seen, repeated: Some(found.repeated) }])
            }
        };
        self.push(name, mutant, came, first.elapsed);
    }

    fn push(&mut self, name: &str, mutant: &Mutant, came: Came, elapsed: Duration) {
        let (name, mutant) = (name.to_owned(), mutant.clone());
        self.rows.push(Row { name, mutant, came, elapsed });
    }

    /// Puts first what there is to be done about: survivors, then what has no verdict, then what was seen as
    /// another rule.
    pub fn sort(&mut self) {
        self.rows.sort_by(|a, b| (a.came.rank(), &a.name).cmp(&(b.came.rank(), &b.name)));
    }

    /// How many came to what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for row in &self.rows {
            let count = match &row.came {
                Came::Survived => &mut counts.survived,
                Came::Unjudged(_) => &mut counts.unjudged,
                Came::Refused(_) => &mut counts.refused,
                Came::Unreachable(_) => &mut counts.unreachable,
                Came::SetApart(_) => &mut counts.set_apart,
                Came::Killed(kills) => match kills.first().map(|kill| &kill.seen) {
                    Some(Seen::Rule { right: true, .. }) => &mut counts.right_rule,
                    Some(Seen::Rule { right: false, .. }) => &mut counts.other_rule,
                    Some(Seen::Report(_)) | None => &mut counts.report,
                },
            };
            *count += 1;
        }
        counts
    }

    /// What the command ends in.
    pub fn exit(&self) -> Exit {
        self.counts().exit()
    }
}

impl Came {
    fn rank(&self) -> u8 {
        match self {
            Self::Survived => 0,
            Self::Unreachable(_) | Self::Unjudged(_) => 1,
            Self::Killed(kills)
                if matches!(
                    kills.first(),
                    Some(Kill { seen: Seen::Rule { right: false, .. }, .. })
                ) =>
            {
                2
            }
            Self::Killed(_) | Self::Refused(_) => 3,
            Self::SetApart(_) => 4,
        }
    }

    /// It in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Survived => "survived",
            Self::Unjudged(_) => "no verdict",
            Self::Killed(_) | Self::Refused(_) => "killed",
            Self::Unreachable(_) => "unreachable",
            Self::SetApart(_) => "apart",
        }
    }
}

impl Seen {
    fn of(rule: Rule, mutant: &Mutant) -> Self {
        let right = mutant.breaks.is_empty() || mutant.breaks.contains(&rule);
        Self::Rule { rule, right }
    }
}

fn kill(outcome: &Outcome, mutant: &Mutant) -> Option<Kill> {
    let seen = match &outcome.verdict {
        Verdict::Broken(violation) => Seen::of(violation.rule, mutant),
        Verdict::Report(report) => Seen::Report(report.title.clone()),
        _ => return None,
    };
    Some(Kill { scenario: outcome.name.clone(), seen, repeated: outcome.repeated })
}

/// Rules as a list.
pub fn list(rules: &[Rule]) -> String {
    rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_in_which_all_were_killed_ends_in_zero() {
        let counts = |right_rule, survived, unjudged, set_apart| Counts {
            right_rule,
            survived,
            unjudged,
            set_apart,
            ..Counts::default()
        };
        assert_eq!(counts(2, 0, 0, 1).exit(), Exit::Held);
        assert_eq!(counts(2, 1, 1, 0).exit(), Exit::Broken);
        assert_eq!(counts(2, 0, 1, 0).exit(), Exit::NoVerdict);
        assert_eq!(counts(0, 0, 0, 1).exit(), Exit::NoVerdict);
    }

    #[test]
    fn survivors_stand_first() {
        let mutant: Mutant =
            toml::from_str("breaks = [\"R1\"]\nsummary = \"\"\nwhy = \"\"").expect("a mutant");
        let mut matrix = Matrix::default();
        matrix.add_not_run("a", &mutant, Came::SetApart("equivalent".to_owned()));
        matrix.add("b", &mutant, Fate::Refused("it lacks it".to_owned()), Duration::ZERO);
        matrix.add("c", &mutant, Fate::Survived, Duration::ZERO);
        matrix.sort();
        let names: Vec<&str> = matrix.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert_eq!(matrix.exit(), Exit::Broken);
    }
}

//! The kill matrix: which mutant was seen by what.

use std::time::Duration;

use refan_program::Rule;
use refan_runner::{Outcome, Verdict};

use super::data::Mutant;
use super::run::Fate;
use crate::exit::Exit;
use crate::report::seconds;

/// What came of all mutants.
pub struct Matrix {
    full: bool,
    rows: Vec<Row>,
    counts: Counts,
}

/// Lines for one mutant, and where they stand.
struct Row {
    rank: Rank,
    name: String,
    lines: Vec<String>,
}

/// What is to be done about a mutant decides where it stands: survivors first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Survived,
    Unjudged,
    OtherRule,
    Killed,
    SetApart,
}

/// How many mutants came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// A scenario saw it as a rule that it breaks.
    right_rule: usize,
    /// A scenario saw it as another rule.
    other_rule: usize,
    /// The kernel reported it.
    report: usize,
    /// The probe saw it.
    refused: usize,
    survived: usize,
    unjudged: usize,
    /// Not run: equivalent, or judged by another target.
    set_apart: usize,
}

impl Counts {
    fn killed(self) -> usize {
        self.right_rule + self.other_rule + self.report + self.refused
    }

    fn judged(self) -> usize {
        self.killed() + self.survived + self.unjudged
    }

    /// A survivor outweighs a missing verdict; that nothing was run shows nothing.
    fn exit(self) -> Exit {
        if self.survived > 0 {
            Exit::Broken
        } else if self.unjudged > 0 || self.judged() == 0 {
            Exit::NoVerdict
        } else {
            Exit::Held
        }
    }
}

/// How a scenario saw a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    RightRule,
    OtherRule,
    Report,
}

impl Matrix {
    /// An empty one; of a full run all scenarios that saw a mutant are told.
    pub fn new(full: bool) -> Self {
        Self { full, rows: Vec::new(), counts: Counts::default() }
    }

    /// How many mutants have been judged so far.
    pub fn judged(&self) -> usize {
        self.counts.judged()
    }

    /// The first line on the mutant that was added last.
    pub fn latest(&self) -> &str {
        self.rows.last().and_then(|row| row.lines.first()).map_or("", String::as_str)
    }

    /// Adds one that is not run.
    pub fn set_apart(&mut self, name: &str, mutant: &Mutant, why: String) {
        self.counts.set_apart += 1;
        let line = format!("apart       {name:<28} breaks {}: {why}", list(&mutant.breaks));
        self.push(Rank::SetApart, name, vec![line]);
    }

    /// Adds what came of one.
    pub fn add(&mut self, name: &str, mutant: &Mutant, fate: Fate, elapsed: Duration) {
        let head = |word: &str| {
            let (breaks, took) = (list(&mutant.breaks), seconds(elapsed));
            format!("{word:<11} {name:<28} breaks {breaks:<12} {took:>7}")
        };
        let (rank, lines) = match fate {
            Fate::Survived => {
                self.counts.survived += 1;
                let what = [&mutant.summary, &mutant.why].map(|text| text.lines());
                let what = what.into_iter().flatten().map(|line| format!("              {line}"));
                (Rank::Survived, [head("SURVIVED")].into_iter().chain(what).collect())
            }
            Fate::Unjudged(outcomes) => {
                self.counts.unjudged += 1;
                let reasons = outcomes
                    .iter()
                    .map(|outcome| format!("              {}: {}", outcome.name, outcome.verdict));
                (Rank::Unjudged, [head("NO VERDICT")].into_iter().chain(reasons).collect())
            }
            Fate::Refused(why) => {
                self.counts.refused += 1;
                (Rank::Killed, vec![format!("{}  by the probe: {why}", head("killed"))])
            }
            Fate::Killed(outcomes) => {
                let seen = outcomes.first().map_or(Seen::Report, |first| seen(first, mutant));
                match seen {
                    Seen::RightRule => self.counts.right_rule += 1,
                    Seen::OtherRule => self.counts.other_rule += 1,
                    Seen::Report => self.counts.report += 1,
                }
                let rank = if seen == Seen::OtherRule { Rank::OtherRule } else { Rank::Killed };
                let told: Vec<String> =
                    outcomes.iter().map(|outcome| tell(outcome, mutant)).collect();
                let lines = match told.as_slice() {
                    [only] if !self.full => vec![format!("{}  {only}", head("killed"))],
                    _ => {
                        let by = told.iter().map(|line| format!("              {line}"));
                        [head("killed")].into_iter().chain(by).collect()
                    }
                };
                (rank, lines)
            }
        };
        self.push(rank, name, lines);
    }

    fn push(&mut self, rank: Rank, name: &str, lines: Vec<String>) {
        self.rows.push(Row { rank, name: name.to_owned(), lines });
    }

    /// Prints it.
    pub fn print(&mut self, elapsed: Duration) {
        self.rows.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
        for line in self.rows.iter().flat_map(|row| &row.lines) {
            say!("  {line}");
        }
        let Counts { right_rule, other_rule, report, refused, survived, unjudged, set_apart } =
            self.counts;
        say!(
            "  verdict     {} of {} killed in {}: {right_rule} by a rule that they break, {other_rule} by \
             another, {report} by the kernel's report, {refused} by the probe; {survived} survived, \
             {unjudged} without verdict, {set_apart} set apart",
            self.counts.killed(),
            self.counts.judged(),
            seconds(elapsed),
        );
    }

    /// What the command ends in.
    pub fn exit(&self) -> Exit {
        self.counts.exit()
    }
}

fn seen(outcome: &Outcome, mutant: &Mutant) -> Seen {
    match &outcome.verdict {
        Verdict::Broken(violation) if mutant.breaks.contains(&violation.rule) => Seen::RightRule,
        Verdict::Broken(_) => Seen::OtherRule,
        _ => Seen::Report,
    }
}

/// By what it was seen and how: the rule that was named, and whether that is one that it breaks.
fn tell(outcome: &Outcome, mutant: &Mutant) -> String {
    let how = match &outcome.verdict {
        Verdict::Broken(violation) => match seen(outcome, mutant) {
            Seen::RightRule => violation.rule.to_string(),
            _ => format!("named {} instead of {}", violation.rule, list(&mutant.breaks)),
        },
        Verdict::Report(report) => format!("kernel report: {}", report.title),
        verdict => verdict.word().to_owned(),
    };
    let unsteady = match outcome.repeated {
        Some((again, tries)) if again < tries => format!(", again in {again} of {tries}"),
        _ => String::new(),
    };
    format!("by {}: {how}{unsteady}", outcome.name)
}

fn list(rules: &[Rule]) -> String {
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
        let mut matrix = Matrix::new(false);
        matrix.set_apart("a", &mutant, "equivalent".to_owned());
        matrix.add("b", &mutant, Fate::Refused("it lacks it".to_owned()), Duration::ZERO);
        matrix.add("c", &mutant, Fate::Survived, Duration::ZERO);
        matrix.print(Duration::ZERO);
        let names: Vec<&str> = matrix.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert_eq!(matrix.exit(), Exit::Broken);
    }
}

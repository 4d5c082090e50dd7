//! Running a finding again.

use std::collections::BTreeMap;

use anyhow::Result;
use refan_program::Program;

use crate::earlier::Earlier;
use crate::run::Worker;
use crate::suite::Scenario;
use crate::{Prepared, Verdict};

/// What came of running a program again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// How often what is sought was found.
    pub found: u32,
    /// How often something else was found, by title.
    pub others: BTreeMap<String, u32>,
    /// How often nothing was wrong.
    pub held: u32,
    /// How often nothing was learnt, by reason.
    pub unjudged: BTreeMap<String, u32>,
}

impl Repeats {
    /// Counts a run's verdict, when findings of `title` are sought.
    fn add(&mut self, title: &str, verdict: &Verdict) {
        match (verdict, verdict.title()) {
            // What is known now was a finding, or is not what is sought.
            (Verdict::Known(report), _) if report.title == title => self.found += 1,
            (Verdict::Known(report), _) => {
                *self.others.entry(report.title.clone()).or_default() += 1;
            }
            (Verdict::Unsupported(why) | Verdict::None(why), _) => {
                *self.unjudged.entry(why.clone()).or_default() += 1;
            }
            (_, Some(found)) if found == title => self.found += 1,
            (_, Some(other)) => *self.others.entry(other).or_default() += 1,
            (_, None) => self.held += 1,
        }
    }

    /// Whether the finding shows here: yes if it was found once, no if nothing was wrong in any run;
    /// None where neither can be said.
    pub fn reproduces(&self) -> Option<bool> {
        match self {
            Self { found: 1.., .. } => Some(true),
            Self { others, unjudged, held: 1.., .. }
                if others.is_empty() && unjudged.is_empty() =>
            {
                Some(false)
            }
            _ => None,
        }
    }
}

/// Runs a program `runs` times, each time on a freshly restored machine behind what has to run earlier,
/// and counts how often there is a finding of this title. `told` gets each verdict.
///
/// # Errors
/// No machine starts, or its kernel is not what it is said to be.
pub fn repeat(
    prepared: &Prepared,
    reference: Option<&Prepared>,
    earlier: &[Earlier],
    program: &Program,
    title: &str,
    runs: u32,
    mut told: impl FnMut(&Verdict),
) -> Result<Repeats> {
    let mut worker = Worker::start(prepared, reference)?;
    let scenario = Scenario { name: String::new(), program: program.clone() };
    let mut repeats = Repeats::default();
    for _ in 0..runs {
        let verdict = worker.run_behind(earlier, &scenario).verdict;
        repeats.add(title, &verdict);
        told(&verdict);
    }
    Ok(repeats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_log::Report;

    fn report(title: &str) -> Verdict {
        Verdict::Report(Report { title: title.into(), text: String::new(), symbolized: None })
    }

    fn repeats(verdicts: &[Verdict]) -> Repeats {
        let mut repeats = Repeats::default();
        verdicts.iter().for_each(|verdict| repeats.add("a", verdict));
        repeats
    }

    #[test]
    fn nothing_but_held_is_no() {
        let none = || Verdict::None("why".into());
        assert_eq!(repeats(&[Verdict::Held, report("a"), none()]).reproduces(), Some(true));
        assert_eq!(repeats(&[Verdict::Held, Verdict::Held]).reproduces(), Some(false));
        assert_eq!(repeats(&[Verdict::Held, report("b")]).reproduces(), None);
        assert_eq!(repeats(&[Verdict::Held, none()]).reproduces(), None);
        assert_eq!(repeats(&[]).reproduces(), None);
    }
}

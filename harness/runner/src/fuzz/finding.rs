//! Findings of a campaign: what makes two of them one, and whether they show again.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use refan_program::{Offset, Program, Rule, Start, Step};
use serde::{Deserialize, Serialize};

use crate::earlier::Earlier;
use crate::run::{Outcome, Worker};
use crate::suite::Scenario;
use crate::sweep::Budget;
use crate::verdict::Verdict;
use crate::{Prepared, artifact};

/// How often a program whose finding does not show at once is run on a fresh machine.
const TRIES: u32 = 3;

/// How far around a recorded start a branch is moved to find a race again, and by which steps:
/// nanoseconds. The step is that of the deterministic machine's clock.
const AROUND: u32 = 1600;
const STEP: u32 = 16;

/// How long variants of one kind are tried: what takes longer waits for no more than that.
const PATIENCE: Duration = Duration::from_secs(40);

/// How often a finding is run where time is not virtual.
const RATED: u32 = 20;

/// A start where time is not virtual says little about where on another machine the branch is to begin: so many
/// starts are spread over at least this time, in nanoseconds.
const SPREAD: u32 = 64;
const SPREAD_OVER: u32 = 32 << 10;

/// What findings of one kind have in common: a report's title, or the broken rule and the call at which
/// it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    /// None where it is no finding.
    pub fn of(program: &Program, verdict: &Verdict) -> Option<Self> {
        let title = verdict.title()?;
        Some(Self(match verdict {
            Verdict::Broken(violation) => match program.steps.get(violation.step) {
                Some(step) => format!("{title} at {}", call_name(program, step)),
                None => title,
            },
            _ => title,
        }))
    }

    /// The rule that was broken; none where the kernel reported something.
    pub fn rule(&self) -> Option<Rule> {
        self.0.strip_prefix("rule ")?.split(' ').next()?.parse().ok()
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The call of a step by its name alone, as the text form has it.
fn call_name(program: &Program, step: &Step) -> String {
    let text = program.step_text(step);
    let call = text.split('(').next().unwrap_or_default();
    call.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// A finding, confirmed or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What it has in common with others.
    pub key: Key,
    /// How often it showed again, of how many tries on a freshly restored machine.
    pub repeated: (u32, u32),
    /// How much has to run on the machine before it.
    pub earlier: usize,
    /// Where it is kept.
    pub artifact: Option<PathBuf>,
    /// The program as text.
    pub program: String,
    /// The verdict in words.
    pub verdict: String,
}

/// Runs findings again, each time on a freshly restored machine of its own.
pub struct Confirmer {
    /// A machine whose tasks are not watched, and one as that of the campaign: time passes otherwise
    /// there, and some findings need it to.
    machines: [Prepared; 2],
    /// The machine of the campaign, if time is not virtual there: what it did is done otherwise again.
    inexact: Option<Prepared>,
    /// Where findings are kept.
    folder: PathBuf,
}

impl Confirmer {
    /// For findings on such machines: not watched, and watched.
    pub fn new(machines: [Prepared; 2], folder: PathBuf) -> Self {
        Self { machines, inexact: None, folder }
    }

    /// For findings of a campaign on another machine, where time is not virtual. What does not show on these
    /// is run there again, and keeps its rate.
    pub fn of_campaign_on(self, inexact: Prepared) -> Self {
        Self { inexact: Some(inexact), ..self }
    }

    /// Runs the program of a finding again and keeps what came of it. `seen` is what the campaign saw, and
    /// `earlier` what its machine had done before.
    pub fn confirm(
        &self,
        name: &str,
        program: &Program,
        seen: Verdict,
        key: Key,
        earlier: &[Earlier],
    ) -> Result<Found> {
        let [plain, watched] = &self.machines;
        let scenario =
            |program: &Program| Scenario { name: name.to_owned(), program: program.clone() };
        let again = || std::iter::repeat_n(program.clone(), TRIES as usize);
        let moved: Vec<Program> = match &self.inexact {
            Some(_) => spread(program).chain(moved(program)).collect(),
            None => moved(program).collect(),
        };
        let mut tries = 0;
        let mut last = None;
        let mut try_all =
            |prepared: &Prepared, variants: Vec<Program>, each: Budget| -> Result<_> {
                let mut worker = Worker::start(prepared, None)?;
                let until = Instant::now() + PATIENCE;
                for program in variants.into_iter().take_while(|_| Instant::now() < until) {
                    let outcome = worker.run(&scenario(&program), each);
                    tries += 1;
                    if outcome.verdict.is_finding() {
                        return Ok(Some(outcome));
                    }
                    last = Some(outcome);
                }
                Ok(None)
            };
        if let Some(outcome) = try_all(plain, again().collect(), Budget::default())? {
            return self.keep(plain, outcome, key, None);
        }
        // What was met by chance is sought at each instant, before it is taken for something that shows only
        // where it is watched, or behind what ran before.
        let sought = begun_anywhere(program);
        let each = Budget::Time(PATIENCE / sought.len().max(1) as u32);
        if let Some(outcome) = try_all(plain, sought, each)? {
            return self.keep(plain, outcome, key, None);
        }
        if let Some(outcome) = try_all(watched, again().collect(), Budget::default())? {
            return self.keep(watched, outcome, key, None);
        }
        if self.inexact.is_none()
            && let Some(title) = seen.title()
            && let Some(outcome) = Worker::start(watched, None)?.shown_behind(
                earlier,
                &scenario(program),
                &title,
                TRIES,
            )
        {
            return self.keep(watched, outcome, key, None);
        }
        if let Some(outcome) = try_all(plain, moved, Budget::default())? {
            return self.keep(plain, outcome, key, None);
        }
        if let Some(inexact) = &self.inexact {
            return self.rated(inexact, &scenario(program), seen, key);
        }
        let Some(mut outcome) = last else { anyhow::bail!("nothing was tried") };
        outcome.verdict = seen;
        outcome.program = Some(program.clone());
        self.keep(watched, outcome, key, Some((0, tries)))
    }

    /// The first of these programs that leaves something in the kernel, each on a machine of its own.
    pub fn leaking<'p>(&self, programs: &'p [Program]) -> Result<Option<&'p Program>> {
        let [_, watched] = &self.machines;
        let mut worker = Worker::start(watched, None)?;
        Ok(programs.iter().find(|program| worker.run_afresh(program).is_finding()))
    }

    /// Keeps a finding with how often it shows on the machine of its campaign.
    fn rated(
        &self,
        inexact: &Prepared,
        scenario: &Scenario,
        seen: Verdict,
        key: Key,
    ) -> Result<Found> {
        let mut worker = Worker::start(inexact, None)?;
        let until = Instant::now() + PATIENCE;
        let runs = (0..RATED).take_while(|run| *run == 0 || Instant::now() < until);
        let outcomes: Vec<Outcome> = runs.map(|_| worker.run_once(scenario)).collect();
        let runs = outcomes.len() as u32;
        let (shown, mut others): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|it| it.verdict.title() == seen.title());
        let rate = (shown.len() as u32, runs);
        if let Some(outcome) = shown.into_iter().next() {
            return self.keep(inexact, outcome, key, Some(rate));
        }
        let Some(mut outcome) = others.pop() else { anyhow::bail!("nothing was tried") };
        outcome.verdict = seen;
        self.keep(inexact, outcome, key, Some(rate))
    }

    fn keep(
        &self,
        prepared: &Prepared,
        mut outcome: Outcome,
        key: Key,
        repeated: Option<(u32, u32)>,
    ) -> Result<Found> {
        outcome.repeated = repeated.or(outcome.repeated);
        let kept = artifact::write(&self.folder, prepared, None, &outcome);
        if let Err(error) = &kept {
            eprintln!("error: a finding is not kept: {error}");
        }
        let program = outcome.program.as_ref().map(ToString::to_string).unwrap_or_default();
        let key =
            outcome.program.as_ref().and_then(|it| Key::of(it, &outcome.verdict)).unwrap_or(key);
        Ok(Found {
            key,
            repeated: outcome.repeated.unwrap_or_default(),
            earlier: outcome.earlier.len(),
            artifact: kept.ok(),
            program,
            verdict: outcome.verdict.to_string(),
        })
    }
}

/// The program with one of its starts moved, the smallest moves first. Time passes otherwise where
/// all tasks are watched, so the instruction at which a branch preempted another is another offset
/// away.
pub(crate) fn moved(program: &Program) -> impl Iterator<Item = Program> + '_ {
    let moves = (1..=AROUND / STEP).flat_map(|n| [i64::from(n * STEP), -i64::from(n * STEP)]);
    let started = |step: &usize| program.steps[*step].start.is_some();
    let steps: Vec<usize> = (0..program.steps.len()).filter(started).collect();
    moves.flat_map(move |by| {
        steps.clone().into_iter().filter_map(move |step| {
            let mut program = program.clone();
            let start = program.steps[step].start.as_mut()?;
            let Offset::Nanoseconds(at) = start.at else { return None };
            start.at = Offset::Nanoseconds(u32::try_from(i64::from(at) + by).ok()?);
            Some(program)
        })
    })
}

/// The program with a branch that is begun at each instant, in each way that there is: of blocks without a start,
/// each branch but the first one.
fn begun_anywhere(program: &Program) -> Vec<Program> {
    let begins = |at: &usize| {
        let block = program.block_of(*at);
        let callers = |steps: Range<usize>| program.steps[steps].iter().filter_map(Step::caller);
        let caller = program.steps[*at].caller();
        let has_starts = program.steps[block.clone()].iter().any(|step| step.start.is_some());
        program.steps[*at].block.is_some()
            && !has_starts
            && caller.is_some()
            && callers(block.start..*at).all(|other| Some(other) != caller)
            && callers(block.start..*at).next().is_some()
    };
    let begun = (0..program.steps.len()).filter(begins).filter_map(|at| {
        let mut swept = program.clone();
        swept.steps[at].start = Some(Start { at: Offset::Sweep, priority: 1 });
        swept.validate().is_ok().then_some(swept)
    });
    begun.collect()
}

/// The program with its first start at one instant after another, from the block's beginning on.
pub(crate) fn spread(program: &Program) -> impl Iterator<Item = Program> + '_ {
    let started = program.steps.iter().position(|step| step.start.is_some());
    started.into_iter().flat_map(move |step| {
        let at = match program.steps[step].start.map(|start| start.at) {
            Some(Offset::Nanoseconds(at)) => at,
            _ => 0,
        };
        let over = at.saturating_mul(2).max(SPREAD_OVER);
        (0..SPREAD).filter_map(move |n| {
            let mut program = program.clone();
            let at = over / SPREAD / STEP * STEP * n;
            program.steps[step].start.as_mut()?.at = Offset::Nanoseconds(at);
            Some(program)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_model::Violation;

    fn program() -> Program {
        let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nd = fork()\npar {\n    \
                    open_queue(c)\n    d: close(c) @ 32ns\n}\n";
        refan_program::parse(text).expect("a program")
    }

    #[test]
    fn starts_are_moved_by_a_little_first_and_stay_in_range() {
        let program = program();
        let starts: Vec<u32> = moved(&program)
            .flat_map(|program| program.steps)
            .filter_map(|step| match step.start?.at {
                Offset::Nanoseconds(at) => Some(at),
                Offset::Sweep => None,
            })
            .collect();
        assert_eq!(starts[..4], [48, 16, 64, 0]);
        assert_eq!(starts.len(), 100 + 2);
    }

    #[test]
    fn starts_are_spread_from_the_beginning_on() {
        let program = program();
        let at = |program: Program| program.steps[3].start.expect("a start").at;
        let starts: Vec<Offset> = spread(&program).map(at).collect();
        let exact = [0, 512, 1024].map(Offset::Nanoseconds);
        assert_eq!((&starts[..3], starts.len()), (&exact[..], 64));
        let plain = refan_program::parse("open(f0, O_RDONLY)\n").expect("a program");
        assert_eq!(spread(&plain).count(), 0);
    }

    #[test]
    fn each_branch_but_the_first_is_begun_anywhere() {
        let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nd = fork()\npar {\n    \
                    open_queue(c)\n    d: poll(c)\n    d: close(c)\n    a = spawn dup(c)\n}\n";
        let plain = refan_program::parse(text).expect("a program");
        let swept: Vec<_> = begun_anywhere(&plain).iter().map(Program::swept).collect();
        assert_eq!(swept, [Some(3), Some(5)]);
        assert_eq!(begun_anywhere(&program()), []);
    }

    #[test]
    fn findings_are_one_by_rule_and_call() {
        let broken = |step| {
            Verdict::Broken(Violation {
                rule: Rule::named('X', 5),
                step,
                allowed: String::new(),
                observed: String::new(),
                history: Vec::new(),
            })
        };
        let key = |step| Key::of(&program(), &broken(step)).expect("a finding");
        assert_eq!(key(2).to_string(), "rule X5 broken at open_queue");
        assert_eq!(key(0).to_string(), "rule X5 broken at fanotify_init");
        assert_eq!(key(99).to_string(), "rule X5 broken");
        assert_eq!([key(2), key(99)].map(|key| key.rule()), [Some(Rule::named('X', 5)); 2]);
        assert_eq!(Key("KASAN: use-after-free in f".to_owned()).rule(), None);
        assert_eq!(Key::of(&program(), &Verdict::Held), None);
    }
}

//! Which sweep comes next, of all that are run together.
//!
//! First each is run once, with the swept branch behind everything that the base does. Then the next
//! try is that of the sweep which can hit most places that no other one has: so an amount of time is
//! spent where it shows most.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::known::Known;
use super::search::{Gain, Search};
use super::seen::Seen;
use super::{BEHIND, Budget, REPEATS, Sweep, new_search, plain};
use crate::reach::Reach;
use crate::run::{Outcome, Ran, Worker};
use crate::suite::Scenario;
use crate::verdict::Verdict;

/// Sweeps that share a budget and what they find out.
pub struct Plan<'a> {
    budget: Budget,
    /// When the first try was asked for.
    begun: OnceLock<Instant>,
    state: Mutex<State<'a>>,
    /// A try is over.
    over: Condvar,
}

struct State<'a> {
    sweeps: Vec<Swept<'a>>,
    /// Those that have something left to try and of which no try is under way.
    waiting: BinaryHeap<Promise>,
    under_way: usize,
    known: Known,
}

/// One sweep.
struct Swept<'a> {
    scenario: &'a Scenario,
    /// The first step of the swept branch.
    step: usize,
    search: Option<Search>,
    sweep: Sweep,
    /// Of the last run what it takes to understand it.
    last: Option<Evidence>,
    elapsed: Duration,
    /// Whether its outcome has been told.
    told: bool,
}

#[derive(Default)]
struct Evidence {
    history: String,
    console: String,
    command_line: Vec<String>,
}

/// What a sweep can gain by its next try, or once could. Of equals the one that has been tried least
/// comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Promise {
    gain: Gain,
    runs: Reverse<u32>,
    sweep: Reverse<usize>,
}

/// A run that is to be made.
struct Try {
    sweep: usize,
    offset: u32,
}

impl<'a> Plan<'a> {
    /// For the scenarios that have a branch to be swept.
    pub fn new(scenarios: impl IntoIterator<Item = &'a Scenario>, budget: Budget) -> Self {
        let swept = |scenario: &'a Scenario| {
            let step = scenario.program.swept()?;
            Some(Swept {
                scenario,
                step,
                search: None,
                sweep: Sweep::default(),
                last: None,
                elapsed: Duration::ZERO,
                told: false,
            })
        };
        let sweeps: Vec<Swept<'a>> = scenarios.into_iter().filter_map(swept).collect();
        let known = Known::default();
        let waiting = sweeps.iter().enumerate().map(|(at, sweep)| sweep.promise(at, &known));
        let state = State { waiting: waiting.collect(), under_way: 0, known, sweeps };
        let (begun, state) = (OnceLock::new(), Mutex::new(state));
        Self { budget, begun, state, over: Condvar::new() }
    }

    /// Makes tries until there is none left, and tells the outcome of each sweep that is over.
    pub(crate) fn run(&self, worker: &mut Worker<'_>, mut tell: impl FnMut(Outcome)) {
        while let Some(Try { sweep, offset }) = self.next() {
            let (scenario, step) = self.of(sweep);
            let program = plain(&scenario.program, step, offset);
            let begun = Instant::now();
            let ran = worker.accounted(&program);
            if matches!(ran.verdict, Verdict::Held) {
                let told = self.note(sweep, offset, ran, begun.elapsed(), worker.virtual_time());
                told.into_iter().for_each(&mut tell);
            } else {
                let outcome = worker.confirm(scenario, &program, ran);
                tell(self.stop(sweep, outcome, begun.elapsed()));
            }
        }
    }

    /// Takes sweeps from the plan until none is left, and says that they came to nothing.
    pub(crate) fn give_up(
        &self,
        outcome: impl Fn(&Scenario) -> Outcome,
        mut tell: impl FnMut(Outcome),
    ) {
        while let Some(Try { sweep, .. }) = self.next() {
            let (scenario, _) = self.of(sweep);
            tell(self.stop(sweep, outcome(scenario), Duration::ZERO));
        }
    }

    /// The outcomes of the sweeps that the budget has ended.
    pub(crate) fn finish(self) -> Vec<Outcome> {
        let mut state = self.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.sweeps.iter_mut().filter(|sweep| !sweep.told).map(Swept::tell).collect()
    }

    fn of(&self, sweep: usize) -> (&'a Scenario, usize) {
        let state = self.locked();
        (state.sweeps[sweep].scenario, state.sweeps[sweep].step)
    }

    /// Who panicked with it has left it whole enough to be told.
    fn locked(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn is_over(&self) -> bool {
        let begun = self.begun.get_or_init(Instant::now);
        matches!(self.budget, Budget::Time(time) if begun.elapsed() >= time)
    }

    /// The next try. Where all that is left depends on one that is under way, waits for that.
    fn next(&self) -> Option<Try> {
        let mut state = self.locked();
        let over = self.is_over();
        loop {
            match state.pop() {
                Some(sweep) => {
                    let State { sweeps, known, under_way, .. } = &mut *state;
                    let offset = match &mut sweeps[sweep].search {
                        None => Some(BEHIND),
                        Some(_) if over => continue,
                        Some(search) => search.next(known),
                    };
                    if let Some(offset) = offset {
                        *under_way += 1;
                        return Some(Try { sweep, offset });
                    }
                }
                None if state.under_way == 0 => return None,
                None => {
                    state = self.over.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
            }
        }
    }

    /// Takes note of a run that held. Tells the sweep's outcome if it was the last one.
    fn note(
        &self,
        sweep: usize,
        offset: u32,
        ran: Ran,
        elapsed: Duration,
        virtual_time: bool,
    ) -> Option<Outcome> {
        let mut state = self.locked();
        let State { sweeps, known, waiting, under_way } = &mut *state;
        let of = &mut sweeps[sweep];
        let program = plain(&of.scenario.program, of.step, offset);
        let seen = Seen::of(&program, of.step, &ran.records);
        of.sweep.note(&program, of.step, &ran.records, &seen);
        match &mut of.search {
            Some(search) => {
                search.note(offset, &seen.at.unwrap_or_default(), known);
            }
            empty => {
                let search = new_search(&seen, virtual_time, self.budget);
                *empty = Some(match self.budget {
                    Budget::Runs(_) => search.coarse_first(),
                    Budget::Time(_) | Budget::Full => search,
                });
            }
        }
        let Ran { history, console, command_line, .. } = ran;
        of.last = Some(Evidence { history, console, command_line });
        of.elapsed += elapsed;
        *under_way -= 1;
        let promise = of.promise(sweep, known);
        of.sweep.complete = promise.gain == Gain::Nothing;
        let most = match self.budget {
            Budget::Runs(runs) => runs,
            Budget::Time(_) | Budget::Full => u32::MAX,
        };
        // Where time is not virtual the same offset is another run each time.
        let most = if virtual_time { most } else { most.max(REPEATS) };
        let told = if of.sweep.complete || of.sweep.runs >= most {
            Some(of.tell())
        } else {
            waiting.push(promise);
            None
        };
        self.over.notify_all();
        told
    }

    /// Ends a sweep with the outcome of one of its runs.
    fn stop(&self, sweep: usize, outcome: Outcome, elapsed: Duration) -> Outcome {
        let mut state = self.locked();
        let of = &mut state.sweeps[sweep];
        of.sweep.runs += 1;
        of.elapsed += elapsed;
        let Outcome { sweep: swept, elapsed, .. } = of.tell();
        state.under_way -= 1;
        self.over.notify_all();
        Outcome { sweep: swept, elapsed, ..outcome }
    }
}

impl State<'_> {
    /// The sweep that can gain most. What is promised grows only by a try of the sweep itself: so who
    /// still keeps the greatest promise is the one.
    fn pop(&mut self) -> Option<usize> {
        loop {
            let promise = self.waiting.pop()?;
            let Reverse(sweep) = promise.sweep;
            let now = self.sweeps[sweep].promise(sweep, &self.known);
            if now >= promise || self.waiting.peek().is_none_or(|next| now >= *next) {
                return Some(sweep);
            }
            self.waiting.push(now);
        }
    }
}

impl Swept<'_> {
    fn promise(&self, sweep: usize, known: &Known) -> Promise {
        let gain = self.search.as_ref().map_or(Gain::First, |search| search.gain(known));
        Promise { gain, runs: Reverse(self.sweep.runs), sweep: Reverse(sweep) }
    }

    /// Its outcome if it held.
    fn tell(&mut self) -> Outcome {
        self.told = true;
        let mut sweep = std::mem::take(&mut self.sweep);
        sweep.places = self.search.take().as_ref().and_then(Search::places);
        let Evidence { history, console, command_line } = self.last.take().unwrap_or_default();
        Outcome {
            name: self.scenario.name.clone(),
            rules: self.scenario.program.rules(),
            verdict: Verdict::Held,
            history,
            console,
            repeated: None,
            earlier: Vec::new(),
            reach: Reach::default(),
            sweep: Some(sweep),
            program: Some(self.scenario.program.clone()),
            command_line,
            elapsed: self.elapsed,
        }
    }
}

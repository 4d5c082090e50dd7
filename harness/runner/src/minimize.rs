//! A finding by a smaller program: candidates run side by side on freshly restored machines, and what
//! fails in the same way is taken. What has to run before it is made as little, and its programs as small.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use refan_program::{Program, Step, reduce};

use crate::Prepared;
use crate::earlier::Earlier;
use crate::fuzz::{moved, spread};
use crate::run::Worker;

/// How often a finding is run to learn how often it shows.
const SOUNDINGS: u32 = 20;

/// Where that is left to chance it is run until it has shown so often, and no more often than this.
const SHOWN: usize = 5;
const MOST_SOUNDINGS: u32 = 250;

/// Where a finding is left to chance, so many starts of its branches are tried so often each: some fail more
/// often than others.
const LIKELIER_STARTS: usize = 16;
const LIKELIER_RUNS: u32 = 15;

/// A candidate counts as one that does not fail when one that fails as often as the finding would
/// have shown by then with this probability.
const CONFIDENCE: f64 = 0.95;

/// More runs of one candidate than this are not made: enough for what shows one time in 50.
const MOST_TRIES: u32 = 150;

/// How many other starts of its branches a candidate with fewer steps is tried with, on a machine on which each
/// fails always or never: what was left out has moved the instant.
const STARTS: usize = 24;

/// How often something shows: so many of so many runs.
pub type Rate = (u32, u32);

/// A finding that is made smaller.
pub struct Minimizer<'a> {
    workers: Vec<Worker<'a>>,
    title: String,
    earlier: Vec<Earlier>,
    tries: u32,
    /// Whether it fails each time: then other starts of its branches are tried, too.
    always: bool,
    /// Of programs with fewer steps than this one.
    shorter_than: usize,
    runs: u32,
}

/// A program behind what runs before it.
#[derive(Clone, Copy)]
struct Case<'c> {
    earlier: &'c [Earlier],
    program: &'c Program,
}

impl<'a> Minimizer<'a> {
    /// For findings of this title on such machines, behind what has to run before them; `reference` is a
    /// kernel that classic programs are held against.
    ///
    /// # Errors
    /// No machine starts.
    pub fn start(
        prepared: &'a Prepared,
        reference: Option<&'a Prepared>,
        title: &str,
        earlier: &[Earlier],
    ) -> Result<Self> {
        let machines = prepared.machines(usize::MAX)?;
        let workers = (0..machines).map(|_| Worker::start(prepared, reference));
        let workers = workers.collect::<Result<_>>()?;
        let (title, earlier) = (title.to_owned(), earlier.to_vec());
        Ok(Self {
            workers,
            title,
            earlier,
            tries: 1,
            always: false,
            shorter_than: usize::MAX,
            runs: 0,
        })
    }

    /// How many programs have run.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// What has to run before the program.
    pub fn earlier(&self) -> &[Earlier] {
        &self.earlier
    }

    /// How often a program fails in the way that is sought, of so many runs.
    pub fn rate(&mut self, program: &Program, runs: u32) -> Rate {
        let found = AtomicUsize::new(0);
        let earlier = self.earlier.clone();
        let case = Case { earlier: &earlier, program };
        self.side_by_side(runs as usize, |worker, title, _| {
            found.fetch_add(usize::from(case.fails(worker, title)), Ordering::Relaxed);
            1
        });
        (found.into_inner() as u32, runs)
    }

    /// How often a program fails, of as many runs as it takes to say so.
    pub fn sound(&mut self, program: &Program) -> Rate {
        let mut rate = self.rate(program, SOUNDINGS);
        while !self.is_exact() && (rate.0 as usize) < SHOWN && rate.1 < MOST_SOUNDINGS {
            let (found, runs) = self.rate(program, SOUNDINGS);
            rate = (rate.0 + found, rate.1 + runs);
        }
        rate
    }

    /// Whether time is that of the guest's instructions, so that nothing is left to chance.
    fn is_exact(&self) -> bool {
        self.workers.iter().all(Worker::virtual_time)
    }

    /// The program with that start of a branch with which it fails most often, if that is more often than it
    /// does as it is.
    fn likelier(&mut self, program: &Program, rate: Rate) -> (Program, Rate) {
        let mut likeliest = (program.clone(), rate);
        let starts: Vec<Program> = spread(program).collect();
        for start in starts.iter().step_by(starts.len().div_ceil(LIKELIER_STARTS).max(1)) {
            let rate = self.rate(start, LIKELIER_RUNS);
            if share(rate) > share(likeliest.1) {
                likeliest = (start.clone(), rate);
            }
        }
        // The likeliest of some was also the luckiest.
        let (program, rate) = likeliest;
        let rate = if rate.1 == LIKELIER_RUNS { self.sound(&program) } else { rate };
        (program, rate)
    }

    /// Makes a program that fails as often as `rate` says as small as can be, and what runs before it, too;
    /// `better` gets each that is smaller than those before.
    ///
    /// # Errors
    /// The finding does not show, or those of `better`.
    pub fn reduce(
        &mut self,
        program: &Program,
        rate: Rate,
        mut better: impl FnMut(&Program, u32) -> Result<()>,
    ) -> Result<Program> {
        if rate.0 == 0 {
            bail!("it does not show in {} runs, so there is nothing to go by", rate.1);
        }
        self.always = rate.0 == rate.1;
        let (program, rate) = if self.always || self.is_exact() {
            (program.clone(), rate)
        } else {
            self.likelier(program, rate)
        };
        self.tries = tries(rate);
        let program = self.fewer_earlier(&program);
        self.shorter_than = program.steps.len();
        let least = reduce::reduce(&program, |candidates| {
            let earlier = self.earlier.clone();
            let cases: Vec<Case<'_>> =
                candidates.iter().map(|program| Case { earlier: &earlier, program }).collect();
            let found = self.first_failing(&cases).map(|(_, program)| program);
            if let Some(found) = &found {
                self.shorter_than = found.steps.len();
                better(found, self.runs)?;
            }
            anyhow::Ok(found)
        })?;
        self.smaller_earlier(least)
    }

    /// Leaves out what need not run before; returns the program as it fails then.
    fn fewer_earlier(&mut self, program: &Program) -> Program {
        let mut program = program.clone();
        let mut most = self.earlier.len();
        while most > 0 {
            let shorter = without_runs_of(&self.earlier, most);
            match self.first_failing_behind(&shorter, &program) {
                Some((at, found)) => {
                    self.earlier = shorter[at].clone();
                    program = found;
                    most = most.min(self.earlier.len());
                }
                None => most /= 2,
            }
        }
        program
    }

    /// Makes the programs small that run before; returns the program as it fails then.
    fn smaller_earlier(&mut self, mut program: Program) -> Result<Program> {
        self.shorter_than = usize::MAX;
        for at in 0..self.earlier.len() {
            let Earlier::Program(first) = self.earlier[at].clone() else { continue };
            let least = reduce::reduce(&first, |candidates| {
                let with = |it: &Program| {
                    let mut earlier = self.earlier.clone();
                    earlier[at] = Earlier::Program(it.clone());
                    earlier
                };
                let lists: Vec<_> = candidates.iter().map(with).collect();
                let found = self.first_failing_behind(&lists, &program);
                anyhow::Ok(found.map(|(which, found)| {
                    program = found;
                    candidates[which].clone()
                }))
            })?;
            self.earlier[at] = Earlier::Program(least);
        }
        Ok(program)
    }

    /// The first of these lists behind which a program fails.
    fn first_failing_behind(
        &mut self,
        lists: &[Vec<Earlier>],
        program: &Program,
    ) -> Option<(usize, Program)> {
        let cases: Vec<Case<'_>> = lists.iter().map(|earlier| Case { earlier, program }).collect();
        self.first_failing(&cases)
    }

    /// The first of these that fails, and its program, or what that fails as with its starts moved.
    fn first_failing(&mut self, cases: &[Case<'_>]) -> Option<(usize, Program)> {
        let least = AtomicUsize::new(usize::MAX);
        let found = Mutex::new(None);
        let (tries, always, shorter_than) = (self.tries, self.always, self.shorter_than);
        self.side_by_side(cases.len(), |worker, title, at| {
            if at > least.load(Ordering::Acquire) {
                return 0;
            }
            let Case { earlier, program } = cases[at];
            let can_move = always && worker.virtual_time() && program.steps.len() < shorter_than;
            let can_move = can_move && has_race(program);
            let starts = moved(program).take(if can_move { STARTS } else { 0 });
            let again = std::iter::repeat_n(program.clone(), tries as usize);
            let mut runs = 0;
            for program in again.chain(starts) {
                runs += 1;
                if (Case { earlier, program: &program }).fails(worker, title) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    if least.fetch_min(at, Ordering::AcqRel) > at {
                        *found = Some((at, program));
                    }
                    break;
                }
            }
            runs
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does so many jobs, each of which says how many runs it took.
    fn side_by_side(
        &mut self,
        jobs: usize,
        job: impl Fn(&mut Worker<'a>, &str, usize) -> u32 + Sync,
    ) {
        let (next, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let title = self.title.as_str();
        std::thread::scope(|scope| {
            for worker in &mut self.workers {
                let (next, runs, job) = (&next, &runs, &job);
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= jobs {
                            return;
                        }
                        runs.fetch_add(job(worker, title, at) as usize, Ordering::Relaxed);
                    }
                });
            }
        });
        self.runs += runs.into_inner() as u32;
    }
}

impl Case<'_> {
    fn fails(&self, worker: &mut Worker<'_>, title: &str) -> bool {
        let run = worker.run_seen(self.earlier, self.program);
        run.verdict.title().as_deref() == Some(title)
    }
}

/// Whether a branch of a block has a start that others of that block can be met at.
fn has_race(program: &Program) -> bool {
    let meets = |(at, step): (usize, &Step)| {
        let mut others = program.steps[program.block_of(at)].iter();
        step.start.is_some() && others.any(|other| other.caller() != step.caller())
    };
    program.steps.iter().enumerate().any(meets)
}

/// A list without each run of so many neighbours, the first ones first: what ran last is needed soonest.
fn without_runs_of<T: Clone>(list: &[T], most: usize) -> Vec<Vec<T>> {
    let without = |from: usize| {
        let behind = list.iter().skip(from + most);
        list[..from].iter().chain(behind).cloned().collect()
    };
    (0..list.len()).step_by(most.max(1)).map(without).collect()
}

fn share((found, runs): Rate) -> f64 {
    f64::from(found) / f64::from(runs.max(1))
}

/// How often a candidate is run before it counts as one that does not fail.
fn tries(rate: Rate) -> u32 {
    if rate.0 >= rate.1 {
        return 1;
    }
    let tries = (1.0 - CONFIDENCE).ln() / (1.0 - share(rate)).ln();
    (tries.ceil() as u32).clamp(1, MOST_TRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_shortened_piece_by_piece() {
        let list = [1, 2, 3, 4, 5];
        assert_eq!(without_runs_of(&list, 5), [Vec::<i32>::new()]);
        assert_eq!(without_runs_of(&list, 2), [vec![3, 4, 5], vec![1, 2, 5], vec![1, 2, 3, 4]]);
        assert_eq!(without_runs_of(&list, 1).len(), 5);
        assert!(without_runs_of::<i32>(&[], 1).is_empty());
    }

    #[test]
    fn a_branch_alone_meets_nobody() {
        let parsed = |text: &str| refan_program::parse(text).expect("a program");
        let alone = parsed("par {\n a = spawn open(f0, O_RDONLY) @ 5ns\n}\nkill(a)\n");
        assert!(!has_race(&alone));
        let beside = parsed("par {\n a = spawn open(f0, O_RDONLY) @ 5ns\n poll(-1)\n}\n");
        assert!(has_race(&beside));
        let plain = parsed("par {\n a = spawn open(f0, O_RDONLY)\n poll(-1)\n}\n");
        assert!(!has_race(&plain));
    }

    #[test]
    fn the_rarer_a_finding_the_more_often_a_candidate_is_run() {
        assert_eq!(tries((20, 20)), 1);
        assert_eq!(tries((10, 20)), 5);
        assert_eq!(tries((1, 20)), 59);
        assert_eq!(tries((5, 250)), 149);
        assert_eq!(tries((1, 1000)), MOST_TRIES);
    }
}

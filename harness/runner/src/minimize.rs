//! A finding by a smaller program: candidates run side by side on freshly restored machines, and what
//! fails in the same way is taken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use refan_program::{Program, reduce};

use crate::fuzz::moved;
use crate::run::Worker;
use crate::{Prepared, pool};

/// How often a finding is run to learn how often it shows.
const SOUNDINGS: u32 = 20;

/// A candidate counts as one that does not fail when one that fails as often as the finding would
/// have shown by then with this probability.
const CONFIDENCE: f64 = 0.95;

/// More runs of one candidate than this are not made.
const MOST_TRIES: u32 = 100;

/// How many other starts of its branches a candidate is tried with, on a machine on which each fails
/// always or never: what was left out has moved the instant.
const STARTS: usize = 24;

/// How often something shows: so many of so many runs.
pub type Rate = (u32, u32);

/// A finding that is made smaller.
pub struct Minimizer<'a> {
    workers: Vec<Worker<'a>>,
    title: String,
    tries: u32,
    runs: u32,
}

impl<'a> Minimizer<'a> {
    /// For findings of this title on such machines; `reference` is a kernel that classic programs are
    /// held against.
    ///
    /// # Errors
    /// No machine starts.
    pub fn start(
        prepared: &'a Prepared,
        reference: Option<&'a Prepared>,
        title: &str,
    ) -> Result<Self> {
        let workers = (0..pool::size(usize::MAX)).map(|_| Worker::start(prepared, reference));
        let workers = workers.collect::<Result<_>>()?;
        Ok(Self { workers, title: title.to_owned(), tries: 1, runs: 0 })
    }

    /// How many programs have run.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// How often a program fails in the way that is sought.
    pub fn rate(&mut self, program: &Program) -> Rate {
        let found = AtomicUsize::new(0);
        self.side_by_side(SOUNDINGS as usize, |worker, title, _| {
            let shows = fails(worker, program, title);
            found.fetch_add(usize::from(shows), Ordering::Relaxed);
            1
        });
        (found.into_inner() as u32, SOUNDINGS)
    }

    /// Makes a program that fails as often as `rate` says as small as can be; `better` gets each that
    /// is smaller than those before.
    ///
    /// # Errors
    /// The finding does not show, or those of `better`.
    pub fn reduce(
        &mut self,
        program: &Program,
        rate: Rate,
        mut better: impl FnMut(&Program, u32) -> Result<()>,
    ) -> Result<Program> {
        let Some(tries) = tries(rate) else {
            bail!("it does not show in {} runs, so there is nothing to go by", rate.1);
        };
        self.tries = tries;
        let always = rate.0 == rate.1;
        reduce::reduce(program, |candidates| {
            let found = self.first_failing(candidates, always);
            if let Some(found) = &found {
                better(found, self.runs)?;
            }
            Ok(found)
        })
    }

    /// The first of these that fails, or what it fails as with its starts moved.
    fn first_failing(&mut self, candidates: &[Program], always: bool) -> Option<Program> {
        let least = AtomicUsize::new(usize::MAX);
        let found = Mutex::new(None);
        let tries = self.tries;
        self.side_by_side(candidates.len(), |worker, title, at| {
            if at > least.load(Ordering::Acquire) {
                return 0;
            }
            let candidate = &candidates[at];
            let can_move = always && candidate.is_timed() && worker.virtual_time();
            let starts = moved(candidate).take(if can_move { STARTS } else { 0 });
            let again = std::iter::repeat_n(candidate.clone(), tries as usize);
            let mut runs = 0;
            for program in again.chain(starts) {
                runs += 1;
                if fails(worker, &program, title) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    if least.fetch_min(at, Ordering::AcqRel) > at {
                        *found = Some(program);
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

fn fails(worker: &mut Worker<'_>, program: &Program, title: &str) -> bool {
    worker.run_afresh(program).title().as_deref() == Some(title)
}

/// How often a candidate is run before it counts as one that does not fail; None where the finding
/// does not show at all.
fn tries((found, runs): Rate) -> Option<u32> {
    if found == 0 {
        return None;
    }
    if found >= runs {
        return Some(1);
    }
    let misses = 1.0 - f64::from(found) / f64::from(runs);
    let tries = (1.0 - CONFIDENCE).ln() / misses.ln();
    Some((tries.ceil() as u32).clamp(1, MOST_TRIES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarer_a_finding_the_more_often_a_candidate_is_run() {
        assert_eq!(tries((20, 20)), Some(1));
        assert_eq!(tries((10, 20)), Some(5));
        assert_eq!(tries((1, 20)), Some(59));
        assert_eq!(tries((1, 1000)), Some(MOST_TRIES));
        assert_eq!(tries((0, 20)), None);
    }
}

//! A corpus by fewer entries of fewer steps, which cover the same together.
//!
//! The plainest entries come first; one that covers nothing that those before it do not is left out. Of each
//! that stays, steps and tasks are left out for as long as it covers what no other entry does. How often an
//! edge is passed does not count.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use anyhow::{Context, Result};
use refan_program::{Program, reduce};
use refan_wire::COUNTERS;

use super::as_searched;
use crate::guest::{Capabilities, Guest};
use crate::reach::Reach;
use crate::run;
use crate::verdict::Verdict;
use crate::{Prepared, judge};

/// A machine runs so many programs.
const MOST_PROGRAMS: u32 = 200;

/// What a program covers: edges of the kernel, and behind them what the model saw.
type Features = BTreeSet<u64>;

/// What is to become of an entry, by its place among those that were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The others cover what it does.
    LeftOut(usize),
    /// This covers what the entry is needed for.
    Smaller(usize, Program),
}

/// How much there is to do, and how much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Entries that hold where they were run; none if that was not done in time.
    pub entries: usize,
    /// Those of them that stay.
    pub stay: usize,
    /// Those of them that were made as small as they get.
    pub done: usize,
    /// What all of them cover.
    pub features: usize,
}

/// Says what the entries of a corpus can become. They run on machines whose code is watched
/// ([`Prepared::watching`]); entries that do not hold there stay as they are. At the time `until` it ends with
/// what it has.
///
/// # Errors
/// A machine does not start.
pub fn minimize(
    prepared: &Prepared,
    entries: &[Program],
    until: Option<Instant>,
    mut told: impl FnMut(Option<Change>, Extent) -> Result<()>,
) -> Result<Extent> {
    let given_up = AtomicBool::new(false);
    let is_over =
        || given_up.load(Ordering::Relaxed) || until.is_some_and(|until| Instant::now() >= until);
    let mut extent = Extent::default();
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| (entries[*at].steps.len(), entries[*at].to_string().len()));

    let covered = Mutex::new(vec![None; entries.len()]);
    side_by_side(prepared, entries.len(), |coverer, at| {
        if !is_over() {
            let features = coverer.twice(&entries[at])?;
            covered.lock().unwrap_or_else(PoisonError::into_inner)[at] = features;
        }
        Ok(())
    })?;
    let covered = covered.into_inner().unwrap_or_else(PoisonError::into_inner);
    if is_over() {
        return Ok(extent);
    }
    let (ledger, left_out) = Ledger::new(covered, &order);
    extent.stay = ledger.of.iter().flatten().count();
    extent.entries = extent.stay + left_out.len();
    extent.features = ledger.count.len();
    for at in &left_out {
        told(Some(Change::LeftOut(*at)), extent)?;
    }

    // The longest first: there is the most to be had.
    let stay: Vec<usize> = order.into_iter().rev().filter(|at| ledger.of[*at].is_some()).collect();
    let ledger = Mutex::new(ledger);
    let (sender, changes) = mpsc::channel();
    std::thread::scope(|scope| {
        let (stay, ledger, is_over) = (&stay, &ledger, &is_over);
        let working = scope.spawn(move || {
            let sender = sender;
            side_by_side(prepared, stay.len(), |coverer, number| {
                let at = stay[number];
                if is_over() {
                    return Ok(());
                }
                let lock = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
                let change = if lock().replace(at, &Features::new()) {
                    Some(Change::LeftOut(at))
                } else {
                    let alone = lock().alone(at);
                    let smaller = coverer.reduce(&entries[at], &alone, is_over)?;
                    let smaller = smaller.filter(|(_, features)| lock().replace(at, features));
                    smaller.map(|(program, _)| Change::Smaller(at, program))
                };
                // Where nobody listens any more, nobody wants to know.
                let _ = sender.send(change);
                Ok(())
            })
        });
        let told = changes.into_iter().try_for_each(|change| {
            match change {
                Some(Change::LeftOut(_)) => extent.stay -= 1,
                _ => extent.done += 1,
            }
            told(change, extent)
        });
        given_up.store(told.is_err(), Ordering::Relaxed);
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(told)
    })?;
    Ok(extent)
}

/// Does so many jobs, each on a machine that has others to do as well.
fn side_by_side(
    prepared: &Prepared,
    jobs: usize,
    job: impl Fn(&mut Coverer<'_>, usize) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let machines = prepared.machines(jobs)?;
    std::thread::scope(|scope| {
        let work = || {
            let mut coverer = Coverer::start(prepared)?;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= jobs {
                    return Ok(());
                }
                job(&mut coverer, at)?;
            }
        };
        let workers: Vec<_> = (0..machines).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().try_for_each(join)
    })
}

/// What is covered by which entries.
#[derive(Debug)]
struct Ledger {
    /// By entry; none for one that is left out or was not judged.
    of: Vec<Option<Features>>,
    /// How many entries cover each.
    count: HashMap<u64, u32>,
}

impl Ledger {
    /// Of what entries cover, and of those that have to be there the places of those that have not, in this
    /// order.
    fn new(covered: Vec<Option<Features>>, order: &[usize]) -> (Self, Vec<usize>) {
        let mut ledger = Self { of: vec![None; covered.len()], count: HashMap::new() };
        let mut left_out = Vec::new();
        for at in order {
            let Some(features) = &covered[*at] else { continue };
            if features.iter().all(|one| ledger.count.contains_key(one)) {
                left_out.push(*at);
                continue;
            }
            features.iter().for_each(|one| *ledger.count.entry(*one).or_default() += 1);
            ledger.of[*at] = Some(features.clone());
        }
        (ledger, left_out)
    }

    /// What no entry covers but this one.
    fn alone(&self, at: usize) -> Features {
        let features = self.of[at].iter().flatten().copied();
        features.filter(|one| self.count.get(one) == Some(&1)).collect()
    }

    /// Puts an entry that covers this in the place of another one; false, and nothing has changed, if something
    /// would not be covered any more.
    fn replace(&mut self, at: usize, features: &Features) -> bool {
        if !self.alone(at).is_subset(features) {
            return false;
        }
        for gone in self.of[at].take().into_iter().flatten() {
            if let Some(count) = self.count.get_mut(&gone) {
                *count -= 1;
            }
        }
        features.iter().for_each(|one| *self.count.entry(*one).or_default() += 1);
        self.of[at] = Some(features.clone());
        true
    }
}

/// A machine that tells what programs cover.
struct Coverer<'a> {
    prepared: &'a Prepared,
    capabilities: Capabilities,
    guest: Option<Guest>,
    edges: Box<[u8; COUNTERS]>,
}

impl<'a> Coverer<'a> {
    fn start(prepared: &'a Prepared) -> Result<Self> {
        let mut guest = Guest::start(prepared)?;
        let capabilities = guest.probe(prepared)?;
        Ok(Self { prepared, capabilities, guest: Some(guest), edges: Box::new([0; COUNTERS]) })
    }

    /// What a program covers; None where it cannot be judged here, or does not hold.
    fn once(&mut self, program: &Program) -> Result<Option<Features>> {
        let program = &as_searched(program.clone());
        if self.capabilities.lacking(program).is_some() {
            return Ok(None);
        }
        if self.guest.as_ref().is_none_or(|guest| guest.programs() >= MOST_PROGRAMS) {
            self.guest = None;
            let guest = Guest::start(self.prepared);
            self.guest = Some(guest.context("no machine can be started any more")?);
        }
        let Some(guest) = &mut self.guest else { return Ok(None) };
        let run = guest.run(program)?;
        guest.take_counters(&mut self.edges);
        let records = run.records.clone().unwrap_or_default();
        let whole = run.failure.is_none() && judge::is_whole(program, &records);
        let restartable = self.capabilities.restartable;
        let (verdict, traversed) = run::verdict(program, run, self.prepared, restartable);
        if !whole || !matches!(verdict, Verdict::Held) {
            self.guest = None;
            return Ok(None);
        }
        let passed = (0u64..).zip(self.edges.iter()).filter(|(_, count)| **count > 0);
        let edges = passed.map(|(edge, _)| edge);
        let seen = Reach::of(program, &records, traversed).features;
        let seen = seen.into_iter().map(|feature| COUNTERS as u64 + u64::from(feature));
        Ok(Some(edges.chain(seen).collect()))
    }

    /// What it covers both of two times, so that what came by chance is not counted on.
    fn twice(&mut self, program: &Program) -> Result<Option<Features>> {
        let (Some(one), Some(other)) = (self.once(program)?, self.once(program)?) else {
            return Ok(None);
        };
        Ok(Some(one.intersection(&other).copied().collect()))
    }

    /// A shorter program that covers all of this, with what it covers; None if there is none. What is only
    /// plainer is not tried: a corpus has hundreds of entries, and there are hundreds of ways for each.
    fn reduce(
        &mut self,
        program: &Program,
        needed: &Features,
        is_over: impl Fn() -> bool,
    ) -> Result<Option<(Program, Features)>> {
        let mut covered = None;
        let mut length = program.steps.len();
        let least = reduce::reduce(program, |candidates| {
            for candidate in candidates.iter().filter(|it| it.steps.len() < length) {
                if is_over() {
                    break;
                }
                let covers = |features: &Features| needed.is_subset(features);
                if self.once(candidate)?.as_ref().is_some_and(covers)
                    && let Some(features) = self.twice(candidate)?.filter(covers)
                {
                    covered = Some(features);
                    length = candidate.steps.len();
                    return anyhow::Ok(Some(candidate.clone()));
                }
            }
            Ok(None)
        })?;
        Ok(covered.map(|features| (least, features)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features<const N: usize>(of: [u64; N]) -> Option<Features> {
        Some(of.into())
    }

    #[test]
    fn what_others_cover_is_left_out() {
        let covered =
            vec![features([1, 2, 3]), features([1]), None, features([2]), features([1, 2])];
        let (ledger, left_out) = Ledger::new(covered, &[1, 3, 4, 2, 0]);
        assert_eq!(left_out, [4]);
        assert_eq!(ledger.alone(0), [3].into());
        assert_eq!(ledger.alone(1), [].into());
        assert!(ledger.of[2].is_none(), "it was not judged");
    }

    #[test]
    fn nothing_gets_lost() {
        let covered = vec![features([1, 2]), features([2, 3])];
        let (mut ledger, left_out) = Ledger::new(covered, &[0, 1]);
        assert!(left_out.is_empty());
        assert!(!ledger.replace(0, &[2].into()), "only this one covers 1");
        assert!(ledger.replace(0, &[1, 4].into()));
        // What two have been made small for at the same time, neither may lose any more.
        assert!(!ledger.replace(1, &[3].into()));
        assert_eq!(ledger.alone(1), [2, 3].into());
        assert_eq!(ledger.alone(0), [1, 4].into());
    }
}

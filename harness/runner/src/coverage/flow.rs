//! What is run between one place and the next.
//!
//! The compiler puts a call that tells the place in front of each basic block (`-fsanitize-coverage=trace-pc`),
//! before it lowers and moves blocks: behind such a call come instructions that all run, then branches that
//! it made later, or whose way holds no block of its own, as that to a `return -EINVAL` which only sets a
//! register. What lies behind a branch has run for certain only where both ways lead through it, or where
//! the place is known that was passed next.

use std::collections::{BTreeMap, BTreeSet};

/// What comes after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next one.
    Next(u64),
    /// Another one.
    Jump(u64),
    /// Either.
    Branch(u64, u64),
    /// A place is told, whose address is that of the instruction behind it.
    Place(u64),
    /// Something that the code does not tell.
    Unknown,
}

/// The way through code, by the addresses of instructions.
pub type Flow = BTreeMap<u64, After>;

/// When an instruction has run for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ran {
    /// When this place was passed.
    Behind(u64),
    /// When the second place was passed directly behind the first.
    Between(u64, u64),
}

/// Of the instructions that can run from `place` to the next one, when each has. The calls that tell the
/// next places are not among them.
pub fn behind(flow: &Flow, place: u64) -> Vec<(u64, Ran)> {
    let run = reached(flow, place, None);
    let mut known = Vec::new();
    for at in run.instructions.iter().copied() {
        let without = reached(flow, place, Some(at));
        if without.ends.is_empty() {
            known.push((at, Ran::Behind(place)));
            continue;
        }
        let next = run.places().filter(|next| !without.ends.contains(&End::Place(*next)));
        known.extend(next.map(|next| (at, Ran::Between(place, next))));
    }
    known
}

/// The first place of a function that begins at an address, and what has run when that was passed. None where it
/// is not always the same one.
pub fn entry(flow: &Flow, start: u64) -> Option<(u64, BTreeSet<u64>)> {
    let run = reached(flow, start, None);
    let first = run.places().next()?;
    (run.ends.len() == 1).then_some((first, run.instructions))
}

/// Where a way ends that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Place(u64),
    /// The instruction behind which nothing is known.
    Unknown(u64),
}

#[derive(Default)]
struct Run {
    instructions: BTreeSet<u64>,
    ends: BTreeSet<End>,
}

impl Run {
    fn places(&self) -> impl Iterator<Item = u64> + '_ {
        self.ends.iter().filter_map(|end| match end {
            End::Place(place) => Some(*place),
            End::Unknown(_) => None,
        })
    }
}

/// What can run from an address to the next places, where one instruction cannot be passed.
fn reached(flow: &Flow, from: u64, barred: Option<u64>) -> Run {
    let mut run = Run::default();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if Some(at) == barred || run.instructions.contains(&at) {
            continue;
        }
        let after = flow.get(&at).copied().unwrap_or(After::Unknown);
        if let After::Place(place) = after {
            run.ends.insert(End::Place(place));
            continue;
        }
        run.instructions.insert(at);
        match after {
            After::Next(next) | After::Jump(next) => open.push(next),
            After::Branch(one, other) => open.extend([one, other]),
            After::Place(_) | After::Unknown => drop(run.ends.insert(End::Unknown(at))),
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(flow: &[(u64, After)], place: u64) -> BTreeMap<u64, Vec<Ran>> {
        let mut known = BTreeMap::<u64, Vec<Ran>>::new();
        for (at, ran) in behind(&flow.iter().copied().collect(), place) {
            known.entry(at).or_default().push(ran);
        }
        known
    }

    #[test]
    fn what_follows_a_place_has_run_up_to_a_branch() {
        use After::*;
        // 1: test; 2: to 10 or 3; 3: place 4; 10: set -EINVAL; 11: place 12.
        let flow =
            [(1, Next(2)), (2, Branch(10, 3)), (3, Place(4)), (10, Jump(11)), (11, Place(12))];
        let all = known(&flow, 1);
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [1, 2, 10]);
        assert_eq!((&all[&1][..], &all[&2][..]), (&[Ran::Behind(1)][..], &[Ran::Behind(1)][..]));
        assert_eq!(all[&10], [Ran::Between(1, 12)]);
    }

    #[test]
    fn a_check_that_comes_back_hides_nothing() {
        use After::*;
        // 1: may the access at 3 be made? 2: what reports that it may not, which comes back.
        let flow = [(1, Branch(2, 3)), (2, Jump(3)), (3, Unknown)];
        let all = known(&flow, 1);
        assert_eq!(all[&3], [Ran::Behind(1)]);
        assert!(!all.contains_key(&2), "{all:?}");
    }

    #[test]
    fn where_two_ways_lead_to_the_same_place_neither_is_told() {
        use After::*;
        let flow = [(1, Branch(2, 3)), (2, Jump(4)), (3, Next(4)), (4, Place(5))];
        let all = known(&flow, 1);
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_function_has_one_first_place() {
        use After::*;
        let straight = [(1, Next(2)), (2, Place(3))].into_iter().collect();
        assert_eq!(entry(&straight, 1), Some((3, BTreeSet::from([1]))));
        let forked = [(1, Branch(2, 4)), (2, Place(3)), (4, Place(5))].into_iter().collect();
        assert_eq!(entry(&forked, 1), None);
    }

    #[test]
    fn a_loop_without_a_place_ends() {
        use After::*;
        let flow = [(1, Next(2)), (2, Branch(1, 3)), (3, Unknown)];
        let all = known(&flow, 1);
        assert_eq!(all.values().filter(|ran| ran[..] == [Ran::Behind(1)]).count(), 3);
        assert_eq!(known(&[(1, Jump(1))], 1)[&1], [Ran::Behind(1)]);
    }
}

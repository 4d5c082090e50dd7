//! Which offset to try next.

use std::collections::{BTreeMap, HashSet};

/// The step of timers on the deterministic machine, and the time that an instruction takes there, in
/// nanoseconds: between two offsets so close there is no other place.
pub const STEP: u32 = 16;

/// So many offsets stand in for the places of a base that is not watched.
const GRID: u32 = 64;

/// A search over the offsets from 0 on.
#[derive(Debug)]
pub struct Search {
    /// Offsets to be tried first, from the last on.
    seeds: Vec<u32>,
    bisection: Option<Bisection>,
}

/// Where the base was when the swept branch began, as far as it was watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// Before its first call.
    #[default]
    Begin,
    /// It was preempted when it had passed these places and those of the preemption itself.
    Place(Vec<u32>),
    /// Behind its last call, or asleep in it, having passed these places.
    End(Vec<u32>),
}

/// What is known of a base that is watched. A *place* is an address; the base can pass it more than
/// once.
#[derive(Debug)]
struct Bisection {
    /// The places that it passes when nobody preempts it.
    path: Vec<u32>,
    /// How many of them it had passed at each offset that was tried.
    tried: BTreeMap<u32, usize>,
    /// Those at which it was preempted.
    hit: HashSet<u32>,
}

/// How many of a base's places were hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Those at which it was preempted.
    pub hit: HashSet<u32>,
    /// Those of which trying the offsets around them has shown that it cannot be: it runs with
    /// preemption off.
    pub out_of_reach: HashSet<u32>,
    /// All that it passes.
    pub all: HashSet<u32>,
}

impl Search {
    /// Over a fixed grid up to `end`, the coarsest offsets first.
    pub fn grid(end: u32, points: u32) -> Self {
        let bits = points.next_power_of_two().trailing_zeros();
        let order =
            (0..1 << bits).map(|i: u32| i.reverse_bits().checked_shr(32 - bits).unwrap_or(0));
        let offset = |i| align((u64::from(end) * u64::from(i) / (1 << bits)) as u32);
        let mut seeds: Vec<u32> = order.map(offset).collect();
        seeds.truncate(points as usize);
        seeds.reverse();
        Self { seeds, bisection: None }
    }

    /// Over a base of which nothing is seen.
    pub fn blind(end: u32) -> Self {
        Self::grid(end, GRID)
    }

    /// Over a base that passes `path` and has done so at `end`. `unseen` are offsets at which it does
    /// something that is not seen.
    pub fn watched(path: Vec<u32>, end: u32, mut unseen: Vec<u32>) -> Self {
        unseen.push(0);
        let tried = BTreeMap::from([(end, path.len())]);
        Self { seeds: unseen, bisection: Some(Bisection { path, tried, hit: HashSet::new() }) }
    }

    /// The next offset, rather among places that are not `known` than others; none when there is no
    /// other place to be hit.
    pub fn next(&mut self, known: &HashSet<u32>) -> Option<u32> {
        self.seeds.pop().or_else(|| self.bisection.as_ref()?.next(known))
    }

    /// Takes note of where the base was at an offset, and returns the place that was hit.
    pub fn note(&mut self, offset: u32, at: &At) -> Option<u32> {
        let bisection = self.bisection.as_mut()?;
        let passed = match at {
            At::Begin => 0,
            At::Place(places) => bisection.in_common(places),
            At::End(_) => bisection.path.len(),
        };
        bisection.tried.insert(offset, passed);
        let preempted = matches!(at, At::Place(_)).then_some(passed)?;
        let place = *bisection.path.get(preempted.checked_sub(1)?)?;
        bisection.hit.insert(place);
        Some(place)
    }

    /// How far it has got, if the base is watched.
    pub fn places(&self) -> Option<Places> {
        self.bisection.as_ref().map(Bisection::places)
    }
}

impl Bisection {
    /// How many places the base has passed as it does when nobody preempts it. What differs is where
    /// the preemption begins: up to there a machine that starts from the same state does the same.
    fn in_common(&self, places: &[u32]) -> usize {
        self.path.iter().zip(places).take_while(|(own, place)| own == place).count()
    }

    /// Halves the interval in which most places are new, to all sweeps if there are such.
    fn next(&self, known: &HashSet<u32>) -> Option<u32> {
        let new = |left: &HashSet<u32>| (left.difference(known).count(), left.len());
        let (lo, hi, _) = self.open().max_by_key(|(.., left)| new(left))?;
        Some(align(lo + (hi - lo) / 2).max(lo + STEP))
    }

    /// Each interval that can be halved and has places that have not been hit, with these.
    fn open(&self) -> impl Iterator<Item = (u32, u32, HashSet<u32>)> {
        self.tried.iter().zip(self.tried.iter().skip(1)).filter_map(|((lo, from), (hi, to))| {
            // At an offset between, the last place passed is one of these.
            let between = self.path.get(*from..to.saturating_sub(1)).unwrap_or_default();
            if align(hi - lo) <= STEP {
                return None;
            }
            let left: HashSet<u32> =
                between.iter().filter(|place| !self.hit.contains(place)).copied().collect();
            (!left.is_empty()).then_some((*lo, *hi, left))
        })
    }

    fn places(&self) -> Places {
        let (hit, all) = (self.hit.clone(), self.path.iter().copied().collect::<HashSet<u32>>());
        let within_reach: HashSet<u32> = self.open().flat_map(|(.., left)| left).collect();
        let out_of_reach = all.difference(&hit).filter(|place| !within_reach.contains(place));
        Places { out_of_reach: out_of_reach.copied().collect(), hit, all }
    }
}

fn align(offset: u32) -> u32 {
    offset / STEP * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the base is in user mode.
    const LEAD: u32 = 1024;

    /// What a preemption passes.
    const TAIL: [u32; 3] = [7_000, 7_001, 7_002];

    /// A base that passes a place every `spacing` ns, and cannot be preempted between the offsets of
    /// `masked`: there it is preempted at the range's end.
    fn sweep(path: &[u32], spacing: u32, masked: std::ops::Range<u32>) -> ([usize; 3], u32) {
        let end = LEAD + path.len() as u32 * spacing;
        let mut search = Search::watched(path.to_vec(), end, Vec::new());
        let mut runs = 0;
        while let Some(offset) = search.next(&HashSet::new()) {
            assert!(offset <= end && offset.is_multiple_of(STEP));
            let at = if masked.contains(&offset) { masked.end } else { offset };
            let passed = &path[..(at.saturating_sub(LEAD) / spacing) as usize];
            let hit = search.note(offset, &At::Place([passed, &TAIL[..]].concat()));
            assert_eq!(hit, passed.last().copied());
            runs += 1;
            assert!(runs < 10_000);
        }
        let places = search.places().expect("watched");
        ([places.hit.len(), places.out_of_reach.len(), places.all.len()], runs)
    }

    #[test]
    fn every_place_is_hit_once() {
        let path: Vec<u32> = (0..100).collect();
        let (places, runs) = sweep(&path, 64, 0..0);
        // The last one is passed only at the end.
        assert_eq!(places, [99, 1, 100]);
        assert!(runs < 220, "{runs}");
    }

    #[test]
    fn a_loop_is_hit_once() {
        let path: Vec<u32> = (0..1000).map(|at| if at < 900 { at % 3 } else { at }).collect();
        let (places, runs) = sweep(&path, 64, 0..0);
        assert_eq!((places[0], places[2]), (102, 103));
        assert!(runs < 300, "{runs}");
    }

    #[test]
    fn what_is_masked_is_out_of_reach() {
        let path: Vec<u32> = (0..100).collect();
        let (places, _) = sweep(&path, 64, LEAD + 1280..LEAD + 2560);
        assert_eq!(places, [79, 21, 100]);
    }

    #[test]
    fn what_no_sweep_has_hit_comes_first() {
        let path: Vec<u32> = (0..100).collect();
        let mut search = Search::watched(path.clone(), 6400, Vec::new());
        assert_eq!(search.next(&HashSet::new()), Some(0));
        for (offset, passed) in [(0, 0), (1600, 25), (3200, 50), (4800, 75)] {
            search.note(offset, &At::Place(path[..passed].to_vec()));
        }
        let offset = search.next(&(0..75).collect()).expect("an offset");
        assert!((4800..6400).contains(&offset), "{offset}");
    }

    #[test]
    fn a_grid_begins_coarse() {
        let mut search = Search::grid(6400, 64);
        let offsets: Vec<u32> = std::iter::from_fn(|| search.next(&HashSet::new())).collect();
        assert_eq!((offsets.len(), &offsets[..4]), (64, &[0, 3200, 1600, 4800][..]));
        assert_eq!(search.places(), None);
        let mut one = Search::grid(10, 1);
        let none = HashSet::new();
        assert_eq!((one.next(&none), one.next(&none)), (Some(0), None));
    }
}

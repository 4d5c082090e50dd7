//! Which offset of a sweep to try next.

use std::collections::{BTreeMap, HashSet};

use super::known::Known;

/// The step of timers on the deterministic machine, and the time that an instruction takes there, in
/// nanoseconds: between two offsets so close there is no other place.
pub const STEP: u32 = 16;

/// So many offsets stand in for the places of a base that is not watched.
const GRID: u32 = 64;

/// After so many tries that hit nothing new, an interval is halved, whatever the kernel tells.
const FRUITLESS: u32 = 2;

/// A search over the offsets from 0 on.
#[derive(Debug)]
pub struct Search {
    /// Offsets that are tried whatever is at them, from the last on.
    seeds: Vec<u32>,
    /// Whether they come before all others.
    seeds_first: bool,
    base: Option<Base>,
}

/// Where the base was when the swept branch began, as far as it was watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// Before its first call.
    #[default]
    Begin,
    /// It was preempted when it had passed these places and those of the preemption itself.
    Place(Vec<Pass>),
    /// Behind its last call, or asleep in it, having passed these places.
    End(Vec<Pass>),
}

/// A place that is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The address.
    pub place: u32,
    /// Whether the base can be preempted there, and when.
    pub when: When,
}

/// When a place is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The kernel does not tell.
    Untold,
    /// With preemption off.
    Masked,
    /// So many nanoseconds from the instant of the block.
    At(u32),
}

/// What the next try of a sweep can bring, from the least on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gain {
    /// There is nothing left to try.
    Nothing,
    /// One of so many places that other sweeps have hit.
    Own(usize),
    /// One of so many places that no sweep has hit, all of which are out of reach in another one.
    Doubtful(usize),
    /// What happens at some offset.
    Coarse,
    /// One of so many places of which no sweep knows anything.
    New(usize),
    /// What a sweep begins with.
    First,
}

/// What is known of a base that is watched. A *place* is an address; the base can pass it more than
/// once.
#[derive(Debug)]
struct Base {
    /// What it passes when nobody preempts it.
    path: Vec<Pass>,
    /// How many of them it had passed at each offset that was tried, and at 0.
    tried: BTreeMap<u32, usize>,
    /// Those at which it was preempted.
    hit: HashSet<u32>,
    /// How many tries have hit nothing new since the last one that has.
    fruitless: u32,
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

/// Two offsets that were tried, with none between them.
#[derive(Clone, Copy, Debug)]
struct Interval {
    lo: u32,
    hi: u32,
    /// How many places were passed at `lo`.
    from: usize,
    /// The same at `hi`.
    to: usize,
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
        Self { seeds, seeds_first: false, base: None }
    }

    /// Over a base of which nothing is seen.
    pub fn blind(end: u32) -> Self {
        Self::grid(end, GRID)
    }

    /// Over a base that passes `path` and has done so at `end`. `unseen` are offsets at which it does
    /// something that is not seen.
    pub fn watched(path: Vec<Pass>, end: u32, mut unseen: Vec<u32>) -> Self {
        unseen.push(0);
        // At the instant itself it is about to enter its call.
        let tried = BTreeMap::from([(0, 0), (end, path.len())]);
        let base = Base { path, tried, hit: HashSet::new(), fruitless: 0 };
        Self { seeds: unseen, seeds_first: false, base: Some(base) }
    }

    /// The same with what happens at the beginning, and where nothing is seen, tried before any place.
    pub fn coarse_first(self) -> Self {
        Self { seeds_first: true, ..self }
    }

    /// What the next try can bring.
    pub fn gain(&self, known: &Known) -> Gain {
        let of_places = self.best(known).map_or(Gain::Nothing, |(gain, _)| gain);
        match self.seeds.is_empty() {
            true => of_places,
            false if self.seeds_first => Gain::First,
            false => of_places.max(Gain::Coarse),
        }
    }

    /// The next offset; none where there is nothing left to try.
    pub fn next(&mut self, known: &Known) -> Option<u32> {
        if let Gain::First | Gain::Coarse = self.gain(known) {
            return self.seeds.pop();
        }
        let (gain, interval) = self.best(known)?;
        Some(self.base.as_ref()?.aim(interval, gain, known))
    }

    fn best(&self, known: &Known) -> Option<(Gain, Interval)> {
        self.base.as_ref()?.best(known)
    }

    /// Takes note of where the base was at an offset, and returns the place that was hit.
    pub fn note(&mut self, offset: u32, at: &At, known: &mut Known) -> Option<u32> {
        let base = self.base.as_mut()?;
        let passed = match at {
            At::Begin => 0,
            At::Place(passes) => base.in_common(passes),
            At::End(_) => base.path.len(),
        };
        base.tried.insert(offset, passed);
        base.learn(offset, known);
        // Who has passed all of them is about to return or to sleep, if he does not already.
        let preempted = matches!(at, At::Place(_)) && passed < base.path.len();
        let last = passed.checked_sub(1).filter(|_| preempted);
        let hit = last.and_then(|last| base.path.get(last)).map(|pass| pass.place);
        let new = hit.is_some_and(|place| base.hit.insert(place));
        base.fruitless = if new { 0 } else { base.fruitless + 1 };
        known.hit.extend(hit);
        hit
    }

    /// How far it has got, if the base is watched.
    pub fn places(&self) -> Option<Places> {
        self.base.as_ref().map(Base::places)
    }
}

impl Base {
    /// How many places the base has passed as it does when nobody preempts it. What differs is where
    /// the preemption begins: up to there a machine that starts from the same state does the same.
    fn in_common(&self, passes: &[Pass]) -> usize {
        self.path.iter().zip(passes).take_while(|(own, pass)| own.place == pass.place).count()
    }

    /// Those that there is an offset in, each with the places that have not been hit.
    fn open(&self) -> impl Iterator<Item = (Interval, HashSet<u32>)> {
        let intervals = self.tried.iter().zip(self.tried.iter().skip(1));
        let intervals = intervals.map(|((lo, from), (hi, to))| Interval {
            lo: *lo,
            hi: *hi,
            from: *from,
            to: *to,
        });
        intervals.filter(|interval| !interval.is_closed()).filter_map(|interval| {
            let left = self.within(interval).filter(|place| !self.hit.contains(place));
            let left: HashSet<u32> = left.collect();
            (!left.is_empty()).then_some((interval, left))
        })
    }

    /// Where the base can be preempted at an offset in the interval, beside what it has passed last at its
    /// beginning or end.
    fn within(&self, interval: Interval) -> impl Iterator<Item = u32> {
        let passes = self.path.get(interval.from..interval.to.saturating_sub(1));
        let passes = passes.unwrap_or_default().iter();
        passes.filter(|pass| pass.when != When::Masked).map(|pass| pass.place)
    }

    /// The interval that promises most, and what.
    fn best(&self, known: &Known) -> Option<(Gain, Interval)> {
        let new = self.open().filter_map(|(interval, left)| {
            let new = left.iter().filter(|place| known.is_open(**place)).count();
            (new > 0).then_some((Gain::New(new), interval))
        });
        let left = || {
            self.open().map(|(interval, left)| {
                let doubtful = left.iter().filter(|place| !known.hit.contains(place)).count();
                let own = Gain::Own(left.len());
                (if doubtful > 0 { Gain::Doubtful(doubtful) } else { own }, interval)
            })
        };
        new.max_by_key(|(gain, _)| *gain).or_else(|| left().max_by_key(|(gain, _)| *gain))
    }

    /// An offset in the interval at which the base is at one of the places that are to be gained, as far
    /// as the kernel tells.
    fn aim(&self, interval: Interval, gain: Gain, known: &Known) -> u32 {
        let Interval { lo, hi, from, to } = interval;
        let half = align(lo + (hi - lo) / 2).max(lo + STEP);
        if self.fruitless > FRUITLESS && self.fruitless.is_multiple_of(FRUITLESS) {
            return half;
        }
        let wanted = |place: u32| match gain {
            Gain::New(_) => known.is_open(place),
            Gain::Doubtful(_) => !known.hit.contains(&place),
            _ => true,
        };
        let passes = self.path.get(from..to.saturating_sub(1)).unwrap_or_default();
        let passes = passes.iter().filter(|it| !self.hit.contains(&it.place) && wanted(it.place));
        let offsets = passes.filter_map(|pass| match pass.when {
            When::At(at) => Some(align(at)),
            When::Untold | When::Masked => None,
        });
        let offsets: Vec<u32> = offsets.filter(|it| (lo + STEP..hi).contains(it)).collect();
        offsets.get(offsets.len() / 2).copied().unwrap_or(half)
    }

    /// Notes what is shown to be out of reach around an offset.
    fn learn(&self, offset: u32, known: &mut Known) {
        let around = [
            self.tried.range(..offset).next_back(),
            self.tried.get_key_value(&offset),
            self.tried.range(offset + 1..).next(),
        ];
        for pair in around.windows(2) {
            if let [Some((lo, from)), Some((hi, to))] = *pair {
                let interval = Interval { lo: *lo, hi: *hi, from: *from, to: *to };
                if interval.is_closed() {
                    known.out_of_reach.extend(self.within(interval));
                }
            }
        }
    }

    fn places(&self) -> Places {
        let (hit, all) = (self.hit.clone(), self.path.iter().map(|pass| pass.place));
        let all: HashSet<u32> = all.collect();
        let within_reach: HashSet<u32> = self.open().flat_map(|(_, left)| left).collect();
        let out_of_reach = all.difference(&hit).filter(|place| !within_reach.contains(place));
        Places { out_of_reach: out_of_reach.copied().collect(), hit, all }
    }
}

impl Interval {
    /// Whether there is no offset in it.
    fn is_closed(self) -> bool {
        align(self.hi - self.lo) <= STEP
    }
}

fn align(offset: u32) -> u32 {
    offset / STEP * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the base is in user mode.
    const LEAD_TIME: u32 = 1024;

    /// What a preemption passes.
    const TAIL: [u32; 3] = [7_000, 7_001, 7_002];

    /// A base that stays at its places for a time each, or cannot be preempted there.
    struct Simulated {
        path: Vec<u32>,
        stays: Vec<u32>,
        masked: std::ops::Range<usize>,
        /// Whether it tells when it passes its places.
        tells: bool,
    }

    /// Places of a kernel that does not tell when they are passed.
    fn untold(places: &[u32]) -> Vec<Pass> {
        places.iter().map(|place| Pass { place: *place, when: When::Untold }).collect()
    }

    impl Simulated {
        fn even(path: Vec<u32>, stay: u32) -> Self {
            let stays = vec![stay; path.len()];
            Self { path, stays, masked: 0..0, tells: false }
        }

        fn end(&self) -> u32 {
            LEAD_TIME + self.stays.iter().sum::<u32>()
        }

        /// What it has passed when it is preempted at the offset.
        fn at(&self, offset: u32) -> &[u32] {
            let mut begin = LEAD_TIME;
            let passed = self.stays.iter().take_while(|stay| {
                let passed = begin <= offset;
                begin += *stay;
                passed
            });
            let passed = passed.count();
            let passed = if self.masked.contains(&passed) { self.masked.end } else { passed };
            &self.path[..passed]
        }

        fn passes(&self) -> Vec<Pass> {
            let mut begin = LEAD_TIME;
            let when = |(at, stay): (usize, &u32)| {
                let began = begin;
                begin += *stay;
                match self.masked.contains(&(at + 1)) {
                    _ if !self.tells => When::Untold,
                    true => When::Masked,
                    false => When::At(began),
                }
            };
            let when = self.stays.iter().enumerate().map(when);
            self.path.iter().zip(when).map(|(place, when)| Pass { place: *place, when }).collect()
        }

        fn search(&self) -> Search {
            Search::watched(self.passes(), self.end(), Vec::new())
        }

        /// Searches until there is nothing left to try; says how many runs that took.
        fn sweep(&self, known: &mut Known) -> (Places, u32) {
            let mut search = self.search();
            let mut runs = 0;
            while let Some(offset) = search.next(known) {
                assert!(offset <= self.end() && offset.is_multiple_of(STEP));
                let passed = self.at(offset);
                let at = At::Place(untold(&[passed, &TAIL[..]].concat()));
                let hit = passed.last().filter(|_| passed.len() < self.path.len());
                assert_eq!(search.note(offset, &at, known), hit.copied());
                runs += 1;
                assert!(runs < 10_000);
            }
            assert_eq!(search.gain(known), Gain::Nothing);
            (search.places().expect("watched"), runs)
        }
    }

    fn counts(places: &Places) -> [usize; 3] {
        [places.hit.len(), places.out_of_reach.len(), places.all.len()]
    }

    #[test]
    fn every_place_is_hit_once() {
        let (places, runs) = Simulated::even((0..100).collect(), 64).sweep(&mut Known::default());
        // The last one is passed only at the end.
        assert_eq!(counts(&places), [99, 1, 100]);
        assert!(runs < 220, "{runs}");
    }

    #[test]
    fn a_loop_is_hit_once() {
        let path: Vec<u32> = (0..1000).map(|at| if at < 900 { at % 3 } else { at }).collect();
        let (places, runs) = Simulated::even(path, 64).sweep(&mut Known::default());
        assert_eq!((places.hit.len(), places.all.len()), (102, 103));
        assert!(runs < 300, "{runs}");
    }

    #[test]
    fn what_is_masked_is_out_of_reach() {
        let base = Simulated { masked: 20..40, ..Simulated::even((0..100).collect(), 64) };
        let (places, _) = base.sweep(&mut Known::default());
        assert_eq!(counts(&places), [79, 21, 100]);
        assert!((19..39).all(|place| places.out_of_reach.contains(&place)), "{places:?}");
    }

    /// Places of very different length, some of them masked: a kernel that tells when they are passed
    /// spares every try that hits nothing.
    #[test]
    fn what_is_told_is_not_searched_for() {
        let stays = (0..200u32).map(|at| if at % 10 == 3 { 16_000 } else { 16 + at % 5 * 48 });
        let stays: Vec<u32> = stays.collect();
        let base = |tells| Simulated {
            path: (0..200).collect(),
            stays: stays.clone(),
            masked: 50..90,
            tells,
        };
        let (searched, cost) = base(false).sweep(&mut Known::default());
        let (told, aimed) = base(true).sweep(&mut Known::default());
        assert_eq!((&told.hit, &told.all), (&searched.hit, &searched.all));
        assert_eq!(counts(&told), [159, 41, 200]);
        assert!(aimed < 159 + 5 && aimed < cost, "{cost} runs, {aimed} if told");
    }

    #[test]
    fn what_no_sweep_has_hit_comes_first() {
        let path: Vec<u32> = (0..100).collect();
        let base = Simulated::even(path.clone(), 64);
        let mut known = Known::default();
        let mut search = base.search().coarse_first();
        assert_eq!((search.gain(&known), search.next(&known)), (Gain::First, Some(0)));
        for (offset, passed) in [(0, 0), (1600, 25), (3200, 50), (4800, 75)] {
            search.note(offset, &At::Place(untold(&path[..passed])), &mut known);
        }
        known.hit.extend(0..75);
        assert_eq!(search.gain(&known), Gain::New(24));
        let offset = search.next(&known).expect("an offset");
        assert!((4800..6400).contains(&offset), "{offset}");
        known.out_of_reach.extend(75..100);
        assert_eq!(search.gain(&known), Gain::Doubtful(24));
        known.hit.extend(75..100);
        assert!(matches!(search.gain(&known), Gain::Own(_)));
        assert!(base.search().gain(&known) < base.search().coarse_first().gain(&known));
    }

    #[test]
    fn a_grid_begins_coarse() {
        let mut search = Search::grid(6400, 64);
        let known = Known::default();
        let offsets: Vec<u32> = std::iter::from_fn(|| search.next(&known)).collect();
        assert_eq!((offsets.len(), &offsets[..4]), (64, &[0, 3200, 1600, 4800][..]));
        assert_eq!(search.places(), None);
        let mut one = Search::grid(10, 1);
        assert_eq!((one.next(&known), one.next(&known)), (Some(0), None));
    }
}

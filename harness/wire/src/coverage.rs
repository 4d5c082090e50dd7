//! The part of the region for coverage: which places of the kernel the tasks of programs have passed.
//!
//! ```text
//! 512 KiB  number of ranges, and the ranges      written by the host before the machine starts
//! 516 KiB  counters of edges                     raised by the guest, taken by the host
//! 580 KiB  places, a bit each                    set by the guest, never cleared
//! 802 KiB  places that do not count, to 1 MiB    written by the host before the machine starts
//! ```
//! A *place* is an address that KCOV records, here as its low half, as all text of an x86-64 kernel
//! lies in the upper 2 GiB. Only places in the ranges count: each has a number, that of its offset in
//! the ranges laid end to end; some of them can be left out. An *edge* is two such places that a task passes one after the other
//! within a call, whatever it passes outside the ranges between them. So what a hash of the pair
//! counts is the same for the same calls, and tells the ways through a function apart, which places
//! alone do not.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::region::{COVERAGE_AT, GuestRegion, Region, TRACE_AT, load_u64};

/// How many counters of edges there are, a byte each.
pub const COUNTERS: usize = 64 << 10;

const RANGES_AT: usize = COVERAGE_AT + 8;
const COUNTERS_AT: usize = COVERAGE_AT + (4 << 10);
const PLACES_AT: usize = COUNTERS_AT + COUNTERS;

/// Where there is a bit for each place that does not count.
const LEFT_OUT_AT: usize = PLACES_AT + (TRACE_AT - PLACES_AT) / 2;

/// Bits that there are for places.
const PLACES: usize = (LEFT_OUT_AT - PLACES_AT) * 8;
/// Ranges that there is room for.
const RANGES: usize = (COUNTERS_AT - RANGES_AT) / 8;

/// The ranges cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacesError {
    /// There are too many of them.
    #[error("{0} ranges of the kernel are more than the {RANGES} that can be watched at a time")]
    Ranges(usize),
    /// They have too many places.
    #[error("{0} bytes of the kernel are more than the {PLACES} that can be watched at a time")]
    Places(usize),
}

/// Has the guest tell which places in these ranges are passed, but for those that are left out by their
/// numbers; in none it tells nothing, and does nothing for it. For a region that is formatted and whose
/// machine has not started.
pub fn watch(
    region: &dyn Region,
    ranges: &[Range<u32>],
    left_out: &[u32],
) -> Result<(), PlacesError> {
    let places = ranges.iter().map(ExactSizeIterator::len).sum();
    if ranges.len() > RANGES {
        return Err(PlacesError::Ranges(ranges.len()));
    }
    if places > PLACES {
        return Err(PlacesError::Places(places));
    }
    let bytes: Vec<u8> = ranges
        .iter()
        .flat_map(|range| [range.start, range.end])
        .flat_map(u32::to_le_bytes)
        .collect();
    region.store(RANGES_AT, &bytes);
    let mut bits = vec![0u8; places.div_ceil(8)];
    for number in left_out {
        if let Some(byte) = bits.get_mut(*number as usize / 8) {
            *byte |= 1 << (number % 8);
        }
    }
    region.store(LEFT_OUT_AT, &bits);
    region.store(COVERAGE_AT, &(ranges.len() as u64).to_le_bytes());
    Ok(())
}

/// Copies the counters out and sets them back to zero, while the guest is stopped.
pub fn take_counters(region: &dyn Region, into: &mut [u8; COUNTERS]) {
    static ZERO: [u8; COUNTERS] = [0; COUNTERS];
    region.load(COUNTERS_AT, into);
    region.store(COUNTERS_AT, &ZERO);
}

/// The counter of the edge between two places, by their numbers.
pub fn counter_of_edge(from: u32, to: u32) -> usize {
    edge(from + 1, to)
}

/// The numbers of the places that have been passed since the machine was started, ascending.
pub fn places_passed(region: &dyn Region) -> Vec<u32> {
    let mut ranges = vec![0; 8 * RANGES.min(load_u64(region, COVERAGE_AT) as usize)];
    region.load(RANGES_AT, &mut ranges);
    let mut words = ranges.chunks_exact(4).filter_map(|word| word.try_into().ok());
    let mut places = 0usize;
    while let (Some(start), Some(end)) = (words.next(), words.next()) {
        places += (u32::from_le_bytes(start)..u32::from_le_bytes(end)).len();
    }
    let mut bits = vec![0; places.min(PLACES).div_ceil(8)];
    region.load(PLACES_AT, &mut bits);
    let of_byte = |(at, byte): (u32, u8)| {
        (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| 8 * at + bit)
    };
    (0..).zip(bits).flat_map(of_byte).collect()
}

/// What the guest is to watch.
pub struct Watch<'a> {
    region: &'a GuestRegion,
    ranges: usize,
}

impl GuestRegion {
    /// What is to be watched, if anything is.
    pub fn watch(&self) -> Option<Watch<'_>> {
        let ranges = self.u64_at(COVERAGE_AT).load(Ordering::Acquire) as usize;
        (1..=RANGES).contains(&ranges).then_some(Watch { region: self, ranges })
    }
}

impl Watch<'_> {
    /// Notes that a task has passed a place. `before` is what this returned for the place that the
    /// task passed before in the same call, 0 for none.
    pub fn pass(&self, before: u32, place: u32) -> u32 {
        let Some(number) = self.number(place) else { return before };
        let (at, bit) = ((number / 32 * 4) as usize, 1 << (number % 32));
        if self.region.u32_at(LEFT_OUT_AT + at).load(Ordering::Relaxed) & bit != 0 {
            return before;
        }
        let word = self.region.u32_at(PLACES_AT + at);
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        let counter = self.region.u8_at(COUNTERS_AT + edge(before, number));
        // Concurrent tasks may lose a count, never the edge.
        let count = counter.load(Ordering::Relaxed);
        counter.store(count.saturating_add(1), Ordering::Relaxed);
        number + 1
    }

    /// The number of a place in the ranges, if it has a bit.
    fn number(&self, place: u32) -> Option<u32> {
        let mut before = 0u32;
        for range in 0..self.ranges {
            let at = RANGES_AT + 8 * range;
            let start = self.region.u32_at(at).load(Ordering::Relaxed);
            let end = self.region.u32_at(at + 4).load(Ordering::Relaxed);
            if (start..end).contains(&place) {
                let number = before.checked_add(place - start)?;
                return ((number as usize) < PLACES).then_some(number);
            }
            before = before.checked_add(end.checked_sub(start)?)?;
        }
        None
    }
}

/// The counter of an edge. Multiplying by odd numbers spreads neighbours.
fn edge(before: u32, number: u32) -> usize {
    let hash = before.wrapping_mul(0x9e37_79b1) ^ number.wrapping_mul(0x85eb_ca6b);
    (hash ^ hash >> 15).wrapping_mul(0xc2b2_ae35) as usize >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::tests::Memory;

    #[test]
    fn places_in_the_ranges_are_noted() {
        let memory = Memory::new();
        let guest = memory.guest();
        assert!(guest.watch().is_none());
        watch(&memory, &[100..110, 0xffff_0000..0xffff_0100], &[]).expect("room");
        let seen = guest.watch().expect("ranges");
        let mut before = 0;
        for place in [99, 100, 110, 109, 0xffff_0000, 0xffff_00ff, 0xffff_0100] {
            before = seen.pass(before, place);
        }
        assert_eq!(places_passed(&memory), [0, 9, 10, 265]);
        let mut counters = [0; COUNTERS];
        take_counters(&memory, &mut counters);
        assert_eq!(counters.iter().filter(|count| **count == 1).count(), 4);
        assert_eq!(counters[counter_of_edge(9, 10)], 1);
        take_counters(&memory, &mut counters);
        assert!(counters.iter().all(|count| *count == 0));
    }

    #[test]
    fn the_order_of_places_makes_the_edge_and_what_is_between_does_not() {
        let memory = Memory::new();
        let guest = memory.guest();
        watch(&memory, &[0..5, 5..10], &[8]).expect("room");
        let counted = |places: &[u32]| {
            let seen = guest.watch().expect("ranges");
            places.iter().fold(0, |before, place| seen.pass(before, *place));
            let mut counters = [0; COUNTERS];
            take_counters(&memory, &mut counters);
            counters
        };
        assert!(counted(&[1, 2, 3]) == counted(&[1, 50, 2, 60, 3]));
        assert!(counted(&[1, 2, 3]) == counted(&[8, 1, 8, 2, 3, 8]));
        assert!(counted(&[1, 2, 3]) != counted(&[1, 3, 2]));
        assert_eq!(counted(&[4; 1000]).iter().copied().max(), Some(u8::MAX));
        assert!(!places_passed(&memory).contains(&8));
    }

    #[test]
    fn what_is_too_much_is_refused_and_lies_do_no_harm() {
        let memory = Memory::new();
        let many = vec![0..1; RANGES + 1];
        assert_eq!(watch(&memory, &many, &[]), Err(PlacesError::Ranges(RANGES + 1)));
        let large = 0..PLACES as u32 + 1;
        assert_eq!(watch(&memory, &[large], &[]), Err(PlacesError::Places(PLACES + 1)));
        for word in [u64::MAX, 5] {
            memory.store(COVERAGE_AT, &word.to_le_bytes());
            memory.store(RANGES_AT, &[0xff; 64]);
            let _ = places_passed(&memory);
            let guest = memory.guest();
            let _ = guest.watch().map(|seen| seen.pass(0, 7));
        }
    }
}

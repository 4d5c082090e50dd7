//! Steps as a whole: more of them, fewer, or in another order.

use fastrand::Rng;

use super::draft::Draft;
use crate::binary::steps_behind;
use crate::{Block, Program, Step};

/// Bytes from which new steps are made: enough for the longest ones.
const BYTES: usize = 96;

/// Puts up to so many steps at a place, each of which is likely to take the program further there.
fn put(draft: &mut Draft, at: usize, rng: &mut Rng) -> Option<()> {
    if draft.steps.len() >= Program::MAX_STEPS {
        return None;
    }
    let mut bytes = [0u8; BYTES];
    rng.fill(&mut bytes);
    // A byte that is no place in the table of calls is one that is due.
    if rng.u8(..) >= UNLIKELY {
        bytes[0] |= 0x80;
    }
    let most = 1 + rng.usize(..3);
    let new = steps_behind(&draft.steps[..at], block_at(draft, at, rng), &bytes, most);
    (!new.is_empty()).then(|| draft.insert_behind(at, new))
}

/// Of 256 insertions, so many begin with any call at all.
const UNLIKELY: u8 = 64;

/// The block that a step at this place can stand in.
fn block_at(draft: &Draft, at: usize, rng: &mut Rng) -> Option<Block> {
    let before = at.checked_sub(1).and_then(|at| draft.steps[at].block);
    let inside = before.is_some() && draft.steps.get(at).is_some_and(|step| step.block == before);
    before.filter(|_| inside || rng.bool())
}

pub(super) fn insert(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = rng.usize(..=draft.steps.len());
    put(draft, at, rng)
}

pub(super) fn append(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = draft.steps.len();
    put(draft, at, rng)
}

/// A few neighbours, mostly one.
pub(super) fn few(len: usize, rng: &mut Rng) -> Option<std::ops::Range<usize>> {
    if len == 0 {
        return None;
    }
    let from = rng.usize(..len);
    let mut to = from + 1;
    while to < len && rng.u8(..3) == 0 {
        to += 1;
    }
    Some(from..to)
}

pub(super) fn remove(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let range = few(draft.steps.len(), rng)?;
    draft.steps.drain(range);
    Some(())
}

pub(super) fn duplicate(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let range = few(draft.steps.len(), rng)?;
    let copy: Vec<Step> = draft.steps[range.clone()].to_vec();
    let at = rng.usize(range.end..=draft.steps.len());
    draft.steps.splice(at..at, copy);
    Some(())
}

pub(super) fn shift_step(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let range = few(draft.steps.len(), rng)?;
    let moved: Vec<Step> = draft.steps.drain(range).collect();
    let at = rng.usize(..=draft.steps.len());
    draft.steps.splice(at..at, moved);
    Some(())
}

/// Puts a part of the other program somewhere, or in the place of all that follows.
pub(super) fn splice(draft: &mut Draft, other: &Draft, rng: &mut Rng) {
    let at = rng.usize(..=draft.steps.len());
    // What a part needs stands before it: a beginning needs nothing.
    let from = if rng.bool() { 0 } else { rng.usize(..=other.steps.len()) };
    let to = rng.usize(from..=other.steps.len());
    if rng.bool() {
        draft.steps.truncate(at);
    }
    let room = Program::MAX_STEPS - draft.steps.len().min(Program::MAX_STEPS);
    let part: Vec<Step> = other.steps[from..to].iter().take(room).cloned().collect();
    draft.insert_foreign(at, other, part);
}

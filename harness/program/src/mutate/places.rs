//! Who makes a step, and at the same time as what.

use fastrand::Rng;

use super::draft::Draft;
use super::steps::few;
use crate::valid::Origin;
use crate::{Block, Call, Offset, Program, Start};

pub(super) fn reassign(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = few(draft.steps.len(), rng)?.start;
    let actors = draft.tasks_before(at, |origin| origin != Origin::Spawned);
    draft.steps[at].task = rng.choice(actors)?;
    Some(())
}

/// A block that no step stands in.
pub(super) fn new_block(draft: &Draft) -> Block {
    let last = draft.steps.iter().filter_map(|step| step.block).max();
    Block(last.map_or(0, |Block(last)| last + 1))
}

pub(super) fn into_block(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let mut range = few(draft.steps.len(), rng)?;
    // Alone in a block a step meets nobody.
    range.end = (range.end + 1).min(draft.steps.len());
    let near = draft.steps[range.clone()].iter().find_map(|step| step.block);
    let block = near.unwrap_or_else(|| new_block(draft));
    let others = draft.tasks_before(range.start, |origin| origin == Origin::Forked);
    let last = range.end - 1;
    for step in &mut draft.steps[range] {
        step.block = Some(block);
    }
    let step = &mut draft.steps[last];
    // Steps of one task are one branch.
    if !matches!(step.call, Call::Spawn { .. })
        && let Some(task) = rng.choice(others)
    {
        step.task = task;
    }
    step.start = rng.bool().then(|| a_start(rng));
    Some(())
}

pub(super) fn out_of_block(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let inside: Vec<usize> =
        (0..draft.steps.len()).filter(|at| draft.steps[*at].block.is_some()).collect();
    let at = rng.choice(inside)?;
    let block = draft.steps[at].block;
    let all = rng.bool();
    for (number, step) in draft.steps.iter_mut().enumerate() {
        if number == at || (all && step.block == block) {
            (step.block, step.start) = (None, None);
        }
    }
    Some(())
}

/// A start on the scale of a call: 128 ns to 128 us, each order of magnitude as often as the others.
pub(super) fn a_start(rng: &mut Rng) -> Start {
    let scale = 1u32 << rng.u32(7..17);
    let at = Offset::Nanoseconds(scale + rng.u32(..scale));
    Start { at, priority: rng.u8(1..=Program::MAX_PRIORITY) }
}

pub(super) fn shift(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let inside: Vec<usize> =
        (0..draft.steps.len()).filter(|at| draft.steps[*at].block.is_some()).collect();
    let step = &mut draft.steps[rng.choice(inside)?];
    let Some(start) = step.start else {
        step.start = Some(a_start(rng));
        return Some(());
    };
    let Offset::Nanoseconds(at) = start.at else {
        step.start = Some(a_start(rng));
        return Some(());
    };
    let little = rng.u32(1..64);
    let much = rng.u32(64..1 << 14);
    let at = match rng.u8(..16) {
        0..=4 => Offset::Nanoseconds(at.saturating_add(little)),
        5..=9 => Offset::Nanoseconds(at.saturating_sub(little)),
        10 | 11 => Offset::Nanoseconds(at.saturating_add(much)),
        12 | 13 => Offset::Nanoseconds(at.saturating_sub(much)),
        // A sweep is many runs: rarely.
        14 if rng.u8(..8) == 0 => Offset::Sweep,
        14 => a_start(rng).at,
        _ => {
            step.start = None;
            return Some(());
        }
    };
    let keeps = rng.u8(..4) != 0;
    let priority = if keeps { start.priority } else { rng.u8(1..=Program::MAX_PRIORITY) };
    step.start = Some(Start { at, priority });
    Some(())
}

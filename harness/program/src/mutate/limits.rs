//! What there is only so much of.

use fastrand::Rng;

use super::draft::Draft;
use super::events::step;
use crate::{Bind, Call, Program, Step, Sysctl};

/// A call is made when there is no more of what it takes.
pub(super) fn limit(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    match rng.u8(..4) {
        0 => lowered(draft, Sysctl::MaxUserGroups, makes_group, rng),
        1 => lowered(
            draft,
            Sysctl::MaxUserMarks,
            |call| matches!(call, Call::FanotifyMark { .. }),
            rng,
        ),
        2 => short_queue(draft, rng),
        _ => no_fds(draft, rng),
    }
}

fn makes_group(call: &Call) -> bool {
    matches!(call, Call::FanotifyInit { .. })
}

/// A step whose call is such.
fn a_step(draft: &Draft, is: impl Fn(&Call) -> bool, rng: &mut Rng) -> Option<usize> {
    let steps = (0..draft.steps.len()).filter(|at| is(draft.steps[*at].call.innermost()));
    rng.choice(steps.collect::<Vec<_>>())
}

/// The user's limit is about what there is before a call that adds to it.
fn lowered(
    draft: &mut Draft,
    name: Sysctl,
    adds: impl Fn(&Call) -> bool,
    rng: &mut Rng,
) -> Option<()> {
    let at = a_step(draft, &adds, rng)?;
    let there = draft.steps[..at].iter().filter(|step| adds(step.call.innermost())).count() as u32;
    let value = if rng.bool() { there } else { rng.u32(..=there + 1) };
    put(draft, at, Call::Sysctl { name, value });
    Some(())
}

/// A group's queue has room for hardly anything.
fn short_queue(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = a_step(draft, makes_group, rng)?;
    let value = rng.u32(..4);
    put(draft, at, Call::Sysctl { name: Sysctl::MaxQueuedEvents, value });
    Some(())
}

fn put(draft: &mut Draft, at: usize, call: Call) {
    let of = &draft.steps[at];
    let new = Step { block: of.block, ..step(of.task, call, Bind::None) };
    draft.steps.insert(at, new);
}

/// There are no fds left for a call, which is then made once more.
fn no_fds(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let makes_fds = |call: &Call| call.returns_fd() || matches!(call, Call::Read { .. });
    let steps = (0..draft.steps.len()).filter(|at| makes_fds(&draft.steps[*at].call));
    let at = rng.choice(steps.collect::<Vec<_>>())?;
    let failing = draft.steps[at].clone();
    let limit = |more| step(failing.task, Call::RlimitNofile { more }, Bind::None);
    draft.steps.splice(at..at, [limit(0), failing.clone(), limit(Program::MAX_TASKS as u8)]);
    Some(())
}

//! What there is only so much of.

use fastrand::Rng;

use super::draft::Draft;
use super::events::{put, step};
use super::fields::a_step;
use crate::{Bind, Call, Program, Sysctl};

/// A call is made when there is no more of what it takes.
pub(super) fn limit(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    match rng.u8(..4) {
        0 => lowered(draft, Sysctl::MaxUserGroups, makes_group, rng),
        1 => lowered(
            draft,
            Sysctl::MaxUserMarks,
            |call| matches!(call.innermost(), Call::FanotifyMark { .. }),
            rng,
        ),
        2 => short_queue(draft, rng),
        _ => no_fds(draft, rng),
    }
}

fn makes_group(call: &Call) -> bool {
    matches!(call.innermost(), Call::FanotifyInit { .. })
}

/// The user's limit is about what there is before a call that adds to it.
fn lowered(
    draft: &mut Draft,
    name: Sysctl,
    adds: impl Fn(&Call) -> bool,
    rng: &mut Rng,
) -> Option<()> {
    let at = a_step(draft, &adds, rng)?;
    let there = draft.steps[..at].iter().filter(|step| adds(&step.call)).count() as u32;
    let value = if rng.bool() { there } else { rng.u32(..=there + 1) };
    let task = draft.steps[at].task;
    put(draft, at, step(task, Call::Sysctl { name, value }, Bind::None));
    Some(())
}

/// A group's queue has room for hardly anything.
fn short_queue(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = a_step(draft, makes_group, rng)?;
    let (task, name) = (draft.steps[at].task, Sysctl::MaxQueuedEvents);
    put(draft, at, step(task, Call::Sysctl { name, value: rng.u32(..4) }, Bind::None));
    Some(())
}

/// There are no fds left for a call, which is then made once more.
fn no_fds(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let makes_fds = |call: &Call| call.returns_fd() || matches!(call, Call::Read { .. });
    let at = a_step(draft, makes_fds, rng)?;
    let failing = draft.steps[at].clone();
    let limit = |more| step(failing.task, Call::RlimitNofile { more }, Bind::None);
    draft.steps.splice(at..at, [limit(0), failing.clone(), limit(Program::MAX_TASKS as u8)]);
    Some(())
}

//! What befalls groups, daemons and accessors.

use fastrand::Rng;
use refan_abi::OpenFlags;

use super::draft::Draft;
use crate::valid::{Origin, Role};
use crate::{Bind, Call, Fd, Step, Task, Var};

pub(super) fn step(task: Task, call: Call, bind: Bind) -> Step {
    Step { comments: Vec::new(), task, block: None, start: None, bind, call, expect: None }
}

pub(super) fn main_step(call: Call, bind: Bind) -> Step {
    step(Task::MAIN, call, bind)
}

/// Puts a step at a place; between steps of a block, into that block.
pub(super) fn put(draft: &mut Draft, at: usize, mut new: Step) {
    let block = |at: Option<usize>| at.and_then(|at| draft.steps.get(at)).and_then(|it| it.block);
    let before = block(at.checked_sub(1));
    new.block = before.filter(|_| before == block(Some(at)));
    draft.steps.insert(at, new);
}

pub(super) fn kill(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = rng.usize(..=draft.steps.len());
    let victims = draft.tasks_before(at, |origin| origin != Origin::Main);
    let task = rng.choice(victims)?;
    put(draft, at, main_step(Call::Kill { task }, Bind::None));
    Some(())
}

/// Where queues are opened: the step, its task, the control fd and the queue.
pub(super) fn queues(draft: &Draft) -> Vec<(usize, Task, Fd, Var)> {
    let opened =
        draft.steps.iter().enumerate().filter_map(|(at, step)| match (&step.call, &step.bind) {
            (Call::OpenQueue { control } | Call::OpenQueue32 { control }, Bind::Fd(var)) => {
                Some((at, step.task, *control, *var))
            }
            _ => None,
        });
    opened.collect()
}

pub(super) fn daemon_death(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let (opened, holder, control, queue) = rng.choice(queues(draft))?;
    let is_forked = draft.tasks_before(opened, |origin| origin == Origin::Forked).contains(&holder);
    // Behind a read, if there is one, as otherwise nothing is pending.
    let from_queue = |step: &Step| {
        matches!(step.call, Call::Read { .. } | Call::ReadMissing { .. })
            && step.call.fds().any(|fd| fd == Fd::Var(queue))
    };
    let reads: Vec<usize> = (opened + 1..draft.steps.len())
        .filter(|at| from_queue(&draft.steps[*at]))
        .map(|at| at + 1)
        .collect();
    let anywhere = rng.usize(opened + 1..=draft.steps.len());
    let at = rng.choice(reads).filter(|_| rng.u8(..4) != 0).unwrap_or(anywhere);
    let in_transit = match &draft.steps[at - 1] {
        Step { call: Call::ReadMissing { .. }, task, .. } => Some(*task),
        _ => None,
    };
    // Who is within a read can be killed, and makes no other call.
    let shutdown = if in_transit.is_some() { 4 } else { 1 };
    let death = match rng.u8(..4) {
        _ if rng.u8(..8) < shutdown => main_step(Call::Close { fd: control }, Bind::None),
        0 | 1 if is_forked => main_step(Call::Kill { task: holder }, Bind::None),
        2 if is_forked => step(holder, Call::Exit, Bind::None),
        _ => step(holder, Call::Close { fd: Fd::Var(queue) }, Bind::None),
    };
    put(draft, at, death);
    let mut at = at + 1;
    if let Some(task) = in_transit.filter(|_| rng.u8(..4) != 0) {
        // What was in transit all the while gets to its reader, or nowhere.
        put(draft, at, main_step(Call::PageIn { task }, Bind::None));
        at += 1;
    }
    if rng.u8(..4) != 0 {
        let successor = draft.new_var(Role::Queue);
        put(draft, at, main_step(Call::OpenQueue { control }, Bind::Fd(successor)));
        at += 1;
        if rng.u8(..4) != 0 {
            let event = draft.new_var(Role::Event);
            let fd = Fd::Var(successor);
            let read = Call::Read { fd, size: Call::DEFAULT_READ };
            put(draft, at, main_step(read, Bind::Events(vec![event])));
        }
    }
    Some(())
}

/// An allocation fails in a call: in an access that is asked about, in the release of a queue that was read from, or
/// anywhere.
pub(super) fn fail_nth(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let (at, task) = match rng.u8(..3) {
        0 => access_behind_mark(draft, rng)?,
        1 => release_behind_read(draft, rng)?,
        _ => {
            let len = draft.steps.len();
            let at = (len > 0).then(|| rng.usize(..len))?;
            (at, draft.steps[at].task)
        }
    };
    // The first allocations are those of the call itself.
    let most = [2, 6, 40][rng.usize(..3)];
    let nth = rng.u8(1..=most);
    put(draft, at, step(task, Call::FailNth { nth }, Bind::None));
    Some(())
}

/// Opens what was marked before: where, and by whom.
fn access_behind_mark(draft: &mut Draft, rng: &mut Rng) -> Option<(usize, Task)> {
    let marked = draft.steps.iter().enumerate().filter_map(|(at, step)| match step.call {
        Call::FanotifyMark { path, .. } => Some((at, path)),
        _ => None,
    });
    let (marked, path) = rng.choice(marked.collect::<Vec<_>>())?;
    let at = rng.usize(marked + 1..=draft.steps.len());
    let callers = draft.tasks_before(at, |origin| matches!(origin, Origin::Main | Origin::Forked));
    let task = rng.choice(callers)?;
    let open = Call::Open { path, flags: OpenFlags::O_RDONLY };
    put(draft, at, step(task, open, Bind::None));
    Some((at, task))
}

/// Where a queue is closed that was read from, and by whom.
fn release_behind_read(draft: &Draft, rng: &mut Rng) -> Option<(usize, Task)> {
    let closes = draft.steps.iter().enumerate().filter_map(|(at, step)| {
        let Call::Close { fd } = step.call else { return None };
        let reads = |step: &Step| matches!(step.call, Call::Read { fd: read, .. } if read == fd);
        draft.steps[..at].iter().any(reads).then_some((at, step.task))
    });
    rng.choice(closes.collect::<Vec<_>>())
}

//! Two calls on one queue at the same time.

use fastrand::Rng;
use refan_abi::{MarkFlags, Response};

use super::draft::Draft;
use super::events::{main_step, queues, step};
use super::places::{a_start, new_block};
use crate::valid::{Origin, Role};
use crate::{Bind, Call, Fd, Step, Task, Var};

/// A task begins to use a queue, or what there is of its group, in the midst of what another one does
/// with it.
pub(super) fn race(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let (opened, holder, control, queue) = rng.choice(queues(draft))?;
    // Rather at the end, where most has come about; between blocks.
    let from =
        if rng.bool() { draft.steps.len() } else { rng.usize(opened + 1..=draft.steps.len()) };
    let block_at = |at: usize| draft.steps.get(at).and_then(|step| step.block);
    let at = (from..=draft.steps.len())
        .find(|at| block_at(*at).is_none() || block_at(*at) != block_at(at - 1))?;
    let ground = Ground {
        control,
        queue,
        events: events_of(&draft.steps[opened..at], queue),
        others: draft.tasks_before(at, |origin| origin != Origin::Main),
        marks: draft.steps[..at].iter().filter(|step| is_mark(step)).cloned().collect(),
    };
    // A fork has all fds of the task that makes it.
    let other = draft.new_task(Origin::Forked);
    let block = Some(new_block(draft));
    let mut first = ground.contender(draft, holder, rng);
    let mut second = ground.contender(draft, other, rng);
    (first.block, second.block) = (block, block);
    second.start = Some(a_start(rng));
    draft.steps.splice(at..at, [step(holder, Call::Fork, Bind::Task(other)), first, second]);
    Some(())
}

/// The events that were read from a queue.
fn events_of(steps: &[Step], queue: Var) -> Vec<Var> {
    let of_queue = |step: &&Step| step.call.fds().any(|fd| fd == Fd::Var(queue));
    let bound = steps.iter().filter(of_queue).map(|step| match &step.bind {
        Bind::Events(events) => events.as_slice(),
        _ => &[],
    });
    bound.flatten().copied().collect()
}

fn is_mark(step: &Step) -> bool {
    matches!(step.call, Call::FanotifyMark { flags, .. } if flags.contains(MarkFlags::ADD))
}

/// What two tasks can meet over.
struct Ground {
    control: Fd,
    queue: Var,
    events: Vec<Var>,
    others: Vec<Task>,
    marks: Vec<Step>,
}

impl Ground {
    fn contender(&self, draft: &mut Draft, task: Task, rng: &mut Rng) -> Step {
        let fd = Fd::Var(self.queue);
        let read = |draft: &mut Draft| {
            let bind = Bind::Events(vec![draft.new_var(Role::Event)]);
            step(task, Call::Read { fd, size: Call::DEFAULT_READ }, bind)
        };
        match rng.u8(..16) {
            0..=4 => read(draft),
            5..=7 => match rng.choice(self.events.iter().copied()) {
                Some(event) => {
                    let (event, response, size) = (Fd::Var(event), Response::ALLOW, None);
                    step(task, Call::Write { fd, event, response, size }, Bind::None)
                }
                None => read(draft),
            },
            8 | 9 => step(task, Call::Close { fd }, Bind::None),
            10 | 11 => step(task, Call::Close { fd: self.control }, Bind::None),
            12 => {
                let bind = Bind::Fd(draft.new_var(Role::Queue));
                step(task, Call::OpenQueue { control: self.control }, bind)
            }
            13 => match rng.choice(self.marks.iter()) {
                Some(mark) => {
                    let mut removal = step(task, mark.call.clone(), Bind::None);
                    if let Call::FanotifyMark { flags, .. } = &mut removal.call {
                        *flags = (*flags - MarkFlags::ADD) | MarkFlags::REMOVE;
                    }
                    removal
                }
                None => step(task, Call::Poll { fd }, Bind::None),
            },
            _ => match rng.choice(self.others.iter().copied()) {
                Some(victim) if victim != task => {
                    main_step(Call::Kill { task: victim }, Bind::None)
                }
                _ => read(draft),
            },
        }
    }
}

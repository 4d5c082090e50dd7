//! Whether the naive kernel can have been seen to do something: every order is tried, and nothing is
//! remembered.

use std::ops::Range;

use refan_program::{Program, Task};

use super::run::{Plan, parts};
use super::{Naive, Shown};
use crate::{Moment, Observation, Seen};

/// How many moves are tried before it is given up.
const PATIENCE: usize = 3_000_000;

struct Try<'s> {
    seen: &'s Observation,
    in_block: bool,
    left: usize,
}

/// Whether what was seen of all parts can be; none where trying takes too long.
pub(super) fn can_be(program: &Program, seen: &[Observation]) -> Option<bool> {
    let mut kernels = vec![Naive::new(program)];
    for (part, seen) in parts(program).iter().zip(seen) {
        let in_block = program.steps[part.start].block.is_some();
        let mut trying = Try { seen, in_block, left: PATIENCE };
        let mut next = Vec::new();
        for kernel in kernels {
            trying.part(kernel, part, &mut next);
        }
        if trying.left == 0 {
            return None;
        }
        kernels = next;
        // Kernels that differ in nothing that can be told apart are many.
        kernels.truncate(200);
    }
    Some(!kernels.is_empty())
}

impl<'s> Try<'s> {
    fn part<'a>(&mut self, mut kernel: Naive<'a>, part: &Range<usize>, ends: &mut Vec<Naive<'a>>) {
        let mut begun = Observation::default();
        let mut plan = kernel.begin(part, &mut begun);
        if begun.skipped != self.seen.skipped {
            return;
        }
        if self.in_block {
            // Only what was seen to be entered was.
            for (_, steps) in &mut plan {
                steps.retain(|step| self.seen.order.contains(&Moment::Enter(*step)));
            }
        }
        self.search(kernel, plan, 0, ends);
    }

    /// `at` is how many moments of the order have passed; of a single step, how many things were
    /// shown.
    fn search<'a>(&mut self, kernel: Naive<'a>, plan: Plan, at: usize, ends: &mut Vec<Naive<'a>>) {
        if self.left == 0 || ends.len() > 200 {
            return;
        }
        self.left -= 1;
        let moves = kernel.moves(&plan);
        if moves.is_empty() {
            if self.is_end(&kernel, &plan, at) {
                ends.push(kernel);
            }
            return;
        }
        for what in moves {
            let mut next = kernel.clone();
            let number = |step: usize, nth: usize| self.number(step, nth);
            let Some(shown) = next.apply(what, &number) else { continue };
            if !self.fits(&shown, at) {
                continue;
            }
            let mut plan = plan.clone();
            Naive::strike(&mut plan, what);
            let passed = at + usize::from(!matches!(shown, Shown::Nothing));
            self.search(next, plan, passed, ends);
        }
    }

    /// The fd number that a call was seen to make; none of one whose fds nobody saw.
    fn number(&self, step: usize, nth: usize) -> Option<i32> {
        let back = self.seen.returns.iter().find(|back| back.step == step)?;
        match &back.data {
            Seen::Events(events) => Some(events.get(nth).map_or(-1, |seen| seen.event.fd)),
            _ => i32::try_from(back.value).ok().filter(|number| *number >= 0),
        }
    }

    fn fits(&self, shown: &Shown, at: usize) -> bool {
        let moment = match shown {
            Shown::Nothing => return true,
            Shown::Enter(step) => Moment::Enter(*step),
            Shown::Return(step, value, data) => {
                let back = self.seen.returns.iter().find(|back| back.step == *step);
                if !back.is_some_and(|back| back.value == *value && back.data == *data) {
                    return false;
                }
                Moment::Return(*step)
            }
            Shown::Ended(task) => {
                if !self.seen.ended.iter().any(|(ended, _)| ended == task) {
                    return false;
                }
                Moment::Ended(*task)
            }
        };
        !self.in_block || self.seen.order.get(at) == Some(&moment)
    }

    fn is_end(&self, kernel: &Naive<'_>, plan: &Plan, at: usize) -> bool {
        let killed = |task: Task| kernel.actor(task).killed;
        let entered = plan.iter().all(|(task, steps)| steps.is_empty() || killed(*task));
        let shown = if self.in_block {
            self.seen.order.len()
        } else {
            // Entering is shown, too.
            return entered
                && kernel.blocked() == self.seen.blocked
                && at >= self.seen.returns.len() + self.seen.ended.len();
        };
        entered && kernel.blocked() == self.seen.blocked && at == shown
    }
}

//! What was seen of a `par` block: which calls were made, and which of them one after another.

use std::collections::BTreeSet;

use refan_program::{Program, Task};

use crate::state::{Life, State};
use crate::{Moment, Observation};

/// The calls of a block. Empty for a step that is in none.
#[derive(Default)]
pub(crate) struct History {
    pub branches: Vec<Branch>,
    /// For each call what was over when it began.
    before: Vec<(usize, Vec<Moment>)>,
    /// The calls that returned, in that order.
    pub returns: Vec<usize>,
    /// Only so many of the returns are to be explained.
    pub bound: Option<usize>,
}

/// The calls that one task makes in a block, one after another.
pub(crate) struct Branch {
    pub task: Task,
    pub steps: Vec<usize>,
}

impl History {
    /// What was seen of the block, or of its beginning: up to the return of this number, from 1.
    pub(crate) fn new(program: &Program, seen: &Observation, bound: Option<usize>) -> Self {
        let mut history = Self { bound, ..Self::default() };
        let mut over = Vec::new();
        for &moment in &seen.order {
            if bound.is_some_and(|bound| bound == history.returns.len()) {
                break;
            }
            match moment {
                Moment::Return(step) => {
                    history.returns.push(step);
                    over.push(moment);
                }
                Moment::Ended(_) => over.push(moment),
                Moment::Enter(step) => {
                    history.before.push((step, over.clone()));
                    let Some(task) = program.steps.get(step).and_then(|step| step.caller()) else {
                        continue;
                    };
                    match history.branches.iter_mut().find(|branch| branch.task == task) {
                        Some(branch) => branch.steps.push(step),
                        None => history.branches.push(Branch { task, steps: vec![step] }),
                    }
                }
            }
        }
        history
    }

    /// The calls that were made.
    pub(crate) fn made(&self) -> BTreeSet<usize> {
        self.branches.iter().flat_map(|branch| branch.steps.iter().copied()).collect()
    }

    pub(crate) fn branch_of(&self, task: Task) -> Option<usize> {
        self.branches.iter().position(|branch| branch.task == task)
    }

    /// The call that returned last of those that are to be explained.
    pub(crate) fn last(&self) -> Option<usize> {
        self.bound.and_then(|_| self.returns.last().copied())
    }

    /// Whether everything that is to be explained is.
    pub(crate) fn is_explained(&self, state: &State) -> bool {
        self.bound.is_some() && self.returns.iter().all(|step| state.matched.contains(step))
    }

    /// Whether everything is over that was when the call began.
    pub(crate) fn may_begin(&self, step: usize, state: &State) -> bool {
        self.before(step).iter().all(|moment| is_over(state, *moment))
    }

    /// The task that has to finish something before the call can begin.
    pub(crate) fn unfinished_before(
        &self,
        step: usize,
        state: &State,
        program: &Program,
    ) -> Option<Task> {
        let moment = self.before(step).iter().find(|moment| !is_over(state, **moment))?;
        match *moment {
            Moment::Ended(task) => Some(task),
            Moment::Return(step) | Moment::Enter(step) => {
                program.steps.get(step).and_then(|step| step.caller())
            }
        }
    }

    fn before(&self, step: usize) -> &[Moment] {
        self.before.iter().find(|(of, _)| *of == step).map_or(&[], |(_, before)| before)
    }
}

fn is_over(state: &State, moment: Moment) -> bool {
    match moment {
        Moment::Enter(_) => true,
        Moment::Return(step) => state.matched.contains(&step),
        Moment::Ended(task) => {
            state.is_idle(task)
                && state.tasks.get(usize::from(task.0)).is_none_or(|task| task.life == Life::Ended)
        }
    }
}

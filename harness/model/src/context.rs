//! What a transition of the model is given: the program, what was seen, and the choices that the
//! contract leaves to the kernel.

use std::cell::RefCell;
use std::collections::BTreeSet;

use refan_program::{Inode, Program, Rule, Task};

use crate::violation::{Allowed, either, returned};
use crate::{Kernel, Observation, Return, Seen, Stop, Violation, observe::End, state::State};

/// One run of a transition. Where the contract leaves a choice, the transition takes it from the
/// script; whoever runs it writes the scripts, until every choice has been tried.
pub(crate) struct Context<'a> {
    pub kernel: &'a Kernel,
    pub program: &'a Program,
    /// The step that is being judged.
    pub step: usize,
    pub seen: &'a Observation,
    /// Whether actions that follow one another are taken at once, since nobody can come between.
    pub in_one_go: bool,
    /// Calls that were not seen to return may have returned anything: what was seen is the
    /// beginning of a history.
    pub open_ended: bool,
    /// What would have fitted where something was missing.
    pub foreseen: RefCell<Foreseen>,
    script: Vec<Choice>,
    next: usize,
}

/// What a right kernel could have been seen to do beside what was seen: each of these in some way that
/// the contract allows, what comes of the first one in front.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreseen {
    pub backs: Vec<Return>,
    pub asleep: Vec<BTreeSet<Task>>,
    /// The first of these that the first way lacked that lacked any: what one lacks does not fit another.
    pub first: (Option<Return>, Option<BTreeSet<Task>>),
}

impl Foreseen {
    /// Adds what another way lacked.
    pub(crate) fn add(&mut self, other: Self) {
        if let (None, None) = self.first {
            self.first = (other.backs.first().cloned(), other.asleep.first().cloned());
        }
        other.backs.into_iter().for_each(|back| self.add_back(back));
        other.asleep.into_iter().for_each(|asleep| self.add_asleep(asleep));
    }

    pub(crate) fn add_back(&mut self, back: Return) {
        if !self.backs.contains(&back) {
            self.backs.push(back);
        }
    }

    pub(crate) fn add_asleep(&mut self, asleep: BTreeSet<Task>) {
        if !self.asleep.contains(&asleep) {
            self.asleep.push(asleep);
        }
    }
}

/// How a call returned.
pub(crate) struct Back<'a> {
    pub value: i64,
    pub data: &'a Seen,
}

struct Choice {
    taken: usize,
    of: usize,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        kernel: &'a Kernel,
        program: &'a Program,
        step: usize,
        seen: &'a Observation,
    ) -> Self {
        Self {
            kernel,
            program,
            step,
            seen,
            in_one_go: true,
            open_ended: false,
            foreseen: RefCell::default(),
            script: Vec::new(),
            next: 0,
        }
    }

    /// One of `of` possibilities, by number. Of none or one there is no choice.
    pub(crate) fn choose(&mut self, of: usize) -> usize {
        if of < 2 {
            return 0;
        }
        if self.next == self.script.len() {
            self.script.push(Choice { taken: 0, of });
        }
        let taken = self.script[self.next].taken;
        self.next += 1;
        taken
    }

    /// Turns to the next script. False when all have been run.
    pub(crate) fn next_script(&mut self) -> bool {
        self.next = 0;
        while let Some(last) = self.script.last_mut() {
            last.taken += 1;
            if last.taken < last.of {
                return true;
            }
            self.script.pop();
        }
        false
    }

    /// The name of a task, for messages.
    pub(crate) fn name(&self, task: Task) -> &str {
        self.program.task_name(task)
    }

    /// A rule is broken.
    pub(crate) fn broken(
        &self,
        rule: Rule,
        allowed: impl Into<String>,
        observed: impl Into<String>,
    ) -> Stop {
        Stop::Broken(Violation {
            rule,
            step: self.step,
            allowed: allowed.into(),
            observed: observed.into(),
            history: Vec::new(),
        })
    }

    /// How the call of a step was seen to return, if it was.
    pub(crate) fn peek(&self, step: usize) -> Option<&'a Return> {
        self.seen.returns.iter().find(|back| back.step == step)
    }

    /// How the call that the task is in was seen to return.
    pub(crate) fn peek_of(&self, state: &State, task: Task) -> Option<&'a Return> {
        self.peek(state.step_of(task)?)
    }

    /// Whether nobody sees how the call ends that the task is in.
    pub(crate) fn is_unseen(&self, state: &State, task: Task) -> bool {
        self.open_ended || self.dies(state, task)
    }

    /// Whether the task has been killed, or will be before its call returns.
    pub(crate) fn dies(&self, state: &State, task: Task) -> bool {
        let killed = |end: &(Task, End)| end.0 == task && matches!(end.1, End::Signaled(_));
        state.task(task).killed || self.seen.ended.iter().any(killed)
    }

    /// Notes how the call of a step could return, unless it was seen to.
    pub(crate) fn foresee(&self, step: usize, value: i64, data: Seen) {
        if self.peek(step).is_none() {
            self.foreseen.borrow_mut().add_back(Return { step, value, data });
        }
    }

    /// The number of an inode.
    pub(crate) fn number_of(&self, inode: Inode) -> Option<u64> {
        self.kernel.inodes.get(&inode).copied()
    }

    /// How the task was seen instead of a return: for messages.
    pub(crate) fn seen_instead(&self, task: Task) -> String {
        if self.seen.blocked.contains(&task) {
            return format!("{} is blocked", self.name(task));
        }
        match self.seen.ended.iter().find(|(ended, _)| *ended == task) {
            Some((_, End::Signaled(signal))) => {
                format!("{} was ended by signal {signal}", self.name(task))
            }
            Some((_, End::Exited(status))) => {
                format!("{} exited with status {status}", self.name(task))
            }
            None => format!("{} did not return", self.name(task)),
        }
    }

    /// The call that the task is in returns now, and only so. The call of a task that was killed
    /// can end without being seen to.
    pub(crate) fn returns(
        &mut self,
        state: &mut State,
        task: Task,
        rule: Rule,
        allowed: &[Allowed],
    ) -> Result<Back<'a>, Stop> {
        let step = state.step_of(task).unwrap_or(self.step);
        let who = if step == self.step {
            String::new()
        } else {
            format!(" for {} in step {}", self.name(task), step + 1)
        };
        let likely = |allowed: Option<&Allowed>| match allowed {
            Some(Allowed::Value(value)) => *value,
            Some(Allowed::Errno(errno)) => -i64::from(errno.0),
            Some(Allowed::Fd) => state.lowest_free(task).into(),
            Some(Allowed::Any) | None => 0,
        };
        let Some(back) = self.peek(step) else {
            if self.is_unseen(state, task) {
                let which = self.choose(allowed.len());
                return Ok(Back { value: likely(allowed.get(which)), data: &Seen::Nothing });
            }
            for one in allowed {
                self.foresee(step, likely(Some(one)), Seen::Nothing);
            }
            return Err(self.broken(
                rule,
                format!("{}{who}", either(allowed)),
                self.seen_instead(task),
            ));
        };
        state.matched.insert(step);
        let fits = |one: &Allowed| match *one {
            Allowed::Value(value) => back.value == value,
            Allowed::Fd => i32::try_from(back.value)
                .is_ok_and(|fd| fd >= 0 && !state.task(task).fds.contains_key(&fd)),
            Allowed::Errno(errno) => back.value == -i64::from(errno.0),
            Allowed::Any => back.value >= 0,
        };
        if allowed.iter().any(fits) {
            return Ok(Back { value: back.value, data: &back.data });
        }
        let observed = if allowed.contains(&Allowed::Fd) && back.value >= 0 {
            format!("fd {}, which is in use", back.value)
        } else {
            returned(back.value)
        };
        Err(self.broken(rule, format!("{}{who}", either(allowed)), observed))
    }
}

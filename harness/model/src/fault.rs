//! What an allocation that fails does to a call (F1).

use refan_abi::Errno;
use refan_program::{Call, Task};

use crate::Stop;
use crate::context::Context;
use crate::rules::{F1, R11};
use crate::state::State;
use crate::violation::Allowed;

/// The errors that a call is documented to have for want of memory, beside success: where what it
/// lacked was not needed. None where it is not documented to fail.
fn errors(call: &Call) -> &'static [Errno] {
    match call {
        // The count of groups is memory as well (`inc_fanotify_groups` through `inc_ucount`).
        Call::FanotifyInit { .. } => &[Errno::ENOMEM, Errno::EMFILE],
        // So is that of marks.
        Call::FanotifyMark { .. } => &[Errno::ENOMEM, Errno::ENOSPC],
        Call::Pwrite { .. } | Call::Write { .. } | Call::Fallocate { .. } => {
            &[Errno::ENOMEM, Errno::ENOSPC]
        }
        Call::Close { .. }
        | Call::Exit
        | Call::Fork
        | Call::Signal { .. }
        | Call::GetFl { .. }
        | Call::SetFl { .. }
        | Call::GetFd { .. }
        | Call::SetFd { .. }
        | Call::Fionread { .. } => &[],
        _ => &[Errno::ENOMEM],
    }
}

impl State {
    /// A call begins in which an allocation may fail: whether it fails here, with nothing done.
    pub(crate) fn fails_at_once(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        call: &Call,
    ) -> Result<bool, Stop> {
        self.task_mut(task).fault_is_spent = false;
        let errors: Vec<Allowed> = errors(call).iter().copied().map(Allowed::Errno).collect();
        if !errors.is_empty() && self.fails_here(cx, task) {
            self.finish(cx, task, F1, &errors)?;
            return Ok(true);
        }
        if matches!(call, Call::Exec { .. }) && self.has_failed(cx, task) {
            let why = "an exec fails where there is no way back";
            return Err(Stop::Unjudgeable(why.to_owned()));
        }
        Ok(false)
    }

    /// Whether the allocation that fails in the task's call is one that is made here.
    pub(crate) fn fails_here(&mut self, cx: &mut Context<'_>, task: Task) -> bool {
        let here =
            self.has_failed(cx, task) && !self.task(task).fault_is_spent && cx.choose(2) == 1;
        self.task_mut(task).fault_is_spent |= here;
        here
    }

    /// A queue is released: in a close that does nothing else there is no allocation that could have
    /// failed.
    pub(crate) fn restarts_without_memory(&self, cx: &Context<'_>, task: Task) -> Result<(), Stop> {
        let step = self.step_of(task).filter(|_| self.has_failed(cx, task));
        match step.map(|step| cx.program.steps[step].call.innermost()) {
            Some(Call::Close { .. }) => {
                Err(cx.broken(R11, "the release of the queue allocates nothing", "it does"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn has_failed(&self, cx: &Context<'_>, task: Task) -> bool {
        self.step_of(task).is_some_and(|step| cx.seen.failed.contains(&step))
    }
}

//! What a call names and how it is made.

use bitflags::Flags;
use fastrand::Rng;

use super::draft::Draft;
use crate::binary::step_like;
use crate::{Bind, Call, Fd, Program, Sysctl, Task};

/// A step that has what is wanted.
pub(super) fn a_step(draft: &Draft, has: impl Fn(&Call) -> bool, rng: &mut Rng) -> Option<usize> {
    let fit: Vec<usize> = (0..draft.steps.len()).filter(|at| has(&draft.steps[*at].call)).collect();
    rng.choice(fit)
}

pub(super) fn retarget(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let names = |call: &Call| call.fds().next().is_some() || call.clone().task_mut().is_some();
    let at = a_step(draft, names, rng)?;
    let has_task = draft.steps[at].call.task_mut().is_some();
    let has_fd = draft.steps[at].call.fds().next().is_some();
    if has_task && (!has_fd || rng.bool()) {
        let tasks = draft.tasks_before(at, |_| true);
        let others: Vec<Task> = tasks.into_iter().collect();
        *draft.steps[at].call.task_mut()? = rng.choice(others)?;
        return Some(());
    }
    let fds: Vec<Fd> = draft.steps[at].call.fds().collect();
    let which = rng.usize(..fds.len());
    let new = match fds[which] {
        // Now and then a number that nobody has given out, or that somebody might.
        _ if rng.u8(..16) == 0 => Fd::Number(rng.i32(-1..12)),
        Fd::Var(var) => {
            let same = draft.vars_of(draft.role(var)?);
            Fd::Var(rng.choice(same)?)
        }
        Fd::Number(number) => Fd::Number(number.wrapping_add(rng.i32(-2..=2))),
    };
    *draft.steps[at].call.fds_mut().nth(which)? = new;
    Some(())
}

pub(super) fn renew(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = a_step(draft, |_| true, rng)?;
    let mut bytes = [0u8; 48];
    rng.fill(&mut bytes);
    let new = step_like(&draft.steps[..at], &draft.steps[at], &bytes)?;
    let step = &mut draft.steps[at];
    (step.task, step.start, step.call) = (new.task, new.start, new.call);
    // What it binds keeps its name; a read can bind more or fewer.
    if let (Bind::Events(old), Bind::Events(new)) = (&mut step.bind, new.bind) {
        old.truncate(new.len().max(1));
    }
    Some(())
}

/// Sets or clears one of the flags that have a name.
fn toggle<F: Flags + Copy>(word: &mut F, rng: &mut Rng) {
    let named = F::FLAGS.iter().filter(|flag| !flag.name().is_empty());
    if let Some(flag) = rng.choice(named.collect::<Vec<_>>()) {
        word.toggle(*flag.value());
    }
}

/// A number near this one, twice or half of it, or one of the edges.
fn other_number(number: &mut u32, most: u32, rng: &mut Rng) {
    *number = match rng.u8(..8) {
        0 => 0,
        1 => most,
        2 => number.saturating_mul(2),
        3 => *number / 2,
        4 => rng.u32(..=most),
        5 => number.saturating_sub(1),
        6 => number.saturating_add(1),
        _ => 24 * rng.u32(..4),
    }
    .min(most);
}

pub(super) fn tweak(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let has = |call: &Call| tweaked(&mut call.clone(), &mut Rng::with_seed(0)).is_some();
    let at = a_step(draft, has, rng)?;
    tweaked(&mut draft.steps[at].call, rng)
}

fn tweaked(call: &mut Call, rng: &mut Rng) -> Option<()> {
    match call.innermost_mut() {
        Call::FanotifyInit { flags, .. } if rng.bool() => toggle(flags, rng),
        Call::FanotifyInit { event_flags, .. } => toggle(event_flags, rng),
        Call::FanotifyMark { flags, .. } if rng.bool() => toggle(flags, rng),
        Call::FanotifyMark { mask, .. } => toggle(mask, rng),
        Call::Open { flags, .. } | Call::SetFl { flags, .. } | Call::Reopen { flags, .. } => {
            toggle(flags, rng);
        }
        Call::SetFd { flags, .. } => toggle(flags, rng),
        Call::Write { size, .. } if rng.u8(..4) == 0 => {
            let mut number = size.unwrap_or(8);
            other_number(&mut number, Program::MAX_WRITE, rng);
            *size = rng.bool().then_some(number);
        }
        Call::Write { response, .. } | Call::WriteFault { response, .. } => {
            toggle(response, rng);
        }
        Call::ReadFault { size, good, .. } | Call::ReadMissing { size, good, .. } => {
            other_number(if rng.bool() { size } else { good }, Program::MAX_READ, rng);
            *good = (*good).min(*size);
        }
        Call::Read { size, .. }
        | Call::Pread { size, .. }
        | Call::Truncate { size, .. }
        | Call::Ftruncate { size, .. }
        | Call::Fallocate { size, .. }
        | Call::Mmap { size, .. } => other_number(size, Program::MAX_READ, rng),
        Call::Sysctl { name, value } => {
            *name = rng.choice(Sysctl::ALL)?;
            other_number(value, 200, rng);
        }
        Call::RlimitNofile { more } => *more = rng.u8(..8),
        Call::FailNth { nth } => *nth = rng.u8(1..40),
        Call::Signal { restart, .. } => *restart = !*restart,
        Call::Sleep { ms } => other_number(ms, Program::MAX_SLEEP, rng),
        _ => return None,
    }
    Some(())
}

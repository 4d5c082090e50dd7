//! Model and naive kernel, held against each other.

use refan_program::Program;

use super::brute::can_be;
use super::programs::random_program;
use super::random::Random;
use super::run::{parts, run};
use crate::testing::{MAIN_PID, errno, kernel};
use crate::{Model, Moment, Observation, Seen, Stop};

/// What a comparison came to, where the two agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Agreement {
    /// Both allow what the naive kernel did.
    Right,
    /// Both allow something else.
    Allowed,
    /// Both forbid something else.
    Forbidden,
    /// One of them cannot tell.
    Untold,
}

/// What the model says of what was seen, and of which part.
fn judge(program: &Program, seen: &[Observation]) -> Result<(), (usize, Stop)> {
    let kernel = kernel();
    let mut model = Model::new(&kernel, program, MAIN_PID);
    for (number, (part, seen)) in parts(program).into_iter().zip(seen).enumerate() {
        model.step(part, seen).map_err(|stop| (number, stop))?;
    }
    Ok(())
}

/// Has the model judge what the naive kernel does with a program of several groups and blocks.
///
/// # Errors
/// What happened, where the model forbids it.
pub fn judge_right(mut random: Random) -> Result<Agreement, String> {
    let program = random_program(&mut random, false);
    let seen = run(&program, &mut random);
    match judge(&program, &seen) {
        Ok(()) => Ok(Agreement::Right),
        Err((_, Stop::Unjudgeable(_))) => Ok(Agreement::Untold),
        Err((part, stop)) => {
            let seen = &seen[part];
            Err(format!("part {part} of\n{program}\n{seen:#?}\n{stop:#?}"))
        }
    }
}

/// Has the history of a small program, right or with something changed, judged by the model and by
/// trying every order.
///
/// # Errors
/// The history, where one allows it and the other does not.
pub fn judge_changed(mut random: Random) -> Result<Agreement, String> {
    let program = random_program(&mut random, true);
    let mut parts = run(&program, &mut random);
    // What comes behind the block says more about it, but costs the trial of all orders.
    let changed = !random.one_in(4);
    if changed && !change(&mut random, &program, &mut parts) {
        return Ok(Agreement::Untold);
    }
    let Some(expected) = can_be(&program, &parts) else { return Ok(Agreement::Untold) };
    if !expected && !changed {
        return Err(format!("the trial of all orders of\n{program}\n{parts:#?}"));
    }
    match judge(&program, &parts) {
        Ok(()) if expected => {}
        Err((_, Stop::Broken(_))) if !expected => {}
        Err((_, Stop::Unjudgeable(_))) => return Ok(Agreement::Untold),
        other => {
            let last = parts.last();
            return Err(format!(
                "allowed: {expected}, the model: {other:#?}\n{program}\n{last:#?}"
            ));
        }
    }
    Ok(match (changed, expected) {
        (false, _) => Agreement::Right,
        (true, true) => Agreement::Allowed,
        (true, false) => Agreement::Forbidden,
    })
}

/// Something else than what was seen in the last part.
fn change(random: &mut Random, program: &Program, seen: &mut [Observation]) -> bool {
    let last = seen.last_mut().expect("a part");
    if !last.order.is_empty() && random.one_in(3) {
        let at = random.below(last.order.len().saturating_sub(1));
        if at + 1 < last.order.len() {
            last.order.swap(at, at + 1);
        }
        return is_well_formed(program, last);
    }
    let count = last.returns.len();
    if count == 0 {
        return false;
    }
    let back = &mut last.returns[random.below(count)];
    let call = program.steps[back.step].call.innermost();
    if matches!(call, refan_program::Call::Kill { .. } | refan_program::Call::Poll { .. }) {
        return false;
    }
    match &mut back.data {
        Seen::Events(events) => match random.below(3) {
            0 if events.len() > 1 => events.swap(0, 1),
            1 if events.len() > 1 => {
                events.pop();
                back.value -= 24;
            }
            _ => {
                let other = random.below(program.tasks.len()) as i32;
                events[0].event.pid = MAIN_PID + other;
            }
        },
        Seen::Nothing => {
            let values =
                [0, 8, 24, errno("ENOENT"), errno("EBUSY"), errno("EAGAIN"), errno("EBADF")];
            back.value = values[random.below(values.len())];
        }
        Seen::Bytes(_) | Seen::Text(_) => return false,
    }
    true
}

/// Whether a task still returns from what it has entered before it enters something else.
fn is_well_formed(program: &Program, seen: &Observation) -> bool {
    let mut inside: Vec<usize> = Vec::new();
    let mut gone = Vec::new();
    let caller = |step: usize| program.steps[step].caller();
    let block: Vec<usize> = seen
        .order
        .iter()
        .filter_map(|moment| match moment {
            Moment::Enter(step) => Some(*step),
            _ => None,
        })
        .collect();
    for moment in &seen.order {
        match moment {
            Moment::Enter(step) => {
                if inside.iter().any(|other| caller(*other) == caller(*step))
                    || gone.contains(&caller(*step))
                {
                    return false;
                }
                inside.push(*step);
            }
            Moment::Return(step) => {
                if (block.contains(step) && !inside.contains(step)) || gone.contains(&caller(*step))
                {
                    return false;
                }
                inside.retain(|other| other != step);
            }
            Moment::Ended(task) => {
                if inside.iter().any(|step| caller(*step) == Some(*task)) {
                    return false;
                }
                gone.push(Some(*task));
            }
        }
    }
    // In the order of the steps.
    let mut last = std::collections::BTreeMap::new();
    block.iter().all(|step| last.insert(caller(*step), *step).is_none_or(|before| before < *step))
}

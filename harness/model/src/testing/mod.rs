//! A right kernel, simulated: what the model allows is taken for what was seen.

pub mod naive;

use std::collections::BTreeMap;

use refan_abi::{ApiValues, Errno};
use refan_program::{Bind, Call, Program, Task};

use crate::model::obstacle;
use crate::state::Life;
use crate::{End, Kernel, Model, Observation, Stop};

/// Pid of the task `main` of a simulated run; a task's pid is this and its number.
pub const MAIN_PID: i32 = 10;

/// A kernel that has the feature, of whose files nothing is known.
pub fn kernel() -> Kernel {
    Kernel {
        api: ApiValues { init_flag: 0x8000, open_queue_ioctl: 0x46f0 },
        restartable: true,
        inodes: BTreeMap::new(),
    }
}

/// What a call returns that fails so.
pub(crate) fn errno(name: &str) -> i64 {
    let errno: Errno = name.parse().expect("an errno");
    -i64::from(errno.0)
}

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;

/// Runs a program on a kernel that does what the contract allows first.
///
/// # Errors
/// Where the model cannot tell what that is.
pub fn simulate(kernel: &Kernel, program: &Program) -> Result<Vec<Observation>, Stop> {
    match simulate_to_end(kernel, program) {
        (seen, None) => Ok(seen),
        (_, Some(stop)) => Err(stop),
    }
}

/// The same up to where it cannot tell, and why it stopped there.
pub fn simulate_to_end(kernel: &Kernel, program: &Program) -> (Vec<Observation>, Option<Stop>) {
    let mut model = Model::new(kernel, program, MAIN_PID);
    let mut seen = Vec::new();
    for step in 0..program.steps.len() {
        match simulate_step(&mut model, program, step) {
            Ok(one) => seen.push(one),
            Err(stop) => return (seen, Some(stop)),
        }
    }
    (seen, None)
}

fn simulate_step(
    model: &mut Model<'_>,
    program: &Program,
    step: usize,
) -> Result<Observation, Stop> {
    if program.steps[step].block.is_some() {
        return Err(Stop::Unjudgeable("calls at the same time are not simulated".to_owned()));
    }
    let before = model.states[..1].to_vec();
    let mut seen = Observation {
        skipped: obstacle(&before[0], &program.steps[step])
            .map(|why| (step, why))
            .into_iter()
            .collect(),
        ..Observation::default()
    };
    if let (None, Bind::Task(task)) = (seen.skipped(step), &program.steps[step].bind) {
        seen.started.push((*task, MAIN_PID + i32::from(task.0)));
    }
    loop {
        model.states = before.clone();
        let Err(stop) = model.step(step..step + 1, &seen) else { break };
        let lacks = std::mem::take(&mut model.foreseen);
        match (lacks.back, lacks.asleep) {
            (Some(back), _) => seen.returns.push(back),
            (None, Some(asleep)) if asleep != seen.blocked => seen.blocked = asleep,
            _ => return Err(stop),
        }
    }
    for (number, (old, new)) in (0u8..).zip(before[0].tasks.iter().zip(&model.states[0].tasks)) {
        let task = Task(number);
        let was_there = old.life != Life::Ended || old.call.is_some();
        if was_there && new.life == Life::Ended && new.call.is_none() {
            // A signal with a handler ends programs that were executed, whose call never returns.
            let of = old.call.as_ref().map(|call| call.step);
            let unreturned = !seen.returns.iter().any(|back| Some(back.step) == of);
            let end = match program.steps[step].call {
                Call::Kill { task: victim } if victim == task => End::Signaled(SIGKILL),
                Call::Signal { task: to, .. } if to == task && unreturned => End::Signaled(SIGUSR1),
                _ if old.signaled && unreturned => End::Signaled(SIGUSR1),
                _ => End::Exited(0),
            };
            seen.ended.push((task, end));
        }
    }
    Ok(seen)
}

//! A right kernel, simulated: what the model allows is taken for what was seen.

pub mod naive;

use std::collections::BTreeMap;

use refan_abi::{ApiValues, Errno};
use refan_program::Program;

pub use crate::outcomes::MAIN_PID;
use crate::{Kernel, Model, Observation, Stop};

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
    let mut seen = model.beginning_of(&(step..step + 1));
    loop {
        model.states = before.clone();
        let Err(stop) = model.explain(&(step..step + 1), &seen) else { break };
        let lacks = std::mem::take(&mut model.foreseen);
        match lacks.first {
            (Some(back), _) => seen.returns.push(back),
            (None, Some(asleep)) if asleep != seen.blocked => seen.blocked = asleep,
            _ => return Err(stop),
        }
    }
    seen.ended = model.ended_since(&before[0], &(step..step + 1), &seen);
    Ok(seen)
}

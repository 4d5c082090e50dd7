//! Programs at random: the same seed and number give the same program.

use refan_abi::InitFlags;
use refan_program::{Call, Fd, Offset, Program, Step, Sysctl, Task};

/// What programs to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any calls, one after another.
    Sequential,
    /// Any calls, blocks among them.
    Blocks,
    /// Calls one after another on groups without the feature under test.
    Classic,
}

/// One in so many programs needs what not every kernel has.
const WITH_FACILITIES: u64 = 4;

/// The program of this number.
pub fn program(kind: Kind, seed: u64, number: u64) -> Program {
    // Any odd factor keeps programs of neighbouring seeds apart.
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    loop {
        let mut program = refan_program::mutate::random(&mut rng);
        let is_common = !number.is_multiple_of(WITH_FACILITIES);
        for step in &mut program.steps {
            change(kind, step);
            if is_common {
                spare(step);
            }
        }
        let has_blocks = program.steps.iter().any(|step| step.block.is_some());
        if program.validate().is_ok() && has_blocks == (kind == Kind::Blocks) {
            return program;
        }
    }
}

fn change(kind: Kind, step: &mut Step) {
    if kind != Kind::Blocks {
        (step.block, step.start) = (None, None);
        if matches!(step.call, Call::Kill { .. }) {
            step.task = Task::MAIN;
        }
    }
    if let Some(start) = step.start.as_mut().filter(|start| start.at == Offset::Sweep) {
        // A sweep is many runs of one program.
        start.at = Offset::Nanoseconds(0);
    }
    match step.call.innermost_mut() {
        Call::FanotifyInit { flags, .. } if kind == Kind::Classic => {
            flags.remove(InitFlags::RESTARTABLE);
        }
        // What such a group's events are read from.
        call @ Call::OpenQueue { .. } if kind == Kind::Classic => {
            let Call::OpenQueue { control: fd } = *call else { return };
            *call = Call::Dup { fd };
        }
        _ => {}
    }
}

/// Puts a call that every kernel has in the place of one that needs a facility: one that gives the
/// same kind of name.
fn spare(step: &mut Step) {
    let call = step.call.innermost_mut();
    if call.needs().is_none() {
        return;
    }
    *call = match *call {
        Call::OpenQueue32 { control } => Call::OpenQueue { control },
        Call::ReadMissing { fd, size, .. } => Call::Read { fd, size },
        Call::RecvFd { socket: fd } => Call::Dup { fd },
        Call::Socket => Call::Dup { fd: Fd::Number(refan_abi::NO_FD) },
        Call::SendFd { fd, .. } => Call::Poll { fd },
        Call::Sysctl { value, .. } => Call::Sysctl { name: Sysctl::MaxQueuedEvents, value },
        _ => Call::Poll { fd: Fd::Number(refan_abi::NO_FD) },
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use refan_abi::ApiValues;
    use refan_model::testing::{MAIN_PID, simulate_to_end};
    use refan_model::{Kernel, Model, Reached, Stop};

    use super::*;

    /// On a simulated kernel, which stops where the model cannot tell.
    #[test]
    fn most_programs_are_judged_and_many_go_deep() {
        const PROGRAMS: u64 = 300;
        let api = ApiValues { init_flag: 0x8000, open_queue_ioctl: 0x46f0 };
        let kernel = Kernel { api, restartable: true, inodes: BTreeMap::new() };
        let mut unjudged = 0;
        let mut reached = BTreeMap::<Reached, u64>::new();
        for number in 0..PROGRAMS {
            let program = program(Kind::Sequential, 1, number);
            let (seen, stop) = simulate_to_end(&kernel, &program);
            unjudged += u64::from(matches!(stop, Some(Stop::Unjudgeable(_))));
            let mut model = Model::new(&kernel, &program, MAIN_PID);
            for (step, seen) in seen.iter().enumerate() {
                if model.step(step..step + 1, seen).is_err() {
                    break;
                }
            }
            let came = &model.traversed().reached;
            came.iter().for_each(|what| *reached.entry(*what).or_default() += 1);
        }
        assert!(unjudged * 100 <= PROGRAMS, "{unjudged}");
        let share = |what| 100 * reached.get(&what).copied().unwrap_or_default() / PROGRAMS;
        let shares = Reached::ALL.map(|what| (what, share(what)));
        let least = [80, 45, 15, 8, 20, 10];
        assert!(shares.iter().zip(least).all(|((_, share), least)| *share >= least), "{shares:?}");
    }

    /// Starts are on the scale of a call.
    #[test]
    fn most_starts_are_within_a_call() {
        let starts: Vec<u32> = (0..200)
            .flat_map(|number| program(Kind::Blocks, 1, number).steps)
            .filter_map(|step| match step.start?.at {
                Offset::Nanoseconds(at) => Some(at),
                Offset::Sweep => None,
            })
            .collect();
        let short = starts.iter().filter(|at| (200..=65_000).contains(*at)).count();
        assert!(short * 2 > starts.len() && starts.len() > 200, "{short} of {}", starts.len());
    }

    #[test]
    fn programs_are_of_their_kind_and_always_the_same() {
        for kind in [Kind::Sequential, Kind::Blocks, Kind::Classic] {
            for number in 0..50 {
                let program = program(kind, 1, number);
                assert_eq!(program, super::program(kind, 1, number));
                let blocks = program.steps.iter().any(|step| step.block.is_some());
                assert_eq!(blocks, kind == Kind::Blocks);
                assert!(kind != Kind::Classic || !program.is_restartable());
            }
        }
        assert_ne!(program(Kind::Blocks, 1, 0), program(Kind::Blocks, 2, 0));
    }
}

//! Programs at random: the same seed and number give the same program.

use refan_abi::InitFlags;
use refan_program::{Call, Program, Step, Task};

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

/// Bytes that a program is decoded from: few make no deep state, many make a long run.
const BYTES: std::ops::Range<usize> = 40..400;

/// The program of this number.
pub fn program(kind: Kind, seed: u64, number: u64) -> Program {
    // Any odd factor keeps programs of neighbouring seeds apart.
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    loop {
        let bytes: Vec<u8> = (0..rng.usize(BYTES)).map(|_| rng.u8(..)).collect();
        let mut program = Program::decode(&bytes);
        for step in &mut program.steps {
            change(kind, step);
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
    let call = match &mut step.call {
        Call::Spawn { call } => call,
        call => call,
    };
    match call {
        Call::FanotifyInit { flags, .. } if kind == Kind::Classic => {
            flags.remove(InitFlags::RESTARTABLE);
        }
        // What other flags do is the file system's affair, and the model says nothing of it.
        Call::Open { flags, .. } => {
            *flags = flags.iter_names().map(|(_, flag)| flag).collect();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

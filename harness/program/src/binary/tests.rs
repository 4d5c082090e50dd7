use proptest::prelude::*;

use super::{DecodeError, VERSION};
use crate::testing::{bare_programs, programs};
use crate::{Program, parse};

proptest! {
    #[test]
    fn any_bytes_are_a_valid_program(bytes: Vec<u8>) {
        prop_assert_eq!(Program::decode(&bytes).validate(), Ok(()));
    }

    #[test]
    fn encode_and_decode_are_inverse(program in programs()) {
        let bytes = program.encode();
        prop_assert_eq!(&Program::decode(&bytes), &program);
        prop_assert_eq!(Program::decode_exact(&bytes), Ok(program));
    }

    #[test]
    fn print_and_parse_are_inverse(program in programs()) {
        prop_assert_eq!(program.validate(), Ok(()));
        let text = program.to_string();
        prop_assert_eq!(parse(&text), Ok(program), "{}", text);
    }

    #[test]
    fn a_bare_program_stays_itself(program in bare_programs()) {
        prop_assert_eq!(program.bare(), program);
    }

    #[test]
    fn a_damaged_form_is_a_program_too(program in programs(), at: usize, byte: u8) {
        let mut bytes = program.encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        prop_assert_eq!(Program::decode(&bytes).validate(), Ok(()));
        // A program, or an error; never another program's form.
        if let Ok(program) = Program::decode_exact(&bytes) {
            prop_assert_eq!(program.encode(), bytes);
        }
    }
}

#[test]
fn short_bytes_are_short_programs() {
    assert_eq!(Program::decode(&[]), Program::new());
    assert_eq!(
        Program::decode(&[VERSION, 0]).to_string(),
        "c = fanotify_init(CLASS_CONTENT | \
        RESTARTABLE, O_RDONLY)\n"
    );
}

#[test]
fn only_this_versions_forms_are_exact() {
    assert_eq!(Program::decode_exact(&[]), Err(DecodeError::Empty));
    assert_eq!(Program::decode_exact(&[9, 0]), Err(DecodeError::Version(9)));
    assert_eq!(Program::decode_exact(&[VERSION, 0]), Err(DecodeError::NotCanonical(2)));
    assert_eq!(Program::decode_exact(&[VERSION]), Ok(Program::new()));
}

#[test]
fn random_bytes_have_blocks() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let programs: Vec<Program> = (0..500)
        .map(|_| bare_programs().new_tree(&mut runner).expect("a program").current())
        .collect();
    let steps = || programs.iter().flat_map(|program| &program.steps);
    let started = steps().filter(|step| step.start.is_some()).count();
    let swept = programs.iter().filter(|program| program.swept().is_some()).count();
    let concurrent = programs.iter().filter(|program| {
        let callers = |at| program.steps[program.block_of(at)].iter().filter_map(|s| s.caller());
        (0..program.steps.len()).any(|at| callers(at).any(|task| Some(task) != callers(at).next()))
    });
    let concurrent = concurrent.count();
    assert!(concurrent > 100 && started > 100 && swept > 20, "{concurrent} {started} {swept}");
}

//! Runs on a simulated kernel that does what the model allows.

use proptest::prelude::*;
use refan_model::testing::simulate;
use refan_model::{Observation, Seen};
use refan_program::testing::bare_programs;
use refan_program::{Program, parse};

use super::judge;
use crate::judge::Judgement;
use crate::judge::simulated::{API, kernel, trace};

/// What a right kernel does with a program.
pub(super) fn simulated(program: &Program) -> Vec<Observation> {
    simulate(&kernel(), program).unwrap_or_else(|stop| panic!("{stop:?}"))
}

/// The repository's scenarios, with their files.
fn scenarios() -> Vec<(String, Program)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
    let mut found = Vec::new();
    for suite in std::fs::read_dir(folder).expect("the scenarios").flatten() {
        for file in std::fs::read_dir(suite.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|extension| extension == "scn") {
                let text = std::fs::read_to_string(file.path()).expect("a scenario");
                let name = file.path().display().to_string();
                let program = parse(&text).unwrap_or_else(|e| panic!("{}", e.render(&name, &text)));
                found.push((name, program));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

#[test]
fn every_scenario_expects_what_the_model_allows() {
    let mut wrong = Vec::new();
    // What comes of calls at the same time is not foreseen.
    let has_block = |program: &Program| program.steps.iter().any(|step| step.block.is_some());
    for (name, program) in scenarios().into_iter().filter(|(_, program)| !has_block(program)) {
        let judgement = match simulate(&kernel(), &program) {
            Ok(steps) => judge(&program, &trace(&program, &steps), API, true),
            Err(stop) => panic!("{name}: {stop:?}"),
        };
        if judgement != Judgement::Held {
            wrong.push(format!("{name}: {judgement:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_the_model_foresees_holds(program in bare_programs()) {
        if let Ok(steps) = simulate(&kernel(), &program) {
            let judgement = judge(&program, &trace(&program, &steps), API, true);
            prop_assert_eq!(judgement, Judgement::Held);
        }
    }

    #[test]
    fn a_result_that_nothing_allows_does_not_hold(
        program in bare_programs(),
        which in any::<prop::sample::Index>(),
    ) {
        // ENOANO, which no call of fanotify returns.
        const NEVER: i64 = -55;
        let Ok(mut steps) = simulate(&kernel(), &program) else { return Ok(()) };
        let returns: Vec<(usize, usize)> = steps
            .iter()
            .enumerate()
            .flat_map(|(step, seen)| (0..seen.returns.len()).map(move |back| (step, back)))
            .collect();
        if returns.is_empty() {
            return Ok(());
        }
        let (step, back) = returns[which.index(returns.len())];
        let back = &mut steps[step].returns[back];
        back.value = NEVER;
        back.data = Seen::Nothing;
        let judgement = judge(&program, &trace(&program, &steps), API, true);
        prop_assert_ne!(judgement, Judgement::Held);
    }
}

//! What the mutators find on a right kernel when nothing but the model's features guides them.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use refan_program::Program;
use refan_program::mutate::{crossed, mutated};

use crate::testing::{MAIN_PID, kernel, simulate_to_end};
use crate::{Model, Reached, Traversed};

/// What a run on a right kernel goes through, up to where it cannot be foreseen.
fn run(program: &Program) -> Traversed {
    let kernel = kernel();
    let (seen, _) = simulate_to_end(&kernel, program);
    let mut model = Model::new(&kernel, program, MAIN_PID);
    for (step, seen) in seen.iter().enumerate() {
        if model.step(step..step + 1, seen).is_err() {
            break;
        }
    }
    model.traversed().clone()
}

/// A campaign from an empty corpus: how many of the runs reached each thing, and how many features
/// there were.
fn search(seed: u64, runs: u32) -> (BTreeMap<Reached, u32>, usize) {
    let mut rng = Rng::with_seed(seed);
    let mut corpus = vec![Program::new()];
    let mut features = BTreeSet::new();
    let mut reached = BTreeMap::new();
    for _ in 0..runs {
        let parent = &corpus[rng.usize(..corpus.len())];
        let program = if rng.u8(..8) == 0 {
            crossed(parent, &corpus[rng.usize(..corpus.len())], &mut rng)
        } else {
            mutated(parent, &mut rng)
        };
        let came = run(&program);
        for what in &came.reached {
            *reached.entry(*what).or_default() += 1;
        }
        let known = features.len();
        features.extend(came.features);
        if features.len() > known {
            corpus.push(program);
        }
    }
    (reached, features.len())
}

/// Chance makes single campaigns differ by a factor; what many of them come to does not.
#[test]
fn empty_corpora_come_to_restarts_soon() {
    const CAMPAIGNS: u64 = 6;
    const RUNS: u32 = 600;
    let mut all: BTreeMap<Reached, u32> = BTreeMap::new();
    let mut known = 0;
    for seed in 1..=CAMPAIGNS {
        let (reached, features) = search(seed, RUNS);
        for (what, often) in reached {
            *all.entry(what).or_default() += often;
        }
        known += features as u64;
    }
    let runs = RUNS * CAMPAIGNS as u32;
    assert!(Reached::ALL.iter().all(|what| all.get(what) > Some(&(runs / 200))), "{all:?}");
    assert!(all[&Reached::Restart] * 25 > runs, "{all:?}");
    assert!(known > 500 * CAMPAIGNS, "{known}");
}

/// The same numbers in every run and build: a corpus stays what it is.
#[test]
fn features_are_the_same_always() {
    let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
        fanotify_mark(c, ADD, OPEN_PERM, f0)\nq = open_queue(c)\n";
    let program = refan_program::parse(text).expect("a program");
    let features = run(&program).features;
    assert_eq!(features, run(&program).features);
    assert_eq!(features.len(), 6, "{features:?}");
    let longer = refan_program::parse(&format!("{text}open_queue(c)\n")).expect("a program");
    // The state is the same, the call comes to something else.
    assert_eq!(run(&longer).features.difference(&features).count(), 1);
}

#[test]
fn orders_of_calls_at_the_same_time_differ() {
    use crate::Moment::{Enter, Return};
    use crate::{Observation, Seen};
    let text = "d = fork()\npar {\n    poll(0)\n    d: fionread(0)\n}\n";
    let program = refan_program::parse(text).expect("a program");
    let features = |order: [crate::Moment; 4]| -> BTreeSet<u32> {
        let back = |step| crate::Return { step, value: 0, data: Seen::Nothing };
        let seen = Observation {
            returns: vec![back(1), back(2)],
            order: order.to_vec(),
            ..Observation::default()
        };
        let state = crate::state::State::new(2, 0);
        crate::feature::of_step(&state, &state, &program, 1, &seen).collect()
    };
    let orders = [
        [Enter(1), Return(1), Enter(2), Return(2)],
        [Enter(1), Enter(2), Return(1), Return(2)],
        [Enter(1), Enter(2), Return(2), Return(1)],
        [Enter(2), Enter(1), Return(2), Return(1)],
        [Enter(2), Enter(1), Return(1), Return(2)],
        [Enter(2), Return(2), Enter(1), Return(1)],
    ];
    let all: BTreeSet<BTreeSet<u32>> = orders.into_iter().map(features).collect();
    assert_eq!(all.len(), orders.len());
}

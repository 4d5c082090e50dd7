//! What comes of any change is a program, and changes alone make all that programs are made of.

use std::collections::BTreeMap;

use fastrand::Rng;
use proptest::prelude::*;
use refan_abi::EventMask;

use super::{Mutation, crossed, crossover, mutate, mutated};
use crate::testing::programs;
use crate::{Call, Offset, Program, Sysctl};

proptest! {
    #[test]
    fn a_changed_program_is_valid_and_has_its_form(program in programs(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        for kind in Mutation::ALL {
            let Some(changed) = kind.apply(&program, &mut rng) else { continue };
            prop_assert_eq!(changed.validate(), Ok(()), "{:?}", kind);
            prop_assert_eq!(Program::decode_exact(&changed.encode()), Ok(changed));
        }
    }

    #[test]
    fn of_two_programs_comes_a_third(one in programs(), other in programs(), seed: u64) {
        let crossed = crossed(&one, &other, &mut Rng::with_seed(seed));
        prop_assert_eq!(crossed.validate(), Ok(()));
        prop_assert_eq!(Program::decode_exact(&crossed.encode()), Ok(crossed));
    }

    #[test]
    fn hooks_keep_to_their_room(bytes: Vec<u8>, more in 0usize..200, seed: u32) {
        let mut data = bytes.clone();
        data.resize(bytes.len() + more, 0);
        let max = data.len();
        let len = mutate(&mut data, bytes.len(), max, seed);
        prop_assert!(len <= max);
        prop_assert!(len == 0 || Program::decode_exact(&data[..len]).is_ok());
        let mut again = bytes.clone();
        again.resize(max, 0);
        prop_assert_eq!(mutate(&mut again, bytes.len(), max, seed), len);
        prop_assert_eq!(&again[..len], &data[..len]);
        let mut out = vec![0; more];
        let len = crossover(&bytes, &again, &mut out, seed);
        prop_assert!(len == 0 || Program::decode_exact(&out[..len]).is_ok());
    }
}

#[test]
fn every_kind_changes_something() {
    let mut rng = Rng::with_seed(7);
    let mut done = BTreeMap::<Mutation, u32>::new();
    let mut program = Program::new();
    for _ in 0..400 {
        for kind in Mutation::ALL {
            *done.entry(kind).or_default() += u32::from(kind.apply(&program, &mut rng).is_some());
        }
        program = mutated(&program, &mut rng);
    }
    assert!(Mutation::ALL.iter().all(|kind| done.get(kind) > Some(&100)), "{done:?}");
}

#[test]
fn changes_alone_make_everything() {
    let mut rng = Rng::with_seed(3);
    let mut steps = Vec::new();
    for _ in 0..200 {
        let mut program = Program::new();
        for _ in 0..30 {
            program = mutated(&program, &mut rng);
        }
        steps.extend(program.steps);
    }
    let count = |is: &dyn Fn(&Call) -> bool| steps.iter().filter(|step| is(&step.call)).count();
    let missing: Vec<&str> = Call::NAMES
        .into_iter()
        .filter(|name| {
            count(&|call| call.name() == Some(name) || call.innermost().name() == Some(name)) == 0
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {}", steps.len());
    let blocks = steps.iter().filter(|step| step.block.is_some()).count();
    let at = |is: &dyn Fn(Offset) -> bool| {
        steps.iter().filter(|step| step.start.is_some_and(|start| is(start.at))).count()
    };
    let (timed, swept) = (at(&|at| at != Offset::Sweep), at(&|at| at == Offset::Sweep));
    let queues = count(&|call| matches!(call, Call::OpenQueue { .. }));
    assert!(
        blocks > 300 && timed > 50 && swept > 0 && queues > 300,
        "{blocks} {timed} {swept} {queues}"
    );
}

/// In how many of these programs there is a step with such a call.
fn with(programs: &[Program], is: impl Fn(&Call) -> bool) -> usize {
    let has = |program: &&Program| program.steps.iter().any(|step| is(step.call.innermost()));
    programs.iter().filter(has).count()
}

#[test]
fn beginnings_lead_to_contents_and_into_transit() {
    let mut rng = Rng::with_seed(5);
    let begun = (0..1600).filter_map(|_| Mutation::Prelude.apply(&Program::new(), &mut rng));
    let begun: Vec<Program> = begun.collect();
    let asks = |call: &Call, of| matches!(call, Call::FanotifyMark { mask, .. } if *mask == of);
    let counts = [
        with(&begun, |call| asks(call, EventMask::PRE_ACCESS)),
        with(&begun, |call| asks(call, EventMask::ACCESS_PERM)),
        with(&begun, |call| matches!(call, Call::Pread { .. })),
        with(&begun, |call| matches!(call, Call::Fallocate { .. })),
        with(&begun, |call| matches!(call, Call::ReadMissing { .. })),
    ];
    assert!(counts.iter().all(|count| *count > 2), "{counts:?} of {}", begun.len());
}

#[test]
fn daemons_die_with_events_in_transit() {
    let mut rng = Rng::with_seed(8);
    let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                fanotify_mark(c, ADD, OPEN_PERM, f0)\n\
                d = fork()\n\
                d: q = open_queue(c)\n\
                d: close(c)\n\
                a = spawn open(f0, O_RDONLY)\n\
                d: e = read_missing(q, 4096, 0)\n";
    let program = crate::parse(text).expect("a program");
    let deaths = (0..200).filter_map(|_| Mutation::DaemonDeath.apply(&program, &mut rng));
    let deaths: Vec<Program> = deaths.collect();
    let behind_read = |is: &dyn Fn(&Call) -> bool| {
        let read = |step: &crate::Step| matches!(step.call, Call::ReadMissing { .. });
        let follows = |program: &&Program| {
            let steps = program.steps.iter().skip_while(|step| !read(step)).map(|step| &step.call);
            let calls: Vec<&Call> = steps.skip(1).take(2).collect();
            matches!(calls[..], [death, Call::PageIn { .. }] if is(death))
        };
        deaths.iter().filter(follows).count()
    };
    let shut_down = behind_read(&|call| matches!(call, Call::Close { .. }));
    let killed = behind_read(&|call| matches!(call, Call::Kill { .. }));
    assert!(shut_down > 20 && killed > 10, "{shut_down} {killed} of {}", deaths.len());
}

#[test]
fn allocations_fail_where_events_are_made_and_restarted() {
    let mut rng = Rng::with_seed(9);
    let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                fanotify_mark(c, ADD, OPEN_PERM, f0)\n\
                q = open_queue(c)\n\
                a = spawn open(f0, O_RDONLY)\n\
                e = read(q)\n\
                close(q)\n";
    let program = crate::parse(text).expect("a program");
    let failing = (0..200).filter_map(|_| Mutation::FailNth.apply(&program, &mut rng));
    let failing: Vec<Program> = failing.collect();
    let before = |is: &dyn Fn(&Call) -> bool| {
        let follows = |pair: &[crate::Step]| {
            matches!(pair[0].call, Call::FailNth { .. })
                && pair[0].task == pair[1].task
                && is(&pair[1].call)
        };
        failing.iter().filter(|program| program.steps.windows(2).any(follows)).count()
    };
    let opens = before(&|call| matches!(call, Call::Open { .. }));
    let closes = before(&|call| matches!(call, Call::Close { .. }));
    assert!(opens > 40 && closes > 40, "{opens} {closes} of {}", failing.len());
}

#[test]
fn limits_are_where_they_are_reached() {
    let mut rng = Rng::with_seed(6);
    let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                fanotify_mark(c, ADD, OPEN_PERM, f0)\n\
                c2 = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n";
    let program = crate::parse(text).expect("a program");
    let limited = (0..200).filter_map(|_| Mutation::Limit.apply(&program, &mut rng));
    let limited: Vec<Program> = limited.collect();
    let sets = |limit: Sysctl, most: u32| {
        with(
            &limited,
            |call| matches!(call, Call::Sysctl { name, value } if *name == limit && *value <= most),
        )
    };
    let counts = [
        sets(Sysctl::MaxUserGroups, 1),
        sets(Sysctl::MaxUserMarks, 0),
        sets(Sysctl::MaxQueuedEvents, 3),
        with(&limited, |call| matches!(call, Call::RlimitNofile { more: 0 })),
    ];
    assert!(counts.iter().all(|count| *count > 10), "{counts:?} of {}", limited.len());
}

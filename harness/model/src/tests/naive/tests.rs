//! The model against the naive kernel.

use refan_program::Program;

use super::brute::can_be;
use super::programs::random_program;
use super::run::{Random, parts, run};
use crate::tests::tape::{MAIN_PID, errno, kernel};
use crate::{Model, Observation, Seen, Stop};

/// What the model says of what was seen, and of which part.
fn judge(program: &Program, seen: &[Observation]) -> Result<(), (usize, Stop)> {
    let kernel = kernel();
    let mut model = Model::new(&kernel, program, MAIN_PID);
    for (number, (part, seen)) in parts(program).into_iter().zip(seen).enumerate() {
        model.step(part, seen).map_err(|stop| (number, stop))?;
    }
    Ok(())
}

/// Runs random programs and has them judged; how many could not be.
fn agree_on(first: u64, programs: u64) -> u64 {
    let mut unjudgeable = 0;
    for seed in first..first + programs {
        let mut random = Random(seed);
        let program = random_program(&mut random, false);
        let seen = run(&program, &mut random);
        match judge(&program, &seen) {
            Ok(()) => {}
            Err((_, Stop::Unjudgeable(_))) => unjudgeable += 1,
            Err((part, stop)) => {
                let seen = &seen[part];
                panic!("seed {seed}: part {part} of\n{program}\n{seen:#?}\n{stop:#?}")
            }
        }
    }
    unjudgeable
}

/// How many programs a test takes: so many times its everyday number as the variable
/// `REFAN_PROGRAMS_TIMES` says.
fn programs(everyday: u64) -> u64 {
    let times = std::env::var("REFAN_PROGRAMS_TIMES").map_or(1, |times| {
        times.parse().expect("REFAN_PROGRAMS_TIMES is how many times as many programs to try")
    });
    everyday * times
}

/// Ten thousand programs, shared among as many threads as there are.
#[test]
fn the_model_allows_what_the_naive_kernel_does() {
    const SHARES: u64 = 4;
    let share = programs(2_500);
    let unjudgeable: u64 = std::thread::scope(|scope| {
        let shares: Vec<_> =
            (0..SHARES).map(|at| scope.spawn(move || agree_on(at * share, share))).collect();
        shares.into_iter().map(|share| share.join().expect("a share that agrees")).sum()
    });
    assert!(unjudgeable < SHARES * share / 50, "{unjudgeable} programs");
}

/// Something else than what was seen in the last part.
fn mutate(random: &mut Random, program: &Program, seen: &mut [Observation]) -> bool {
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
    use crate::Moment;
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

/// Has small histories, right and changed ones, judged by the model and by trying every order; how
/// many of each kind there were: right, changed and allowed, changed and forbidden.
fn compare(programs: u64) -> [u64; 3] {
    let mut kinds = [0; 3];
    for seed in 0..programs {
        let mut random = Random(seed ^ 0x5eed_0000_0000);
        let program = random_program(&mut random, true);
        let mut parts = run(&program, &mut random);
        // What comes behind the block says more about it, but costs the trial of all orders.
        let changed = !random.one_in(4);
        if changed && !mutate(&mut random, &program, &mut parts) {
            continue;
        }
        let Some(expected) = can_be(&program, &parts) else { continue };
        assert!(expected || changed, "seed {seed}: the trial of\n{program}\n{parts:#?}");
        match judge(&program, &parts) {
            Ok(()) if expected => {}
            Err((_, Stop::Broken(_))) if !expected => {}
            Err((_, Stop::Unjudgeable(_))) => continue,
            other => panic!(
                "seed {seed}: allowed: {expected}, the model: {other:#?}\n{program}\n{:#?}",
                parts.last()
            ),
        }
        kinds[if !changed { 0 } else { 2 - usize::from(expected) }] += 1;
    }
    kinds
}

#[test]
fn the_model_forbids_what_no_order_explains() {
    let [right, allowed, forbidden] = compare(programs(2000));
    assert!(right > 100 && allowed > 30 && forbidden > 200, "{right} {allowed} {forbidden}");
}

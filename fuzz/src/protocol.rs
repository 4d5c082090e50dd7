//! What the host takes from a guest that is not trusted: it ends with a verdict whatever the region
//! holds, and what is no whole run is never held.

use std::collections::BTreeSet;

use refan_model::testing::simulate_to_end;
use refan_program::{Bind, Call, Program};
use refan_runner::judge::simulated::{API, kernel, trace};
use refan_runner::judge::{Judgement, history, is_whole, judge};
use refan_wire::{Job, Record, Region, check_answered, decode_trace, format, put_job, take_trace};

use crate::memory::Memory;

/// Bytes of the region: the trace begins at 1 MiB.
const REGION: usize = (1 << 20) + (1 << 16);

/// Where the guest's own words of the region's head begin, and where they end.
const GUEST_HEAD: std::ops::Range<usize> = 32..48;

thread_local! {
    static MEMORY: Memory = {
        let memory = Memory::new(REGION);
        format(&memory);
        memory
    };
}

/// Runs a program on a simulated kernel, changes what its guest has written, and judges that. Half
/// of the bytes are the program, the others say what is changed.
pub fn check(data: &[u8]) {
    // Without a program, the bytes are the trace.
    let _ = decode_trace(data);
    let (program, changes) = data.split_at(data.len() / 2);
    let program = Program::decode(program);
    let mut records = trace(&program, &simulate_to_end(&kernel(), &program).0);
    let changes = reorder(&mut records, changes);
    MEMORY.with(|memory| {
        put_job(memory, 1, &Job::Account).expect("a job that fits");
        let written = memory.as_guest(|guest| {
            records.iter().try_for_each(|record| guest.record(record))?;
            guest.answer(1);
            Ok::<(), refan_wire::TraceFull>(())
        });
        assert!(written.is_some());
        change(memory, changes);
        let _ = check_answered(memory, 1);
        let Ok(Ok(records)) = take_trace(memory).map(|bytes| decode_trace(&bytes)) else { return };
        take(&program, &records);
    });
}

/// Judges what the guest says of a program.
fn take(program: &Program, records: &[Record]) {
    for restartable in [true, false] {
        let (judgement, _) = judge(program, records, API, restartable);
        if judgement == Judgement::Held {
            assert_eq!(missing(program, records), None, "{program}\n{records:#?}");
        }
    }
    if is_whole(program, records) {
        assert_eq!(missing(program, records), None, "{program}\n{records:#?}");
    }
    history(program, records);
}

/// Leaves out, doubles or swaps records; what is left of the bytes.
fn reorder<'a>(records: &mut Vec<Record>, changes: &'a [u8]) -> &'a [u8] {
    let [kind, one, two, rest @ ..] = changes else { return changes };
    let at = |byte: &u8| usize::from(*byte) % records.len();
    let (one, two) = (at(one), at(two));
    match kind % 4 {
        0 => drop(records.remove(one)),
        1 => records.insert(two, records[one].clone()),
        2 => records.swap(one, two),
        _ => {}
    }
    rest
}

/// Puts bytes of the fuzzer in the place of some that the guest has written.
fn change(memory: &Memory, changes: &[u8]) {
    let trace = 1 << 20..memory.len();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        // Few of the trace's bytes are far from its beginning.
        let at = match place.checked_sub(0xff00) {
            Some(head) => GUEST_HEAD.start + head % GUEST_HEAD.len(),
            None => (trace.start + place % (1 << 12)).min(trace.end - 1),
        };
        memory.store(at, &change[2..]);
    }
}

/// What a run cannot be without, read off the records in the plainest way.
fn missing(program: &Program, records: &[Record]) -> Option<String> {
    let has = |wanted: &dyn Fn(&Record) -> bool| records.iter().filter(|one| wanted(one)).count();
    let once = |count: usize, what: &str| (count != 1).then(|| format!("{what} {count} times"));
    let ended = has(&|one| matches!(one, Record::End { .. }));
    let began = has(&|one| matches!(one, Record::Begin { .. }));
    let counted = has(&|one| matches!(one, Record::Accounts { leaks } if leaks.is_empty()));
    let broken = has(&|one| matches!(one, Record::Broken { .. } | Record::Stuck { .. }));
    let started: BTreeSet<u8> = records
        .iter()
        .filter_map(|one| match one {
            Record::TaskStarted { task, .. } => Some(*task),
            _ => None,
        })
        .collect();
    let gone: BTreeSet<u8> = records
        .iter()
        .filter_map(|one| match one {
            Record::TaskEnded { task, .. } => Some(*task),
            _ => None,
        })
        .collect();
    once(began, "begins")
        .or_else(|| once(ended, "ends"))
        .or_else(|| once(counted, "is counted"))
        .or_else(|| (broken > 0).then(|| "breaks".to_owned()))
        .or_else(|| (started != gone).then(|| format!("{started:?} start, {gone:?} end")))
        .or_else(|| (0..program.steps.len()).find_map(|step| unmade(program, records, step)))
}

/// A step that was neither made nor left out, or that nobody looked at.
fn unmade(program: &Program, records: &[Record], step: usize) -> Option<String> {
    let is = |number: &u16| usize::from(*number) == step;
    let made = program.steps[step].clone();
    let skipped = records.iter().any(|one| matches!(one, Record::Skipped { step, .. } if is(step)));
    let entered = records.iter().any(|one| matches!(one, Record::Enter { step, .. } if is(step)));
    let quiet = records.iter().any(|one| matches!(one, Record::Quiet { step, .. } if is(step)));
    let makes_call = !matches!(made.call, Call::Await { .. } | Call::Sleep { .. });
    if makes_call && made.block.is_none() && !skipped && !entered {
        return Some(format!("step {} is not made", step + 1));
    }
    if made.block.is_none() && !skipped && !quiet {
        return Some(format!("nobody looks after step {}", step + 1));
    }
    let child = match made.bind {
        Bind::Task(child) if !skipped && made.block.is_none() => child,
        _ => return None,
    };
    let born = |one: &Record| matches!(one, Record::TaskStarted { task, .. } if *task == child.0);
    // A fork can fail.
    let spawned = matches!(made.call, Call::Spawn { .. });
    (spawned && !records.iter().any(born)).then(|| format!("step {} makes no task", step + 1))
}

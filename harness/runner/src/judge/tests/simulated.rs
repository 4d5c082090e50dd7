//! Runs on a simulated kernel that does what the model allows.

use std::collections::BTreeSet;

use proptest::prelude::*;
use refan_model::testing::{MAIN_PID, simulate};
use refan_model::{End, Kernel, Object, Observation, Seen, Skipped};
use refan_program::testing::bare_programs;
use refan_program::{Bind, Call, Inode, Program, Task, parse};
use refan_wire::{Data, Record, Skip, TaskEnd};

use super::judge;
use super::tape::{API, id};
use crate::judge::Judgement;

/// What a right kernel does with a program.
pub(super) fn simulated(program: &Program) -> Vec<Observation> {
    simulate(&kernel(), program).unwrap_or_else(|stop| panic!("{stop:?}"))
}

fn kernel() -> Kernel {
    let inodes = Inode::all().map(|inode| (inode, id(inode).ino)).collect();
    Kernel { api: API, restartable: true, inodes }
}

/// The trace of a simulated run.
pub(super) fn trace(program: &Program, steps: &[Observation]) -> Vec<Record> {
    let mut records = vec![Record::Begin { at: 0 }];
    for inode in Inode::all() {
        records.push(Record::File { path: inode.to_string(), id: id(inode) });
    }
    records.push(Record::TaskStarted { task: 0, pid: MAIN_PID });
    let mut calls = vec![0; steps.len()];
    let mut alive = BTreeSet::from([Task::MAIN]);
    for (number, (step, seen)) in program.steps.iter().zip(steps).enumerate() {
        if let Some(why) = seen.skipped(number) {
            let why = if why == Skipped::Busy { Skip::Busy } else { Skip::Gone };
            records.push(Record::Skipped { step: number as u16, why });
            continue;
        }
        for (task, pid) in &seen.started {
            records.push(Record::TaskStarted { task: task.0, pid: *pid });
            alive.insert(*task);
        }
        let caller = match (&step.call, &step.bind) {
            (Call::Await { .. } | Call::Sleep { .. }, _) => None,
            (Call::Kill { .. } | Call::KernelLog, _) => Some(Task::MAIN),
            (Call::Spawn { .. }, Bind::Task(task)) => Some(*task),
            _ => Some(step.task),
        };
        if let Some(task) = caller {
            calls[number] = task.0;
            records.push(Record::Enter { step: number as u16, task: task.0, at: 0 });
        }
        for back in &seen.returns {
            records.push(Record::Exit {
                step: back.step as u16,
                task: calls[back.step],
                at: 0,
                ret: back.value,
                data: match program.steps[back.step].call {
                    Call::KernelLog => by_number(program, &back.data),
                    _ => data(&back.data),
                },
            });
        }
        for (task, end) in &seen.ended {
            alive.remove(task);
            let end = match end {
                End::Exited(status) => TaskEnd::Exited(*status),
                End::Signaled(signal) => TaskEnd::Signaled(*signal),
            };
            records.push(Record::TaskEnded { task: task.0, at: 0, end });
        }
        let blocked = seen.blocked.iter().map(|task| task.0).collect();
        records.push(Record::Quiet { step: number as u16, at: 0, blocked });
    }
    for task in alive {
        records.push(Record::TaskEnded { task: task.0, at: 0, end: TaskEnd::Signaled(9) });
    }
    records.push(Record::End { at: 0 });
    records.push(Record::Accounts { leaks: Vec::new() });
    records
}

/// The agent tells tasks by number.
fn by_number(program: &Program, seen: &Seen) -> Data {
    let Seen::Text(names) = seen else { return data(seen) };
    let number = |name: &str| match program.tasks.iter().position(|task| task == name) {
        Some(task) => task.to_string(),
        None => name.to_owned(),
    };
    Data::Text(names.split(", ").map(number).collect::<Vec<_>>().join(", "))
}

fn data(seen: &Seen) -> Data {
    match seen {
        Seen::Nothing => Data::None,
        Seen::Bytes(bytes) => Data::Bytes(bytes.clone()),
        Seen::Text(text) => Data::Text(text.clone()),
        Seen::Events(events) => Data::Events {
            bytes: events.iter().flat_map(|seen| encode(&seen.event)).collect(),
            objects: events
                .iter()
                .map(|seen| match seen.object {
                    Object::File(inode) => Some(id(inode)),
                    _ => None,
                })
                .collect(),
        },
    }
}

fn encode(event: &refan_abi::Event) -> Vec<u8> {
    use refan_abi::InfoRecord;
    let mut bytes = event.len.to_ne_bytes().to_vec();
    bytes.extend([3, 0, 24, 0]);
    bytes.extend(event.mask.bits().to_ne_bytes());
    bytes.extend(event.fd.to_ne_bytes());
    bytes.extend(event.pid.to_ne_bytes());
    for info in &event.info {
        match info {
            InfoRecord::Pidfd(fd) => {
                bytes.extend([4, 0, 8, 0]);
                bytes.extend(fd.to_ne_bytes());
            }
            InfoRecord::Range { offset, count } => {
                bytes.extend([6, 0, 24, 0, 0, 0, 0, 0]);
                bytes.extend(offset.to_ne_bytes());
                bytes.extend(count.to_ne_bytes());
            }
            InfoRecord::Other { .. } => {}
        }
    }
    bytes
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

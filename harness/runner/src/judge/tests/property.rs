//! Whatever the guest sends, judging ends with a verdict.

use proptest::collection::vec;
use proptest::prelude::*;
use refan_program::Program;
use refan_program::testing::{bare_programs, programs};
use refan_wire::{Data, FileId, Record, Skip, TaskEnd};

use super::judge;
use crate::judge::simulated::{API, id};
use crate::judge::{Judgement, history};

fn data() -> impl Strategy<Value = Data> {
    let bytes = || vec(any::<u8>(), 0..80);
    let file = prop_oneof![
        Just(Some(id("f0".parse().expect("a path")))),
        Just(None),
        (0u64..200).prop_map(|ino| Some(FileId { dev: 1, ino })),
    ];
    prop_oneof![
        Just(Data::None),
        bytes().prop_map(Data::Bytes),
        (bytes(), vec(file, 0..3)).prop_map(|(bytes, objects)| Data::Events { bytes, objects }),
        "[a-z:\\[\\]]{0,20}".prop_map(Data::Text),
    ]
}

fn small() -> impl Strategy<Value = i64> {
    prop_oneof![-40i64..40, any::<i64>()]
}

fn record() -> impl Strategy<Value = Record> {
    let (step, task) = (0u16..12, 0u8..4);
    prop_oneof![
        Just(Record::Begin { at: 0 }),
        (0u64..200)
            .prop_map(|ino| Record::File { path: "f0".to_owned(), id: FileId { dev: 1, ino } }),
        (task.clone(), any::<i32>()).prop_map(|(task, pid)| Record::TaskStarted { task, pid }),
        (step.clone(), task.clone()).prop_map(|(step, task)| Record::Enter { step, task, at: 0 }),
        (step.clone(), task.clone(), small(), data())
            .prop_map(|(step, task, ret, data)| Record::Exit { step, task, at: 0, ret, data }),
        step.clone().prop_map(|step| Record::Instant { step, at: 0 }),
        step.clone().prop_map(|step| Record::Skipped { step, why: Skip::Busy }),
        task.clone().prop_map(|task| Record::TaskEnded { task, at: 0, end: TaskEnd::Exited(0) }),
        (step, vec(task.clone(), 0..3)).prop_map(|(step, blocked)| Record::Quiet {
            step,
            at: 0,
            blocked
        }),
        vec(task, 0..2).prop_map(|tasks| Record::Stuck { tasks }),
        Just(Record::End { at: 0 }),
        Just(Record::Accounts { leaks: Vec::new() }),
        Just(Record::Broken { what: String::new() }),
    ]
}

/// A trace that is well-formed, of a kernel that answers anything.
fn run(program: &Program, answers: &[(i64, Data)]) -> Vec<Record> {
    let mut records = vec![Record::Begin { at: 0 }, Record::TaskStarted { task: 0, pid: 10 }];
    let mut started = vec![0u8];
    for (number, step) in program.steps.iter().enumerate() {
        let number = number as u16;
        let task = match (&step.call, &step.bind) {
            (refan_program::Call::Await { .. }, _) => None,
            (refan_program::Call::Kill { .. }, _) => Some(0),
            (refan_program::Call::Spawn { .. }, refan_program::Bind::Task(task)) => Some(task.0),
            _ => Some(step.task.0),
        };
        if let refan_program::Bind::Task(task) = step.bind {
            records.push(Record::TaskStarted { task: task.0, pid: 10 + i32::from(task.0) });
            started.push(task.0);
        }
        let mut blocked = Vec::new();
        if let Some(task) = task {
            records.push(Record::Enter { step: number, task, at: 0 });
            let (ret, data) = answers.get(usize::from(number)).cloned().unwrap_or((0, Data::None));
            let ret = match &data {
                Data::Bytes(bytes) | Data::Events { bytes, .. } => bytes.len() as i64,
                _ => ret,
            };
            if ret == 7 {
                blocked.push(task);
            } else {
                records.push(Record::Exit { step: number, task, at: 0, ret, data });
            }
        }
        records.push(Record::Quiet { step: number, at: 0, blocked });
    }
    for task in started {
        records.push(Record::TaskEnded { task, at: 0, end: TaskEnd::Signaled(9) });
    }
    records.push(Record::End { at: 0 });
    records.push(Record::Accounts { leaks: Vec::new() });
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_records_make_it_panic(program in programs(), records in vec(record(), 0..40)) {
        let judgement = judge(&program, &records, API, true);
        let whole = records.iter().any(|r| matches!(r, Record::Accounts { .. }))
            && records.iter().any(|r| matches!(r, Record::Begin { .. }));
        if !whole {
            prop_assert_ne!(judgement, Judgement::Held);
        }
        history(&program, &records);
    }

    #[test]
    fn no_answers_make_it_panic(
        program in bare_programs(),
        answers in vec((small(), data()), 0..40),
    ) {
        judge(&program, &run(&program, &answers), API, true);
        judge(&program, &run(&program, &answers), API, false);
    }
}

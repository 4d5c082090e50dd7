//! Traces of simulated runs, as a right guest would write them.

use std::collections::BTreeSet;

use refan_abi::ApiValues;
use refan_model::testing::MAIN_PID;
use refan_model::{End, Kernel, Object, Observation, Seen, Skipped};
use refan_program::{Bind, Call, Inode, Program, Task};
use refan_wire::{Data, FileId, Record, Skip, TaskEnd};

/// The feature's numbers.
pub const API: ApiValues = ApiValues { init_flag: 0x8000, open_queue_ioctl: 0x46f0 };

/// What `stat(2)` says of a file.
pub fn id(inode: Inode) -> FileId {
    let ino = Inode::all().position(|one| one == inode).unwrap_or_default() as u64 + 100;
    FileId { dev: 1, ino }
}

/// The kernel of a simulated run: it has the feature, and its files have the identities of the trace.
pub fn kernel() -> Kernel {
    let inodes = Inode::all().map(|inode| (inode, id(inode).ino)).collect();
    Kernel { api: API, restartable: true, inodes }
}

/// The trace of a simulated run.
pub fn trace(program: &Program, steps: &[Observation]) -> Vec<Record> {
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

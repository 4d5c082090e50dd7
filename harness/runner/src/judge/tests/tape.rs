//! Traces, written as a kernel would make them.

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::{Errno, EventMask};
use refan_model::testing::MAIN_PID;
use refan_program::{Bind, Call, Inode, Program, Task, parse};
use refan_wire::{Data, FileId, Record, TaskEnd};

use super::judge;
use crate::judge::Judgement;
use crate::judge::simulated::{API, id};

/// One event as it is read.
pub(super) struct Read<'a> {
    pub mask: &'a str,
    pub path: &'a str,
    /// The accessor, as the number of a task.
    pub by: Option<u8>,
    pub fd: i32,
    /// What follows the metadata.
    pub info: Vec<u8>,
}

/// A trace that is being written, step by step.
#[derive(Clone)]
pub(super) struct Tape {
    pub program: Program,
    pub records: Vec<Record>,
    blocked: BTreeSet<u8>,
    calls: BTreeMap<u16, u8>,
    alive: BTreeSet<u8>,
    step: u16,
    open: bool,
    at: u64,
}

impl Tape {
    /// Begins the run of a program.
    pub(super) fn of(text: &str) -> Self {
        let program = parse(text).unwrap_or_else(|error| panic!("{}", error.render("test", text)));
        let mut tape = Self {
            program,
            records: vec![Record::Begin { at: 1 }],
            blocked: BTreeSet::new(),
            calls: BTreeMap::new(),
            alive: BTreeSet::new(),
            step: 0,
            open: false,
            at: 1,
        };
        for inode in Inode::all() {
            tape.records.push(Record::File { path: inode.to_string(), id: id(inode) });
        }
        tape.start(0);
        tape
    }

    fn now(&mut self) -> u64 {
        self.at += 1000;
        self.at
    }

    fn start(&mut self, task: u8) {
        self.records.push(Record::TaskStarted { task, pid: MAIN_PID + i32::from(task) });
        self.alive.insert(task);
    }

    /// Ends the step that is open.
    fn quiet(&mut self) {
        if self.open {
            let at = self.now();
            let blocked = self.blocked.iter().copied().collect();
            self.records.push(Record::Quiet { step: self.step, at, blocked });
            self.step += 1;
            self.open = false;
        }
    }

    /// Begins the next step; says who makes its call.
    fn enter(&mut self) -> u8 {
        self.quiet();
        self.open = true;
        let step = self.program.steps[usize::from(self.step)].clone();
        let task = match (&step.call, &step.bind) {
            (Call::Spawn { .. }, Bind::Task(task)) => {
                self.start(task.0);
                *task
            }
            (Call::Kill { .. }, _) => Task::MAIN,
            (Call::Await { .. }, _) => return 0,
            _ => step.task,
        };
        let at = self.now();
        self.records.push(Record::Enter { step: self.step, task: task.0, at });
        self.calls.insert(self.step, task.0);
        if let (Call::Fork, Bind::Task(child)) = (&step.call, &step.bind) {
            self.start(child.0);
        }
        task.0
    }

    fn exit(&mut self, step: u16, ret: i64, data: Data) {
        let task = self.calls[&step];
        let at = self.now();
        self.blocked.remove(&task);
        self.records.push(Record::Exit { step, task, at, ret, data });
        if matches!(self.program.steps[usize::from(step)].call, Call::Spawn { .. }) {
            self.ends(task, TaskEnd::Exited(0));
        }
    }

    fn ends(&mut self, task: u8, end: TaskEnd) {
        let at = self.now();
        self.alive.remove(&task);
        self.blocked.remove(&task);
        self.records.push(Record::TaskEnded { task, at, end });
    }

    /// The next step's call returns this and writes nothing.
    pub(super) fn ret(self, value: i64) -> Self {
        self.data(value, Data::None)
    }

    /// The next step's call fails.
    pub(super) fn errno(self, name: &str) -> Self {
        let errno: Errno = name.parse().expect("an errno");
        self.ret(-i64::from(errno.0))
    }

    /// The next step's call returns this and writes that.
    pub(super) fn data(mut self, value: i64, data: Data) -> Self {
        self.enter();
        self.exit(self.step, value, data);
        self
    }

    /// The next step's call blocks.
    pub(super) fn blocks(mut self) -> Self {
        let task = self.enter();
        self.blocked.insert(task);
        self
    }

    /// The next step's call reads one event.
    pub(super) fn event(self, mask: &str, path: &str, by: u8, fd: i32) -> Self {
        self.events(&[Read { mask, path, by: Some(by), fd, info: Vec::new() }])
    }

    /// The next step's call reads these events.
    pub(super) fn events(self, events: &[Read<'_>]) -> Self {
        let (bytes, objects) = encode(events);
        self.data(bytes.len() as i64, Data::Events { bytes, objects })
    }

    /// The next step is an await, or a kill that finds its victim.
    pub(super) fn looks(mut self) -> Self {
        self.enter();
        self
    }

    /// The next step kills a task.
    pub(super) fn kills(mut self, victim: u8) -> Self {
        self.enter();
        self.ends(victim, TaskEnd::Signaled(9));
        self.exit(self.step, 0, Data::None);
        self
    }

    /// In the current step an earlier call returns, too.
    pub(super) fn also(mut self, step: u16, value: i64) -> Self {
        self.exit(step, value, Data::None);
        self
    }

    /// In the current step an earlier read returns an event, too.
    pub(super) fn also_event(mut self, step: u16, event: Read<'_>) -> Self {
        let (bytes, objects) = encode(&[event]);
        self.exit(step, bytes.len() as i64, Data::Events { bytes, objects });
        self
    }

    /// Ends the run: what is left is killed.
    pub(super) fn end(mut self) -> Self {
        self.quiet();
        for task in self.alive.clone() {
            self.ends(task, TaskEnd::Signaled(9));
        }
        let at = self.now();
        self.records.push(Record::End { at });
        self.records.push(Record::Accounts { leaks: Vec::new() });
        self
    }

    /// The judgement on a kernel that has the feature.
    pub(super) fn judge(&self) -> Judgement {
        judge(&self.program, &self.records, API, true)
    }

    /// The kernel is right.
    pub(super) fn holds(self) {
        assert_eq!(self.end().judge(), Judgement::Held);
    }

    /// The kernel breaks this rule, seen in this step (from 1).
    pub(super) fn breaks(self, rule: &str, step: usize) {
        match self.end().judge() {
            Judgement::Broken(violation) => {
                assert_eq!(
                    (violation.rule.to_string().as_str(), violation.step + 1),
                    (rule, step),
                    "{violation:?}"
                );
            }
            other => panic!("{other:?} where {rule} is broken"),
        }
    }
}

fn encode(events: &[Read<'_>]) -> (Vec<u8>, Vec<Option<FileId>>) {
    let mut bytes = Vec::new();
    let mut objects = Vec::new();
    for event in events {
        let mask = event
            .mask
            .split('|')
            .map(|name| EventMask::from_name(name.trim()).expect("a mask"))
            .fold(EventMask::empty(), |mask, flag| mask | flag);
        let pid = event.by.map_or(0, |task| MAIN_PID + i32::from(task));
        bytes.extend((24 + event.info.len() as u32).to_ne_bytes());
        bytes.extend([3, 0, 24, 0]);
        bytes.extend(mask.bits().to_ne_bytes());
        bytes.extend(event.fd.to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(&event.info);
        objects.push((event.fd >= 0).then(|| id(event.path.parse().expect("a path"))));
    }
    (bytes, objects)
}

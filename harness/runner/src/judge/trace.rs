//! From the guest's records to what was observed of each step and block.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use refan_abi::Events;
use refan_model::{End, Moment, Object, Observation, Return, Seen, SeenEvent, Skipped};
use refan_program::{Call, Inode, Program, Task};
use refan_wire::{Data, FileId, Leak, Record, Skip, TaskEnd};

/// A trace, as far as it makes sense.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// What was observed, from the first step on.
    pub parts: Vec<Part>,
    /// What was observed behind the last part, where the trace breaks off.
    pub rest: Observation,
    /// Steps whose calls were made.
    pub entered: BTreeSet<usize>,
    /// Inode numbers of the program's files.
    pub inodes: BTreeMap<Inode, u64>,
    /// Pid of the task `main`.
    pub main: i32,
    /// Pids of all tasks.
    pub pids: BTreeMap<Task, i32>,
    /// Tasks that did not end when they were killed after the last step.
    pub stuck: Option<BTreeSet<Task>>,
    /// What the program left in the kernel, once that was counted.
    pub leaks: Option<Vec<Leak>>,
    /// Why the trace is not that of a whole run.
    pub fault: Option<String>,
}

/// What was observed of a step, or of all steps of a block.
#[derive(Debug)]
pub(super) struct Part {
    pub steps: Range<usize>,
    pub seen: Observation,
}

impl Trace {
    /// The part that a step stands in, if the trace gets as far.
    pub(super) fn part_of(&self, step: usize) -> Option<usize> {
        let part = self.parts.partition_point(|part| part.steps.end <= step);
        (part < self.parts.len()).then_some(part)
    }

    /// Reads records until their end, or until they stop making sense.
    pub(super) fn read(program: &Program, records: &[Record]) -> Self {
        let mut reader = Reader::new(program);
        let mut fault = None;
        for (number, record) in records.iter().enumerate() {
            if let Err(what) = reader.take(record) {
                fault = Some(match record {
                    Record::Broken { .. } => what,
                    _ => format!("record {} of the trace: {what}", number + 1),
                });
                break;
            }
        }
        let fault = fault.or_else(|| reader.missing());
        Self { fault, rest: reader.now, ..reader.trace }
    }
}

/// How a call stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    Entered(Task),
    Returned,
}

struct Reader<'a> {
    program: &'a Program,
    trace: Trace,
    begun: bool,
    ended: bool,
    files: HashMap<FileId, Inode>,
    calls: BTreeMap<usize, Stand>,
    gone: BTreeSet<Task>,
    now: Observation,
    /// When that began, in nanoseconds.
    since: u64,
}

impl<'a> Reader<'a> {
    fn new(program: &'a Program) -> Self {
        Self {
            program,
            trace: Trace::default(),
            begun: false,
            ended: false,
            files: HashMap::new(),
            calls: BTreeMap::new(),
            gone: BTreeSet::new(),
            now: Observation::default(),
            since: 0,
        }
    }

    /// The step or block that is being made, as long as there are any.
    fn current(&self) -> Option<Range<usize>> {
        let next = self.trace.parts.last().map_or(0, |part| part.steps.end);
        (next < self.program.steps.len()).then(|| self.program.block_of(next))
    }

    /// The same, if this step is made there.
    fn current_with(&self, step: usize) -> Option<Range<usize>> {
        self.current().filter(|current| current.contains(&step))
    }

    fn is_block(&self, steps: &Range<usize>) -> bool {
        self.program.steps[steps.start].block.is_some()
    }

    /// Notes that something happened, where the order counts.
    fn moment(&mut self, moment: Moment) {
        if self.current().is_some_and(|current| self.is_block(&current)) {
            self.now.order.push(moment);
        }
    }

    /// What there was to be seen is seen.
    fn end_part(&mut self, steps: Range<usize>) {
        let seen = std::mem::take(&mut self.now);
        self.trace.parts.push(Part { steps, seen });
    }

    fn take(&mut self, record: &Record) -> Result<(), String> {
        if let Record::Broken { what } = record {
            return Err(format!("the agent could not do its work: {what}"));
        }
        if let (Record::Accounts { leaks, .. }, true, None) =
            (record, self.ended, &self.trace.leaks)
        {
            self.trace.leaks = Some(leaks.clone());
            return Ok(());
        }
        if self.ended || self.trace.stuck.is_some() {
            return Err("something follows the end".to_owned());
        }
        if !self.begun && !matches!(record, Record::Begin { .. }) {
            return Err("something precedes the beginning".to_owned());
        }
        match record {
            Record::Probe { .. } => Err("an answer to a probe".to_owned()),
            Record::Unreferenced { .. } => Err("an answer about leaks".to_owned()),
            Record::Counters { .. } => Err("an answer about counters".to_owned()),
            Record::Done { .. } => Err("a count of what was done".to_owned()),
            Record::Wrote { .. } | Record::Paused { .. } | Record::Over { .. } => {
                Err("word of a command".to_owned())
            }
            Record::Accounts { .. } => Err("the accounting precedes the end".to_owned()),
            Record::Begin { .. } if self.begun => Err("a second beginning".to_owned()),
            Record::Begin { at, .. } => {
                self.begun = true;
                self.since = *at;
                Ok(())
            }
            Record::File { path, id } => self.file(path, *id),
            Record::TaskStarted { task, pid } => self.started(*task, *pid),
            Record::Enter { step, task, .. } => self.enter(usize::from(*step), *task),
            Record::Exit { step, task, ret, data, .. } => {
                self.exit(usize::from(*step), *task, *ret, data)
            }
            Record::Instant { step, .. }
            | Record::Rested { step, .. }
            | Record::Preempts { step, .. }
            | Record::Path { step, .. } => self.of_block(usize::from(*step)),
            Record::Failed { step } => self.failed(usize::from(*step)),
            Record::Skipped { step, why } => self.skipped(usize::from(*step), *why),
            Record::TaskEnded { task, end, .. } => self.task_ended(*task, *end),
            Record::Quiet { step, at, blocked } => {
                let took = at.saturating_sub(std::mem::replace(&mut self.since, *at)) / 1_000_000;
                self.now.took = u32::try_from(took).unwrap_or(u32::MAX);
                self.quiet(usize::from(*step), blocked)
            }
            Record::Stuck { tasks } => {
                if self.current().is_some() {
                    return Err("the end came before the last step".to_owned());
                }
                let tasks = tasks.iter().map(|task| self.task(*task)).collect::<Result<_, _>>()?;
                self.trace.stuck = Some(tasks);
                Ok(())
            }
            Record::End { .. } => self.end(),
            Record::Broken { .. } => Ok(()),
        }
    }

    fn task(&self, number: u8) -> Result<Task, String> {
        if usize::from(number) < self.program.tasks.len() {
            Ok(Task(number))
        } else {
            Err(format!("task {number}, which the program does not have"))
        }
    }

    fn name(&self, task: Task) -> &str {
        self.program.task_name(task)
    }

    fn file(&mut self, path: &str, id: FileId) -> Result<(), String> {
        let inode: Inode = path.parse().map_err(|()| format!("{path:?} is no file"))?;
        let known = self.files.insert(id, inode).is_some();
        if self.trace.inodes.insert(inode, id.ino).is_some() || known {
            return Err(format!("{inode} is the same as another file, or comes twice"));
        }
        Ok(())
    }

    fn started(&mut self, task: u8, pid: i32) -> Result<(), String> {
        let task = self.task(task)?;
        if pid <= 0 || self.trace.pids.values().any(|other| *other == pid) {
            return Err(format!("{} has the pid {pid}", self.name(task)));
        }
        if self.trace.pids.insert(task, pid).is_some() {
            return Err(format!("{} starts twice", self.name(task)));
        }
        if task == Task::MAIN {
            self.trace.main = pid;
        } else {
            self.now.started.push((task, pid));
        }
        Ok(())
    }

    /// Who makes the call of a step.
    fn caller(&self, step: usize) -> Option<Task> {
        let step = self.program.steps.get(step)?;
        match step.call {
            Call::Kill { .. } | Call::KernelLog => step.caller().or(Some(Task::MAIN)),
            _ => step.caller(),
        }
    }

    /// Whether a step cannot be made yet, or not any more, as an earlier one of its branch has not
    /// returned.
    fn is_held_up(&self, current: &Range<usize>, step: usize) -> bool {
        let mut before = current.start..step;
        before.any(|earlier| {
            self.caller(earlier) == self.caller(step)
                && self.calls.get(&earlier) != Some(&Stand::Returned)
        })
    }

    fn enter(&mut self, step: usize, task: u8) -> Result<(), String> {
        let task = self.task(task)?;
        let current = self.current_with(step).filter(|current| !self.is_held_up(current, step));
        if current.is_none() || self.caller(step) != Some(task) || self.now.skipped(step).is_some()
        {
            return Err(format!("{} enters step {} out of turn", self.name(task), step + 1));
        }
        if !self.trace.pids.contains_key(&task) || self.gone.contains(&task) {
            return Err(format!("{}, which is not there, makes a call", self.name(task)));
        }
        if self.calls.insert(step, Stand::Entered(task)).is_some() {
            return Err(format!("step {} is entered twice", step + 1));
        }
        self.trace.entered.insert(step);
        self.moment(Moment::Enter(step));
        Ok(())
    }

    /// What is told of a step belongs to the block that is being made.
    fn of_block(&self, step: usize) -> Result<(), String> {
        match self.current_with(step) {
            Some(current) if self.is_block(&current) => Ok(()),
            _ => Err(format!("step {} is told of as one of a block, out of turn", step + 1)),
        }
    }

    fn exit(&mut self, step: usize, task: u8, ret: i64, data: &Data) -> Result<(), String> {
        let task = self.task(task)?;
        if self.calls.get(&step) != Some(&Stand::Entered(task)) {
            return Err(format!("step {} returns, which was not going on", step + 1));
        }
        self.calls.insert(step, Stand::Returned);
        let mut data = self.seen(ret, data)?;
        if let (Seen::Text(text), Some(Call::KernelLog)) =
            (&mut data, self.program.steps.get(step).map(|step| &step.call))
        {
            *text = self.by_name(text);
        }
        self.now.returns.push(Return { step, value: ret, data });
        self.moment(Moment::Return(step));
        Ok(())
    }

    fn failed(&mut self, step: usize) -> Result<(), String> {
        if !matches!(self.calls.get(&step), Some(Stand::Entered(_))) {
            return Err(format!("an allocation fails in step {}, which does not go on", step + 1));
        }
        self.now.failed.insert(step);
        Ok(())
    }

    /// A list of tasks by number as one by name. What is no task's number stays as it is.
    fn by_name(&self, numbers: &str) -> String {
        let name = |number: &str| match number.parse().ok().and_then(|task| self.task(task).ok()) {
            Some(task) => self.name(task).to_owned(),
            None => number.to_owned(),
        };
        numbers.split(", ").map(name).collect::<Vec<_>>().join(", ")
    }

    fn seen(&self, ret: i64, data: &Data) -> Result<Seen, String> {
        let length = |len: usize| {
            if i64::try_from(len) == Ok(ret) {
                Ok(())
            } else {
                Err(format!("a call returned {ret} with {len} bytes"))
            }
        };
        Ok(match data {
            Data::None => Seen::Nothing,
            Data::Bytes(bytes) => {
                length(bytes.len())?;
                Seen::Bytes(bytes.clone())
            }
            Data::Text(text) => Seen::Text(text.clone()),
            Data::Events { bytes, objects } => {
                length(bytes.len())?;
                // The kernel has put them there, so it is the model that has something to say to them.
                let Ok(events) = Events::new(bytes).collect::<Result<Vec<_>, _>>() else {
                    return Ok(Seen::Bytes(bytes.clone()));
                };
                if events.len() != objects.len() {
                    let count = (events.len(), objects.len());
                    return Err(format!("{} events with {} objects", count.0, count.1));
                }
                let objects = objects.iter().map(|object| match object {
                    None => Object::None,
                    Some(id) => {
                        self.files.get(id).map_or(Object::Foreign, |inode| Object::File(*inode))
                    }
                });
                let seen = events.into_iter().zip(objects);
                Seen::Events(seen.map(|(event, object)| SeenEvent { event, object }).collect())
            }
        })
    }

    fn skipped(&mut self, step: usize, why: Skip) -> Result<(), String> {
        let Some(current) = self.current_with(step).filter(|_| {
            self.now.order.is_empty()
                && self.now.skipped(step).is_none()
                && !self.calls.contains_key(&step)
        }) else {
            return Err(format!("step {} is skipped out of turn", step + 1));
        };
        let why = match why {
            Skip::Busy => Skipped::Busy,
            Skip::Gone => Skipped::Gone,
        };
        self.now.skipped.push((step, why));
        if !self.is_block(&current) {
            // Nothing was looked at: who was blocked still is.
            let last = self.trace.parts.last();
            self.now.blocked = last.map_or_else(BTreeSet::new, |last| last.seen.blocked.clone());
            self.end_part(current);
        }
        Ok(())
    }

    fn task_ended(&mut self, task: u8, end: TaskEnd) -> Result<(), String> {
        let task = self.task(task)?;
        if !self.trace.pids.contains_key(&task) || !self.gone.insert(task) {
            return Err(format!("{} ends, which was not there", self.name(task)));
        }
        let end = match end {
            TaskEnd::Exited(status) => End::Exited(status),
            TaskEnd::Signaled(signal) => End::Signaled(signal),
        };
        self.now.ended.push((task, end));
        self.moment(Moment::Ended(task));
        Ok(())
    }

    fn quiet(&mut self, step: usize, blocked: &[u8]) -> Result<(), String> {
        let Some(current) = self.current_with(step).filter(|current| current.end == step + 1)
        else {
            return Err(format!("it is quiet after step {} out of turn", step + 1));
        };
        if let Some(step) = current.clone().find(|step| !self.is_accounted_for(&current, *step)) {
            return Err(format!("step {} was not made", step + 1));
        }
        for task in blocked {
            let task = self.task(*task)?;
            if self.gone.contains(&task) || !self.trace.pids.contains_key(&task) {
                return Err(format!("{}, which is not there, is blocked", self.name(task)));
            }
            self.now.blocked.insert(task);
        }
        self.end_part(current);
        Ok(())
    }

    /// Whether a step was made or is known why not.
    fn is_accounted_for(&self, current: &Range<usize>, step: usize) -> bool {
        let Some(caller) = self.caller(step) else { return true };
        self.calls.contains_key(&step)
            || self.is_block(current)
                && (self.now.skipped(step).is_some()
                    || self.gone.contains(&caller)
                    || self.is_held_up(current, step))
    }

    fn end(&mut self) -> Result<(), String> {
        if self.current().is_some() {
            return Err("the end came before the last step".to_owned());
        }
        if let Some((task, _)) = self.trace.pids.iter().find(|(task, _)| !self.gone.contains(task))
        {
            return Err(format!("{} has not ended at the end", self.name(*task)));
        }
        self.ended = true;
        Ok(())
    }

    /// What the trace lacks that every whole one has.
    fn missing(&self) -> Option<String> {
        if !self.begun {
            return Some("the trace is empty".to_owned());
        }
        if self.trace.leaks.is_some() || self.trace.stuck.is_some() {
            return None;
        }
        Some(match self.current() {
            None if self.ended => "the trace has no accounting".to_owned(),
            Some(steps) => format!("the trace breaks off in step {}", steps.start + 1),
            None => "the trace breaks off after the last step".to_owned(),
        })
    }
}

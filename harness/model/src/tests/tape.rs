//! Observations, written down as a kernel would make them.

use refan_abi::{Event, EventMask};
use refan_program::{Bind, Call, Program, Task, parse};

use crate::testing::{MAIN_PID, kernel};
use crate::{
    End, Model, Moment, Object, Observation, Return, Seen, SeenEvent, Skipped, Stop, Violation,
};

/// A run that is being written down, step by step and block by block.
pub(crate) struct Tape {
    program: Program,
    seen: Vec<Observation>,
    /// The first step behind the last part.
    at: usize,
    now: Observation,
}

impl Tape {
    /// Begins the run of a program.
    pub(crate) fn of(text: &str) -> Self {
        let program = parse(text).unwrap_or_else(|error| panic!("{}", error.render("test", text)));
        Self { program, seen: Vec::new(), at: 0, now: Observation::default() }
    }

    fn task(&self, name: &str) -> Task {
        let task = self.program.tasks.iter().position(|task| task == name);
        Task(task.unwrap_or_else(|| panic!("no task {name}")) as u8)
    }

    /// Ends the part that is open.
    fn close(&mut self) {
        self.at = self.program.block_of(self.at).end;
        self.seen.push(std::mem::take(&mut self.now));
    }

    fn start(&mut self, step: usize) {
        if let Bind::Task(task) = self.program.steps[step].bind {
            self.now.started.push((task, MAIN_PID + i32::from(task.0)));
        }
    }

    /// The next step's call returns this.
    pub(crate) fn ret(mut self, value: i64) -> Self {
        self.start(self.at);
        self.now.returns.push(Return { step: self.at, value, data: Seen::Nothing });
        self.close();
        self
    }

    /// The next steps' calls return 0, 1 and so on, as new fds do, or 0.
    pub(crate) fn sets_up(mut self, steps: usize) -> Self {
        let mut fds = 0;
        for _ in 0..steps {
            let call = &self.program.steps[self.at].call;
            let value = if call.returns_fd() { fds } else { 0 };
            fds += i64::from(call.returns_fd());
            if matches!(call, Call::Spawn { .. }) {
                self = self.blocks();
            } else {
                let blocked = self.blocked();
                self = self.ret(value);
                self.last().blocked = blocked;
            }
        }
        self
    }

    fn blocked(&self) -> std::collections::BTreeSet<Task> {
        self.seen.last().map(|seen| seen.blocked.clone()).unwrap_or_default()
    }

    fn last(&mut self) -> &mut Observation {
        self.seen.last_mut().expect("a part")
    }

    /// The next step's call blocks.
    pub(crate) fn blocks(mut self) -> Self {
        self.start(self.at);
        let blocked = self.blocked();
        let caller = self.program.steps[self.at].caller().expect("a caller");
        self.close();
        self.last().blocked = blocked;
        self.last().blocked.insert(caller);
        self
    }

    /// The next step's call reads these events.
    pub(crate) fn reads(mut self, events: &[(&str, &str, &str, i32)]) -> Self {
        let blocked = self.blocked();
        let (value, data) = self.events(events);
        self.now.returns.push(Return { step: self.at, value, data });
        self.close();
        self.last().blocked = blocked;
        self
    }

    fn events(&self, events: &[(&str, &str, &str, i32)]) -> (i64, Seen) {
        let read = events.iter().map(|(mask, path, by, fd)| {
            let inode = path.parse().expect("a file");
            let event = Event {
                len: 24,
                mask: EventMask::from_name(mask).expect("a mask"),
                fd: *fd,
                pid: MAIN_PID + i32::from(self.task(by).0),
                info: Vec::new(),
            };
            SeenEvent { event, object: Object::File(inode) }
        });
        (24 * events.len() as i64, Seen::Events(read.collect()))
    }

    /// The next step finds this in the kernel's log.
    pub(crate) fn logged(mut self, text: &str) -> Self {
        let (blocked, data) = (self.blocked(), Seen::Text(text.to_owned()));
        self.now.returns.push(Return { step: self.at, value: text.len() as i64, data });
        self.close();
        self.last().blocked = blocked;
        self
    }

    /// The last part took so many milliseconds.
    pub(crate) fn took(mut self, ms: u32) -> Self {
        self.last().took = ms;
        self
    }

    /// Those who were blocked before still are.
    pub(crate) fn still(mut self) -> Self {
        let before = self.seen.len().checked_sub(2).map(|at| self.seen[at].blocked.clone());
        self.last().blocked.extend(before.unwrap_or_default());
        self
    }

    /// The next part is a block; what follows is seen in it.
    pub(crate) fn block(mut self) -> Self {
        for step in self.program.block_of(self.at) {
            self.start(step);
        }
        self
    }

    /// The call of a step (from 1) begins.
    pub(crate) fn enter(mut self, step: usize) -> Self {
        self.now.order.push(Moment::Enter(step - 1));
        self
    }

    /// The call of a step (from 1) returns this.
    pub(crate) fn exit(mut self, step: usize, value: i64) -> Self {
        self.now.order.push(Moment::Return(step - 1));
        self.now.returns.push(Return { step: step - 1, value, data: Seen::Nothing });
        self
    }

    /// The read of a step (from 1) returns these events.
    pub(crate) fn exit_with(mut self, step: usize, events: &[(&str, &str, &str, i32)]) -> Self {
        let (value, data) = self.events(events);
        self.now.order.push(Moment::Return(step - 1));
        self.now.returns.push(Return { step: step - 1, value, data });
        self
    }

    /// A task has ended.
    pub(crate) fn ended(mut self, task: &str, signal: bool) -> Self {
        let task = self.task(task);
        self.now.order.push(Moment::Ended(task));
        let end = if signal { End::Signaled(9) } else { End::Exited(0) };
        self.now.ended.push((task, end));
        self
    }

    /// A step (from 1) was not made.
    #[expect(dead_code)]
    pub(crate) fn skipped(mut self, step: usize, why: Skipped) -> Self {
        self.now.skipped.push((step - 1, why));
        self
    }

    /// The block ends, and these tasks are blocked.
    pub(crate) fn quiet(mut self, blocked: &[&str]) -> Self {
        self.now.blocked = blocked.iter().map(|name| self.task(name)).collect();
        self.close();
        self
    }

    /// What the model says, and how many states it looked at in the last part.
    pub(crate) fn judge(&self) -> (Result<(), Stop>, usize) {
        let kernel = kernel();
        let mut model = Model::new(&kernel, &self.program, MAIN_PID);
        let mut at = 0;
        for seen in &self.seen {
            let steps = self.program.block_of(at);
            at = steps.end;
            if let Err(stop) = model.step(steps, seen) {
                return (Err(stop), model.explored);
            }
        }
        (Ok(()), model.explored)
    }

    /// The kernel is right.
    #[track_caller]
    pub(crate) fn holds(&self) -> usize {
        let (result, explored) = self.judge();
        assert_eq!(result, Ok(()));
        explored
    }

    /// The kernel breaks this rule, seen in this step (from 1).
    #[track_caller]
    pub(crate) fn breaks(&self, rule: &str, step: usize) -> Violation {
        match self.judge().0 {
            Err(Stop::Broken(violation)) => {
                let seen = (violation.rule.to_string(), violation.step + 1);
                assert_eq!((seen.0.as_str(), seen.1), (rule, step), "{violation:#?}");
                violation
            }
            other => panic!("{other:?} where {rule} is broken"),
        }
    }
}

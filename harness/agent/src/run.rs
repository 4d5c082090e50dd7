//! What the coordinator and the tasks of one run share.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

use refan_abi::ApiValues;
use refan_program::{Bind, Call, Fd, Program, Step, Task, Var};
use refan_wire::{GuestRegion, Record, Watch};

use crate::futex;
use crate::gate::Gate;
use crate::kcov::{Buffer, Buffers, Coverage};
use crate::memory::Window;
use crate::paging::MissingMemory;

/// One run of a program.
pub struct Run<'a> {
    /// The feature's numbers.
    pub api: ApiValues,
    /// What is run.
    pub program: &'a Program,
    /// One for each task of the program.
    pub slots: Vec<Slot>,
    /// What the branches of a block begin by.
    pub gate: Gate,
    region: &'a GuestRegion,
    buffers: &'a Buffers,
    vars: Vec<AtomicI32>,
    /// Address of the [`MissingMemory`] that a step reads into; else 0.
    missing: Vec<AtomicUsize>,
    /// Address of the [`Window`] in which a step maps; else 0.
    windows: Vec<AtomicUsize>,
    trace_full: AtomicBool,
}

impl<'a> Run<'a> {
    /// A run that has not begun. Where places are watched tasks are lent the buffers.
    pub fn new(
        region: &'a GuestRegion,
        buffers: &'a Buffers,
        api: ApiValues,
        program: &'a Program,
    ) -> Self {
        let slots = program.tasks.iter().map(|_| Slot::default()).collect();
        let vars = program.vars.iter().map(|_| AtomicI32::new(-1)).collect();
        let of_steps = || program.steps.iter().map(|_| AtomicUsize::new(0)).collect();
        let (missing, windows) = (of_steps(), of_steps());
        let (gate, trace_full) = (Gate::default(), AtomicBool::new(false));
        Self { api, program, slots, gate, region, buffers, vars, missing, windows, trace_full }
    }

    /// Writes a record, or notes that there is no room for it.
    pub fn record(&self, record: &Record) {
        if self.region.record(record).is_err() {
            self.trace_full.store(true, Ordering::Release);
        }
    }

    /// Whether a record found no room.
    pub fn trace_is_full(&self) -> bool {
        self.trace_full.load(Ordering::Acquire)
    }

    /// What is to be watched of all tasks, if anything is.
    pub fn watch(&self) -> Option<Watch<'a>> {
        self.region.watch()
    }

    /// The buffer that a task is lent, which it can use when it has the coordinator's fds at its start:
    /// a forked one has not.
    pub fn buffer(&self, task: Task) -> Option<Buffer> {
        let forks = |step: &Step| {
            matches!(step.call.innermost(), Call::Fork) && step.bind == Bind::Task(task)
        };
        self.watch().filter(|_| !self.program.steps.iter().any(forks))?;
        self.buffers.of_task(task.0.into())
    }

    /// The number that an fd of a call stands for.
    pub fn number(&self, fd: Fd) -> i32 {
        match fd {
            Fd::Number(number) => number,
            Fd::Var(Var(var)) => {
                self.vars.get(usize::from(var)).map_or(-1, |var| var.load(Ordering::Acquire))
            }
        }
    }

    /// The missing memory that a step reads into, if it does so.
    pub fn missing(&self, step: u16) -> Option<MissingMemory> {
        let address = self.missing.get(usize::from(step))?.load(Ordering::Acquire);
        // SAFETY: the coordinator unmaps it when no task is left.
        unsafe { MissingMemory::at(address) }
    }

    /// All of that.
    pub fn all_missing(&self) -> impl Iterator<Item = MissingMemory> {
        (0..self.missing.len()).filter_map(|step| self.missing(step as u16))
    }

    /// Gives a step missing memory to read into.
    pub fn give_missing(&self, step: usize, memory: MissingMemory) {
        if let Some(address) = self.missing.get(step) {
            address.store(memory.address(), Ordering::Release);
        }
    }

    /// The window in which a step maps, if it does so.
    pub fn window(&self, step: u16) -> Option<Window> {
        let address = self.windows.get(usize::from(step))?.load(Ordering::Acquire);
        // SAFETY: the coordinator gives it up when no task is left.
        unsafe { Window::at(address) }
    }

    /// All of them.
    pub fn all_windows(&self) -> impl Iterator<Item = Window> {
        (0..self.windows.len()).filter_map(|step| self.window(step as u16))
    }

    /// Gives a step a window to map in.
    pub fn give_window(&self, step: usize, window: Window) {
        if let Some(address) = self.windows.get(step) {
            address.store(window.address(), Ordering::Release);
        }
    }

    /// Fills a variable.
    pub fn fill(&self, var: Var, number: i32) {
        if let Some(var) = self.vars.get(usize::from(var.0)) {
            var.store(number, Ordering::Release);
        }
    }

    /// The base of a block: the task of the first branch without a start. None in a block without
    /// starts, where nobody preempts.
    pub fn base_of(&self, block: Range<usize>) -> Option<Task> {
        let steps = &self.program.steps[block];
        let starts = |task| {
            let mut own = steps.iter().filter(|step| step.caller() == Some(task));
            own.next().is_some_and(|first| first.start.is_some())
        };
        let mut callers = steps.iter().filter_map(Step::caller);
        steps
            .iter()
            .any(|step| step.start.is_some())
            .then(|| callers.find(|task| !starts(*task)))?
    }

    /// The slot of a task, which is one of this program's.
    pub fn slot(&self, task: Task) -> &Slot {
        &self.slots[usize::from(task.0)]
    }
}

/// How the coordinator and one task speak to each other.
#[derive(Default)]
pub struct Slot {
    state: AtomicU32,
    step: AtomicU32,
    /// Its pid in the program's pid namespace.
    pub pid: AtomicI32,
    /// Its pid as the agent sees it, once known.
    pub outer_pid: AtomicI32,
    /// Its user.
    pub uid: AtomicU32,
    /// It has entered a user namespace of its own.
    pub has_user_namespace: AtomicBool,
    /// Which allocation of its next call fails, from 1; 0 is none.
    pub fail_nth: AtomicU32,
    /// Whether it was sent SIGKILL.
    pub killed: AtomicBool,
    /// Address of its [`Coverage`], once it is watched; else 0.
    coverage: AtomicUsize,
    /// The buffer of that is lent: it is not the task's to give back.
    lent: AtomicBool,
    /// How many places it had passed when its last call returned; before the first one of its branch
    /// of a block 0.
    pub passed: AtomicUsize,
}

/// What a task is doing, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for an order.
    Idle,
    /// It has an order and has not written what came of it.
    Calling,
    /// It has written that and makes no further calls of the program: it is about to exit.
    Leaving,
    /// It has an order, and waits for the time at which its branch of a block begins.
    Armed,
}

impl Slot {
    /// What is seen of the task, if it is watched.
    pub fn coverage(&self) -> Option<Coverage> {
        // SAFETY: the coordinator unmaps buffers when no task is left.
        unsafe { Coverage::at(self.coverage.load(Ordering::Acquire)) }
    }

    /// Watches the calling task, whose slot it is, from now on if that is possible.
    pub fn watch(&self) {
        if self.coverage().is_none()
            && let Some(coverage) = Coverage::begin()
        {
            self.coverage.store(coverage.address(), Ordering::Release);
        }
    }

    /// Watches the calling task, whose slot it is, by a buffer that it is lent.
    pub fn watch_by(&self, buffer: Buffer) -> Result<(), i64> {
        buffer.enable()?;
        self.lent.store(true, Ordering::Release);
        self.coverage.store(buffer.coverage.address(), Ordering::Release);
        Ok(())
    }

    /// Gives a buffer of the task's own back. Nobody looks at it any more.
    pub fn unwatch(&self) {
        if let Some(coverage) = self.coverage().filter(|_| !self.lent.load(Ordering::Acquire)) {
            coverage.unmap();
        }
    }

    /// What the task is doing.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Idle,
            1 => State::Calling,
            2 => State::Leaving,
            _ => State::Armed,
        }
    }

    /// Says what the task is doing.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// The step that the task was ordered to make last.
    pub fn step(&self) -> u16 {
        self.step.load(Ordering::Acquire) as u16
    }

    /// Notes the step that the task makes now.
    pub fn set_step(&self, step: u16) {
        self.step.store(step.into(), Ordering::Release);
    }

    /// Notes the step that a task that is about to be made will make; it waits for no order.
    pub fn preset(&self, step: u16) {
        self.set_step(step);
        self.set_state(State::Calling);
    }

    /// Orders an idle task to make a step, or the branch of a block that begins with it.
    pub fn order(&self, step: u16) {
        self.preset(step);
        futex::wake(&self.state);
    }

    /// Waits, as the task, for an order: the step to make.
    pub fn next_order(&self) -> u16 {
        while self.state() == State::Idle {
            futex::wait(&self.state, State::Idle as u32, None);
        }
        self.step()
    }

    /// Says, as the task, that the order is done.
    pub fn done(&self) {
        self.set_state(State::Idle);
        futex::wake(&self.state);
    }

    /// Waits until the order is done, but no longer than this many seconds; says whether it is.
    pub fn wait_done(&self, seconds: i64) -> bool {
        let state = self.state.load(Ordering::Acquire);
        if state != State::Idle as u32 {
            futex::wait(&self.state, state, Some(seconds));
        }
        self.state() == State::Idle
    }
}

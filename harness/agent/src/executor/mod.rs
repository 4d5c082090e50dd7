//! The coordinator of a run: makes the tasks, orders their steps and watches what becomes of them.
//! It makes none of the program's calls itself.

mod block;
mod observe;
mod setup;

pub use observe::others_run;

use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use refan_abi::ApiValues;
use refan_program::{Call, Facility, Program, Step, Task};
use refan_wire::{Record, Skip, TaskEnd};
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::limits::Limits;
use crate::log::Watchdog;
use crate::memory::Window;
use crate::paging::{MissingMemory, Pager};
use crate::run::{Run, Slot, State};
use crate::signals;
use crate::supervisor::Supervisor;
use crate::sys::{self, sys};
use crate::task::{self, Origin};

use observe::Drainer;
use setup::Files;

/// What a run leaves behind in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leavings {
    /// Nothing.
    None,
    /// A file system that is in use by no task. It is accounted for.
    FileSystems,
    /// Tasks that do not die: their memory must stay.
    Tasks,
}

impl Leavings {
    /// As the coordinator's exit status.
    pub fn status(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Tasks => 1,
            Self::FileSystems => 2,
        }
    }

    /// From that.
    pub fn from_status(status: Option<i32>) -> Self {
        match status {
            Some(0) => Self::None,
            Some(2) => Self::FileSystems,
            _ => Self::Tasks,
        }
    }
}

/// Runs a program, as a process that does nothing else before or after.
pub fn run(supervisor: &Supervisor, api: ApiValues, program: &Program) -> Leavings {
    let Supervisor { region, limits, buffers, .. } = supervisor;
    let run = Run::new(region, buffers, api, program);
    let outcome = Files::mount(program)
        .and_then(|files| Coordinator::new(&run).map(|coordinator| (files, coordinator)))
        .and_then(|(files, mut coordinator)| {
            let stepped = coordinator.all_steps(&files);
            let stuck = coordinator.end();
            let restored = restore_limits(program, limits);
            let stuck = stuck?;
            if !stuck.is_empty() {
                run.record(&Record::Stuck { tasks: stuck });
                return Ok(Leavings::Tasks);
            }
            let leaks = files.unmount()?;
            restored.and(stepped)?;
            run.record(&Record::End { at: sys::now() });
            if leaks.is_empty() {
                return Ok(Leavings::None);
            }
            run.record(&Record::Accounts { leaks });
            Ok(Leavings::FileSystems)
        });
    outcome.unwrap_or_else(|error| {
        run.record(&Record::Broken { what: format!("{error:#}") });
        Leavings::Tasks
    })
}

fn restore_limits(program: &Program, limits: &Limits) -> Result<()> {
    let changes = |step: &Step| matches!(step.call.innermost(), Call::Sysctl { .. });
    if program.steps.iter().any(changes) { limits.restore() } else { Ok(()) }
}

/// Waits for the end of a child.
pub fn wait_for(pid: i32) -> Result<WaitStatus> {
    let pid = Pid::from_raw(pid).context("no pid to wait for")?;
    let ended = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    let (_, status) =
        ended.with_context(|| format!("waiting for process {pid:?}"))?.context("no child")?;
    Ok(status)
}

/// How a process ended.
pub fn end_of(status: WaitStatus) -> TaskEnd {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => TaskEnd::Exited(status),
        (None, signal) => TaskEnd::Signaled(signal.unwrap_or_default()),
    }
}

/// What the coordinator knows of a task.
#[derive(Default)]
struct Known {
    life: Life,
    /// `/proc/PID/syscall`, once it was needed.
    syscall: Option<File>,
    /// What [`refan_wire::Watch::pass`] returned last for the call that it is blocked in; else 0.
    passed: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Unborn,
    Alive,
    Ended,
}

struct Coordinator<'a> {
    run: &'a Run<'a>,
    known: Vec<Known>,
    drainer: Drainer,
    loadavg: File,
    processors: usize,
    /// Files were released since deferred work was last waited for.
    released: bool,
    /// What the kernel's log says, if the program asks for it.
    watchdog: Option<Watchdog>,
}

impl<'a> Coordinator<'a> {
    /// Makes the namespaces' first process and the task `main`.
    fn new(run: &'a Run<'a>) -> Result<Self> {
        observe::lower_priority()?;
        signals::handle()?;
        let loadavg = observe::open_loadavg()?;
        let processors = observe::processors()?;
        let pager = run.program.needs().any(|need| need == Facility::MissingPages);
        let pager = pager.then(Pager::open).transpose()?;
        let drainer = Drainer::start(pager.as_ref())?;
        for (index, step) in run.program.steps.iter().enumerate() {
            match (step.call.innermost(), &pager) {
                (Call::ReadMissing { .. }, Some(pager)) => run.give_missing(index, pager.map()?),
                (Call::Mmap { .. }, _) => run.give_window(index, Window::reserve()?),
                _ => {}
            }
        }
        let known = run.slots.iter().map(|_| Known::default()).collect();
        let asks = |step: &Step| matches!(step.call, Call::KernelLog);
        let watchdog = run.program.steps.iter().any(asks).then(Watchdog::open).transpose()?;
        Ok(Self { run, known, drainer, loadavg, processors, released: false, watchdog })
    }

    /// Makes the steps in turn.
    fn all_steps(&mut self, files: &Files) -> Result<()> {
        self.run.record(&Record::Begin { at: sys::now() });
        for (inode, id) in files.ids()? {
            self.run.record(&Record::File { path: inode.to_string(), id });
        }
        self.start(Task::MAIN, Origin::Main)?;
        // It says that it is there before anything is asked of it.
        self.settle(false)?;
        let mut next = 0;
        while let Some(step) = self.run.program.steps.get(next) {
            let index = next;
            match step.block {
                Some(number) => {
                    let block = self.run.program.block_of(index);
                    next = block.end;
                    self.block(number, block)?;
                }
                None => {
                    next += 1;
                    self.step(index as u16, step)?;
                }
            }
            if self.run.trace_is_full() {
                bail!("the program was stopped at step {index}: the trace is full");
            }
        }
        Ok(())
    }

    fn step(&mut self, index: u16, step: &Step) -> Result<()> {
        let released = match &step.call {
            Call::Await { .. } => false,
            Call::Kill { task } => return self.kill_step(index, *task),
            Call::Sleep { ms } => {
                std::thread::sleep(Duration::from_millis((*ms).into()));
                false
            }
            Call::KernelLog => {
                self.tell_named(index)?;
                false
            }
            call => {
                if let Some(why) = self.obstacle(step.task) {
                    self.run.record(&Record::Skipped { step: index, why });
                    return Ok(());
                }
                match (call, &step.bind) {
                    (Call::Spawn { .. }, refan_program::Bind::Task(task)) => {
                        self.run.slot(*task).preset(index);
                        self.start(*task, Origin::Spawned { spawner: step.task })?;
                        false
                    }
                    (call, _) => {
                        self.run.slot(step.task).order(index);
                        matches!(
                            call,
                            Call::Close { .. } | Call::Dup2 { .. } | Call::Exec { .. } | Call::Exit
                        )
                    }
                }
            }
        };
        let blocked = self.settle(released)?;
        self.quiet(index, &blocked);
        Ok(())
    }

    /// Writes down whom the watchdog has named since this was last done: tasks by number.
    fn tell_named(&mut self, index: u16) -> Result<()> {
        let Some(watchdog) = &mut self.watchdog else { bail!("nobody reads the kernel's log") };
        let named: Vec<String> = watchdog
            .named()?
            .into_iter()
            .map(|pid| {
                let mut slots = self.run.slots.iter();
                let task = slots.position(|slot| slot.outer_pid.load(Ordering::Acquire) == pid);
                task.map_or_else(|| format!("pid {pid}"), |task| task.to_string())
            })
            .collect();
        let text = named.join(", ");
        let (step, task, at) = (index, Task::MAIN.0, sys::now());
        self.run.record(&Record::Enter { step, task, at });
        let (ret, data) = (text.len() as i64, refan_wire::Data::Text(text));
        self.run.record(&Record::Exit { step, task, at, ret, data });
        Ok(())
    }

    fn quiet(&mut self, step: u16, blocked: &[Task]) {
        self.note_places(blocked);
        let blocked = blocked.iter().map(|task| task.0).collect();
        self.run.record(&Record::Quiet { step, at: sys::now(), blocked });
    }

    /// Adds what tasks have passed since this was last done to the coverage, if it is asked for. They
    /// are asleep, so nothing is lost between reading a buffer and emptying it.
    fn note_places(&mut self, blocked: &[Task]) {
        let Some(watch) = self.run.watch() else { return };
        for ((task, slot), known) in (0..).zip(&self.run.slots).zip(&mut self.known) {
            let Some(coverage) = slot.coverage() else { continue };
            let places = coverage.places();
            let passed = places.fold(known.passed, |passed, it| watch.pass(passed, it.address));
            coverage.reset();
            known.passed = if blocked.contains(&Task(task)) { passed } else { 0 };
        }
    }

    /// Why a task cannot make a step.
    fn obstacle(&self, task: Task) -> Option<Skip> {
        let killed = self.run.slot(task).killed.load(Ordering::Acquire);
        if killed || self.known[usize::from(task.0)].life != Life::Alive {
            // One that is killed can still be asleep in its exit, and takes no orders.
            Some(Skip::Gone)
        } else if self.run.slot(task).state() != State::Idle {
            Some(Skip::Busy)
        } else {
            None
        }
    }

    fn start(&mut self, task: Task, origin: Origin) -> Result<()> {
        // SAFETY: `Coordinator::end` sees to it that no task outlives the run, or else the
        // memory is given up.
        let pid = unsafe { task::start(self.run, task, origin) };
        if pid < 0 {
            bail!("starting task {}: clone returned {pid}", self.run.program.task_name(task));
        }
        self.run.slot(task).outer_pid.store(pid as i32, Ordering::Release);
        self.known[usize::from(task.0)].life = Life::Alive;
        Ok(())
    }

    fn kill_step(&mut self, index: u16, victim: Task) -> Result<()> {
        if self.known[usize::from(victim.0)].life != Life::Alive {
            self.run.record(&Record::Skipped { step: index, why: Skip::Gone });
            return Ok(());
        }
        self.run.record(&Record::Enter { step: index, task: Task::MAIN.0, at: sys::now() });
        self.kill(victim)?;
        let blocked = self.settle(true)?;
        if self.known[usize::from(victim.0)].life == Life::Ended {
            self.run.record(&Record::Exit {
                step: index,
                task: Task::MAIN.0,
                at: sys::now(),
                ret: 0,
                data: refan_wire::Data::None,
            });
        }
        self.quiet(index, &blocked);
        Ok(())
    }

    fn kill(&mut self, victim: Task) -> Result<()> {
        let slot = self.run.slot(victim);
        slot.killed.store(true, Ordering::Release);
        let pid = slot.outer_pid.load(Ordering::Acquire);
        // SAFETY: no pointers. The task is not reaped, so the pid is still its own.
        match unsafe { sys!(libc::SYS_kill, pid, libc::SIGKILL) } {
            0 => Ok(()),
            error => Err(anyhow!("killing process {pid}: kill returned {error}")),
        }
    }

    /// Ends everything that is left. Returns the tasks that do not end.
    fn end(&mut self) -> Result<Vec<u8>> {
        for task in self.alive() {
            self.kill(Task(task))?;
        }
        self.settle(true)?;
        let left = self.alive();
        // The helper's death takes its namespace along, and waits for everyone in it.
        if left.is_empty() {
            self.drainer.stop()?;
            self.note_places(&[]);
            self.run.slots.iter().for_each(Slot::unwatch);
            self.run.all_missing().for_each(MissingMemory::unmap);
            self.run.all_windows().for_each(Window::give_up);
        }
        Ok(left)
    }

    fn alive(&self) -> Vec<u8> {
        let known = (0..).zip(&self.known);
        known.filter(|(_, known)| known.life == Life::Alive).map(|(task, _)| task).collect()
    }

    /// Takes note of the tasks that have ended, and of those that tasks have forked.
    fn take_note(&mut self) -> Result<()> {
        for (known, slot) in self.known.iter_mut().zip(&self.run.slots) {
            if known.life == Life::Unborn && slot.outer_pid.load(Ordering::Acquire) > 0 {
                known.life = Life::Alive;
            }
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid.as_raw_nonzero().get(), status)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(error).context("waiting for tasks"),
            }
        }
    }

    fn ended(&mut self, pid: i32, status: WaitStatus) -> Result<()> {
        let slots = self.run.slots.iter();
        let mut slots = slots.map(|slot| slot.outer_pid.load(Ordering::Acquire));
        let Some(index) = slots.position(|of_task| of_task == pid) else {
            bail!("process {pid}, which is no task, ended as {status:?}");
        };
        let task = Task(index as u8);
        self.released = true;
        self.known[index].life = Life::Ended;
        self.known[index].syscall = None;
        let at = sys::now();
        let slot = self.run.slot(task);
        let call = self.run.program.steps.get(usize::from(slot.step())).map(|step| &step.call);
        let call = call.map(Call::innermost);
        let succeeded = match slot.state() {
            // It has become another program, which cannot speak for itself.
            State::Calling => matches!(call, Some(Call::Exec { .. })),
            State::Leaving => matches!(call, Some(Call::Exit)),
            State::Idle | State::Armed => false,
        };
        if succeeded && status.exit_status() == Some(0) {
            let (step, data) = (slot.step(), refan_wire::Data::None);
            self.run.record(&Record::Exit { step, task: task.0, at, ret: 0, data });
        }
        self.run.record(&Record::TaskEnded { task: task.0, at, end: end_of(status) });
        Ok(())
    }
}

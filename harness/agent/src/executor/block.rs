//! Blocks: branches that begin at a common instant.

use std::ops::Range;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use refan_program::{Block, Call, Start, Step, Task};
use refan_wire::Record;

use super::{Coordinator, Life};
use crate::gate::{self, Gate};
use crate::run::State;
use crate::sys::{self, sys};
use crate::task::Origin;

/// How far ahead the instant is for each branch: more than one takes to go to sleep again. On a
/// machine of virtual time it costs nothing, and elsewhere little.
const AHEAD: u64 = 20_000_000;

/// The tick comes at multiples of its period, of which this is one (`CONFIG_HZ` of 100, 250 or 1000).
const TICKS: u64 = 20_000_000;

/// How long after a tick the instant is: however many runs came before, the tick falls on the same
/// places of a block, and its work is done before the block begins.
const BEHIND_TICK: u64 = 700_000;

/// The lowest priority of `SCHED_FIFO`.
const LOWEST: u8 = 1;

/// A branch of a block.
struct Branch {
    /// Who makes its calls.
    task: Task,
    /// Its first step.
    first: usize,
    start: Option<Start>,
}

impl Coordinator<'_> {
    /// Runs a block to its end.
    pub(super) fn block(&mut self, number: Block, block: Range<usize>) -> Result<()> {
        let branches = self.branches(&block);
        self.run.gate.open(number);
        for branch in &branches {
            let step = &self.run.program.steps[branch.first];
            match step.call {
                Call::Spawn { .. } => {
                    self.run.slot(branch.task).preset(branch.first as u16);
                    self.start(branch.task, Origin::Spawned { spawner: step.task })?;
                }
                _ => self.run.slot(branch.task).order(branch.first as u16),
            }
        }
        self.wait_for(&branches, Gate::armed)?;
        let preempts = branches.iter().any(|branch| branch.start.is_some());
        for branch in branches.iter().filter(|_| preempts) {
            let above = branch.start.map_or(0, |start| start.priority);
            // A task that a branch forks is none itself, and runs when no branch does.
            let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
            self.schedule(branch.task, policy, LOWEST + above)?;
        }
        let ahead = AHEAD * (branches.len() as u64 + 1);
        let instant = (sys::now() + ahead).next_multiple_of(TICKS) + BEHIND_TICK;
        self.run.record(&Record::Instant { step: block.start as u16, at: instant });
        self.run.gate.publish(instant);
        let last = branches.iter().filter_map(|branch| branch.start).map(gate::offset).max();
        // This process runs only when no branch does.
        gate::sleep_until(instant + 1);
        self.run.record(&Record::Rested { step: block.start as u16, at: sys::now() });
        gate::sleep_until(instant + last.unwrap_or(0));
        // One that still sleeps for its time is not blocked in a call.
        self.wait_for(&branches, Gate::begun)?;
        let releases =
            |step: &Step| matches!(step.call, Call::Close { .. } | Call::Exit | Call::Kill { .. });
        let released = self.run.program.steps[block.clone()].iter().any(releases);
        let blocked = self.settle(released)?;
        self.run.gate.close();
        self.tell_path(&block);
        for branch in branches.iter().filter(|_| preempts) {
            self.schedule(branch.task, libc::SCHED_OTHER, 0)?;
        }
        self.quiet((block.end - 1) as u16, &blocked);
        Ok(())
    }

    /// Records the places that the base has passed, if it was watched alone.
    fn tell_path(&self, block: &Range<usize>) {
        if self.run.watch().is_some() {
            return;
        }
        let Some(base) = self.run.base_of(block.clone()) else { return };
        let Some(coverage) = self.run.slot(base).coverage() else { return };
        // A base that is blocked has come further than when its last call returned.
        let slot = self.run.slot(base);
        let passed = match slot.state() {
            State::Calling => coverage.count(),
            _ => slot.passed.load(Ordering::Acquire),
        };
        let steps = &self.run.program.steps[block.clone()];
        let first = steps.iter().position(|step| step.caller() == Some(base)).unwrap_or_default();
        let step = (block.start + first) as u16;
        self.run.record(&Record::Path { step, places: coverage.places().take(passed).collect() });
    }

    /// The branches whose tasks can make them. Steps of others are recorded as skipped.
    fn branches(&self, block: &Range<usize>) -> Vec<Branch> {
        let mut branches: Vec<Branch> = Vec::new();
        for (index, step) in block.clone().zip(&self.run.program.steps[block.clone()]) {
            if let Some(why) = self.obstacle(step.task) {
                self.run.record(&Record::Skipped { step: index as u16, why });
                continue;
            }
            let task = step.caller().unwrap_or(step.task);
            if branches.iter().all(|branch| branch.task != task) {
                branches.push(Branch { task, first: index, start: step.start });
            }
        }
        branches
    }

    /// Waits until the gate counts every branch that has not ended.
    fn wait_for(&mut self, branches: &[Branch], counted: impl Fn(&Gate) -> u32) -> Result<()> {
        loop {
            self.take_note()?;
            let ended = |branch: &&Branch| self.life(branch.task) == Life::Ended;
            let ended = branches.iter().filter(ended).count();
            if counted(&self.run.gate) as usize + ended >= branches.len() {
                return Ok(());
            }
            rustix::thread::sched_yield();
        }
    }

    /// Gives a task another policy and priority (`sched_setscheduler(2)`), unless it has ended.
    fn schedule(&self, task: Task, policy: i32, priority: u8) -> Result<()> {
        if self.life(task) != Life::Alive {
            return Ok(());
        }
        let param = libc::sched_param { sched_priority: priority.into() };
        let pid = self.run.slot(task).outer_pid.load(Ordering::Acquire);
        // SAFETY: the structure lives through the call.
        match unsafe { sys!(libc::SYS_sched_setscheduler, pid, policy, &raw const param) } {
            0 => Ok(()),
            error => {
                let name = self.run.program.task_name(task);
                bail!("scheduling {name} by policy {policy}: sched_setscheduler returned {error}")
            }
        }
    }

    fn life(&self, task: Task) -> Life {
        self.known[usize::from(task.0)].life
    }
}

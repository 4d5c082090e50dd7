//! PID 1 once everything is set up: takes jobs, has them done and stops at the doorbell.

use std::ffi::c_void;

use refan_abi::ApiValues;
use refan_program::Program;
use refan_wire::{GuestRegion, Job, Record};

use crate::accounts::Accounts;
use crate::arena::ARENA;
use crate::door::Doorbell;
use crate::executor::{self, Leavings};
use crate::kcov::Buffers;
use crate::limits::Limits;
use crate::log::KernelLog;
use crate::stack::Stack;
use crate::{cycle, exec, gcov, init, kmemleak, memcg, mutant, probe, sys, task};

/// What PID 1 works with.
pub struct Supervisor {
    /// The way to stop.
    pub doorbell: Doorbell,
    /// The memory that jobs come in and traces go out by.
    pub region: &'static GuestRegion,
    /// What the kernel says.
    pub log: KernelLog,
    /// What fanotify's limits were at boot.
    pub limits: Limits,
    /// What there was in the kernel at boot.
    pub accounts: Accounts,
    /// What tasks are watched by.
    pub buffers: Buffers,
}

/// What the coordinator's process is given.
struct Order<'a> {
    supervisor: &'a Supervisor,
    api: ApiValues,
    program: &'a Program,
}

impl Supervisor {
    /// Serves the host for ever. The first ring says that the guest is ready.
    pub fn serve(&self) -> ! {
        let mark = ARENA.mark();
        let mut answered = 0;
        loop {
            self.doorbell.ring();
            let number = self.region.job_number();
            if number == answered {
                continue;
            }
            let leavings = self.answer_job();
            reap_orphans();
            self.log.flush();
            // A command's job is followed by others before it is over.
            answered = self.region.job_number();
            self.region.answer(answered);
            if leavings == Leavings::None {
                // SAFETY: the job is done, nothing of it is kept, and no process of it is left.
                unsafe { ARENA.reset(mark) };
            }
        }
    }

    fn answer_job(&self) -> Leavings {
        match self.region.job() {
            Ok(Job::SetMutant { switch }) => {
                self.attempt(mutant::set(switch));
                Leavings::None
            }
            Ok(Job::Probe { api: (init_flag, open_queue_ioctl) }) => {
                self.record(&probe::probe(ApiValues { init_flag, open_queue_ioctl }));
                Leavings::None
            }
            Ok(Job::Run { api: (init_flag, open_queue_ioctl), program }) => {
                let api = ApiValues { init_flag, open_queue_ioctl };
                let program = Program::decode(&program);
                self.run(Order { supervisor: self, api, program: &program })
            }
            Ok(Job::Replay { api: (init_flag, open_queue_ioctl), programs }) => {
                self.replay(ApiValues { init_flag, open_queue_ioctl }, &programs)
            }
            Ok(Job::Cycle { api: (init_flag, open_queue_ioctl), times }) => {
                match cycle::restart(ApiValues { init_flag, open_queue_ioctl }, times) {
                    Ok(()) => self.record(&Record::Done { count: times }),
                    Err(error) => self.broken(format!("the cycle: {error:#}")),
                }
                Leavings::None
            }
            Ok(Job::Account) => {
                self.account(self.accounts.settle_objects());
                Leavings::None
            }
            Ok(Job::FindUnreferenced) => {
                match kmemleak::find() {
                    Ok(objects) => self.record(&Record::Unreferenced { objects }),
                    Err(error) => self.broken(format!("looking for leaks: {error:#}")),
                }
                Leavings::None
            }
            Ok(Job::Counters) => {
                self.attempt(gcov::read(|counters| self.record(&counters)));
                Leavings::None
            }
            Ok(Job::PowerOff) => {
                if let Err(error) = init::power_off() {
                    self.broken(format!("{error:#}"));
                }
                Leavings::None
            }
            Ok(Job::Furnish) => {
                self.attempt(exec::furnish());
                Leavings::None
            }
            Ok(Job::Place { files }) => {
                self.attempt(exec::place(self.region, &files));
                Leavings::None
            }
            Ok(Job::Exec(command)) => {
                match exec::run(self.region, &self.doorbell, &command) {
                    Record::Broken { what } => self.broken(what),
                    end => self.record(&end),
                }
                Leavings::None
            }
            Ok(Job::GoOn { .. }) => {
                self.broken("no command runs that could go on".to_owned());
                Leavings::None
            }
            Err(error) => {
                self.broken(error.to_string());
                Leavings::None
            }
        }
    }

    fn attempt(&self, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.broken(format!("{error:#}"));
        }
    }

    /// Has a program run by a process of its own, the coordinator, and waits for its end.
    fn run(&self, order: Order<'_>) -> Leavings {
        if self.region.watch().is_some() {
            self.accounts.add_files(self.buffers.provide(order.program.tasks.len()));
        }
        if let Err(error) = memcg::enter() {
            self.broken(format!("{error:#}"));
            return Leavings::None;
        }
        let argument = (&raw const order).cast_mut().cast();
        // SAFETY: the order lives until the coordinator has ended, which this function waits for;
        // meanwhile PID 1 does nothing else, so the coordinator has the thread-local area alone.
        let pid = unsafe { task::spawn(coordinate, Stack::COORDINATOR, 0, argument) };
        if pid < 0 {
            self.broken(format!("starting the coordinator: clone returned {pid}"));
            return Leavings::None;
        }
        match executor::wait_for(pid as i32) {
            Ok(status) if status.exited() => {
                let leavings = Leavings::from_status(status.exit_status());
                if leavings == Leavings::None {
                    self.account(self.accounts.settle(order.program));
                }
                leavings
            }
            ended => {
                self.broken(format!("the coordinator ended as {ended:?}"));
                if let Err(error) = self.limits.restore() {
                    self.broken(format!("{error:#}"));
                }
                Leavings::Tasks
            }
        }
    }

    fn replay(&self, api: ApiValues, programs: &[Vec<u8>]) -> Leavings {
        let mark = ARENA.mark();
        let mut count = 0;
        for program in programs {
            self.region.clear_trace();
            let program = Program::decode(program);
            let leavings = self.run(Order { supervisor: self, api, program: &program });
            if leavings != Leavings::None {
                self.region.clear_trace();
                self.record(&Record::Done { count });
                return leavings;
            }
            reap_orphans();
            self.log.flush();
            // SAFETY: the program is over, nothing of it is kept, and no process of it is left.
            unsafe { ARENA.reset(mark) };
            count += 1;
        }
        self.region.clear_trace();
        self.record(&Record::Done { count });
        Leavings::None
    }

    fn account(&self, accounts: anyhow::Result<Record>) {
        match accounts {
            Ok(accounts) => self.record(&accounts),
            Err(error) => self.broken(format!("the accounting: {error:#}")),
        }
    }

    fn record(&self, record: &Record) {
        if self.region.record(record).is_err() {
            init::say("the trace is full");
        }
    }

    fn broken(&self, what: String) {
        init::say(&what);
        self.record(&Record::Broken { what });
    }
}

extern "C" fn coordinate(order: *mut c_void) -> i32 {
    // SAFETY: the supervisor keeps the order until this process has ended.
    let Order { supervisor, api, program } = unsafe { &*order.cast::<Order<'_>>() };
    let leavings = executor::run(supervisor, *api, program);
    sys::exit(leavings.status())
}

/// Reaps what has become a child of PID 1 because its parent has ended.
fn reap_orphans() {
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

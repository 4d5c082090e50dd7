//! When a step is over, and which tasks are then blocked. No timer decides it.
//!
//! After a step the coordinator waits until every task is idle (it says so itself), ended and
//! reaped, or *blocked*: asleep in the kernel with nothing left that could wake it but another step.
//! The argument for the last:
//!
//! 1. *Nothing runs.* The coordinator has the lowest priority there is (`SCHED_IDLE`), and it
//!    looks when `/proc/loadavg` counts itself as the only runnable thread of all processors, kernel
//!    threads included. So no kernel worker is in the middle of anything, and no task is awake.
//! 2. *The task sleeps.* With one processor that follows from 1, and where: a task whose order is
//!    not done sleeps in the call that it was ordered to make, if just one system call of that can.
//!    Elsewhere `/proc/PID/syscall` tells: the call of a task only if the task is off its processor
//!    and is not switched in while the kernel looks (`task_current_syscall()` in `lib/syscall.c`
//!    compares the count of switches), else it says `running`.
//! 3. *No time will wake it.* Sleeps that end by themselves are those that wait for deferred work.
//!    Grace periods of RCU are expedited ([`crate::init::expedite_rcu`]): workers drive them without
//!    timers, so they count as running in 1. What is left is fsnotify's reaper of marks, which
//!    starts a tick late (`FSNOTIFY_REAPER_DELAY`), and the grace period of SRCU that it waits for,
//!    whose worker may sleep for ticks. Only the release of a group waits for these, in close, exit
//!    or death; reads, opens and exec wait for an event or an answer alone.
//!    So when a task sleeps in anything but these, or dies, the helper process makes and closes a
//!    group without marks, which returns when the reaper has run (`fsnotify_destroy_group()` calls
//!    `fsnotify_wait_marks_destroyed()`). A task whose count of switches is the same before and
//!    after that waits for something else: for another task.
//!
//! A branch of a block that sleeps until its time has come is no sleeper of this kind: it moves.
//!
//! With several processors a wake-up can be on its way from one to another at the moment of the
//! look. There the same must be seen twice, with the same counts of switches, and between the two
//! the coordinator runs on each processor in turn: it gets to when nothing else is left to run.
//!
//! The helper is a process of its own because a kernel under test can make it hang. The wait for it
//! has a limit, and reaching it is reported as the failure that it is.

use std::ffi::c_void;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, bail};
use refan_abi::InitFlags;
use refan_program::{Call, Step, Task};
use rustix::process::Signal;

use super::{Coordinator, Life, wait_for};
use crate::paging::{self, Pager};
use crate::run::{Slot, State};
use crate::stack::Stack;
use crate::sys::sys;
use crate::task;

/// Seconds of guest time after which deferred work counts as hanging: thousands of times what it
/// takes.
const DRAIN_LIMIT: i64 = 30;

/// Makes the calling process run only when no other thread wants its processor; its children are of
/// normal priority again (`sched(7)`).
pub fn lower_priority() -> Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    let policy = libc::SCHED_IDLE | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the structure lives through the call.
    match unsafe { sys!(libc::SYS_sched_setscheduler, 0, policy, &raw const param) } {
        0 => Ok(()),
        error => bail!("lowering the coordinator's priority: sched_setscheduler returned {error}"),
    }
}

/// A task that was seen asleep in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sleeper {
    task: Task,
    /// Its count of switches, where it is needed.
    switches: Option<u64>,
    /// Whether deferred work may be what it waits for.
    may_move: bool,
}

impl Coordinator<'_> {
    /// Waits until nothing moves any more. Returns the tasks that are blocked then. Deferred work is
    /// waited for also where nobody sleeps but files were released: by a call, as `released` says,
    /// or by a task that has ended meanwhile.
    pub(super) fn settle(&mut self, released: bool) -> Result<Vec<Task>> {
        self.released = released;
        let mut drained = None;
        // Whoever was just given an order runs first.
        rustix::thread::sched_yield();
        loop {
            let Some(asleep) = self.look()? else { continue };
            let may_move = asleep.iter().any(|sleeper| sleeper.may_move);
            if self.released || may_move && drained.as_ref() != Some(&asleep) {
                self.released = false;
                self.drainer.drain()?;
                drained = Some(asleep);
            } else if self.processors == 1 || self.look_again()?.as_ref() == Some(&asleep) {
                return Ok(asleep.into_iter().map(|sleeper| sleeper.task).collect());
            }
        }
    }

    /// A second look, between which and the first every processor has run this process and so
    /// whatever was on its way to run there.
    fn look_again(&mut self) -> Result<Option<Vec<Sleeper>>> {
        let all = (0..self.processors).collect::<Vec<_>>();
        for processor in &all {
            run_on(&[*processor])?;
        }
        run_on(&all)?;
        self.look()
    }

    /// Who is asleep in a call; `None` when something moves.
    fn look(&mut self) -> Result<Option<Vec<Sleeper>>> {
        // Whoever has gone to sleep can count as runnable until another one is chosen (`DELAY_DEQUEUE` in
        // kernel/sched/features.h).
        rustix::thread::sched_yield();
        if others_run_by(&self.loadavg)? {
            return Ok(None);
        }
        self.take_note()?;
        let mut asleep = Vec::new();
        for index in 0..self.known.len() {
            let task = Task(index as u8);
            let slot = self.run.slot(task);
            let dying = slot.killed.load(Ordering::Acquire);
            if self.known[index].life != Life::Alive {
                continue;
            }
            if slot.state() == State::Armed && !dying {
                return Ok(None);
            }
            if slot.state() != State::Idle || dying {
                match self.sleeper(task)? {
                    Some(sleeper) => asleep.push(sleeper),
                    None => return Ok(None),
                }
            }
        }
        Ok((asleep.is_empty() || !others_run_by(&self.loadavg)?).then_some(asleep))
    }

    /// How a task sleeps; `None` when it does not.
    fn sleeper(&mut self, task: Task) -> Result<Option<Sleeper>> {
        let slot = self.run.slot(task);
        if self.processors == 1
            && slot.state() == State::Calling
            && !slot.killed.load(Ordering::Acquire)
            && self.run.program.steps.get(usize::from(slot.step())).is_some_and(asks_or_reads)
        {
            return Ok(Some(Sleeper { task, switches: None, may_move: false }));
        }
        let known = &mut self.known[usize::from(task.0)];
        let pid = slot.outer_pid.load(Ordering::Acquire);
        let file = match &mut known.syscall {
            Some(file) => file,
            none => {
                let path = format!("/proc/{pid}/syscall");
                none.insert(File::open(&path).with_context(|| format!("opening {path}"))?)
            }
        };
        let mut buffer = [0; 256];
        // A process that is just ending has no such file any more; it will be reaped.
        let Ok(len) = file.read_at(&mut buffer, 0) else { return Ok(None) };
        let Some(call) = call_of(&String::from_utf8_lossy(&buffer[..len])) else { return Ok(None) };
        let may_move = slot.killed.load(Ordering::Acquire)
            || slot.state() == State::Leaving
            || !waits_for_tasks(call);
        let switches = if may_move || self.processors > 1 {
            let Some(switches) = switches_asleep(pid)? else { return Ok(None) };
            Some(switches)
        } else {
            None
        };
        Ok(Some(Sleeper { task, switches, may_move }))
    }
}

/// Whether any thread but the calling one is runnable, on any processor, as `/proc/loadavg` says.
fn others_run_by(loadavg: &File) -> Result<bool> {
    let mut buffer = [0; 128];
    let len = loadavg.read_at(&mut buffer, 0).context("reading /proc/loadavg")?;
    let text = &buffer[..len];
    let running = running_threads(text);
    let said = || format!("/proc/loadavg says {:?}", String::from_utf8_lossy(text));
    Ok(running.with_context(said)? > 1)
}

/// The same for who asks but once.
pub fn others_run() -> Result<bool> {
    others_run_by(&open_loadavg()?)
}

/// Opens `/proc/loadavg`.
pub(super) fn open_loadavg() -> Result<File> {
    File::open("/proc/loadavg").context("opening /proc/loadavg")
}

/// Whether a step sleeps in one system call only, and [`waits_for_tasks`] holds of that.
fn asks_or_reads(step: &Step) -> bool {
    matches!(
        step.call.innermost(),
        Call::Open { .. } | Call::Read { .. } | Call::Pread { .. } | Call::Readdir { .. }
    )
}

/// Whether a sleep in this call can only be one for an event, an answer or a signal.
fn waits_for_tasks(call: i64) -> bool {
    [
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_mmap,
        libc::SYS_getdents64,
        libc::SYS_openat,
        libc::SYS_execve,
        libc::SYS_pause,
    ]
    .contains(&call)
}

/// The fourth field of `/proc/loadavg` (`proc_loadavg(5)`).
fn running_threads(text: &[u8]) -> Option<u32> {
    let threads = text.split(|byte| *byte == b' ').nth(3)?;
    let end = threads.iter().position(|byte| *byte == b'/')?;
    std::str::from_utf8(&threads[..end]).ok()?.parse().ok()
}

/// The call that a task sleeps in by its `/proc/PID/syscall`: `running` is none, and -1 is not in
/// a call, which a task that sleeps can only be while it dies.
fn call_of(text: &str) -> Option<i64> {
    text.split_whitespace().next()?.parse().ok()
}

/// How many processors the calling process runs on.
pub(super) fn processors() -> Result<usize> {
    let set = rustix::thread::sched_getaffinity(None).context("asking for the processors")?;
    Ok(set.count() as usize)
}

/// Lets the calling process run on these processors only.
fn run_on(processors: &[usize]) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    rustix::thread::sched_setaffinity(None, &set)
        .with_context(|| format!("moving to processors {processors:?}"))
}

/// How often a process that sleeps has left its processor; `None` when it does not sleep. One that
/// is being woken on another processor still has a call for `/proc/PID/syscall`, but not this
/// state.
fn switches_asleep(pid: i32) -> Result<Option<u64>> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let (asleep, switches) = parse_status(&text)
        .with_context(|| format!("{path} has no state or counts of switches"))?;
    Ok(asleep.then_some(switches))
}

/// Whether it sleeps (states S and D of `proc_pid_status(5)`), and how often it has switched.
fn parse_status(status: &str) -> Option<(bool, u64)> {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let count = |name: &str| field(name)?.parse::<u64>().ok();
    let asleep = field("State")?.starts_with(['S', 'D']);
    Some((asleep, count("voluntary_ctxt_switches")? + count("nonvoluntary_ctxt_switches")?))
}

/// The limit that can keep the helper from making a group.
const GROUP_LIMIT: &str = "/proc/sys/fs/fanotify/max_user_groups";

/// The helper: the first process of the program's pid namespace, whose end is the end of all
/// others, and which waits for deferred work of fsnotify on the coordinator's behalf. It holds the
/// userfaultfd for tasks, if there is one.
pub(super) struct Drainer {
    desk: &'static Desk,
    pid: i32,
}

/// What the helper and the coordinator share.
struct Desk {
    slot: Slot,
    /// What making a group returned last: an fd or -errno.
    made: AtomicI64,
    /// Number of the userfaultfd that it is made with, or -1.
    pager: i32,
}

impl Drainer {
    /// Makes the process.
    pub(super) fn start(pager: Option<&Pager>) -> Result<Self> {
        let pager = pager.map_or(-1, Pager::number);
        // Given up to the arena: the process uses it until it is killed.
        let desk =
            Box::leak(Box::new(Desk { slot: Slot::default(), made: AtomicI64::new(0), pager }));
        let argument = std::ptr::from_mut(desk).cast();
        // SAFETY: `help` uses only the desk, and this stack is no other process's.
        let pid = unsafe { task::spawn(help, Stack::HELPER, 0, argument) };
        if pid < 0 {
            bail!("starting the helper: clone returned {pid}");
        }
        Ok(Self { desk, pid: pid as i32 })
    }

    /// Returns when the deferred work that was there at the call is done.
    fn drain(&self) -> Result<()> {
        let mut made = self.make_and_close_group()?;
        if made == -i64::from(libc::EMFILE) {
            // The program has lowered the limit. While it is raised no task makes a group: no
            // order is given out before this returns.
            let limit = fs::read(GROUP_LIMIT).with_context(|| format!("reading {GROUP_LIMIT}"))?;
            let write = |value: &[u8]| {
                fs::write(GROUP_LIMIT, value).with_context(|| format!("writing {GROUP_LIMIT}"))
            };
            write(i32::MAX.to_string().as_bytes())?;
            let again = self.make_and_close_group();
            write(&limit)?;
            made = again?;
        }
        if made < 0 {
            bail!("making a group to wait for deferred work: fanotify_init returned {made}");
        }
        Ok(())
    }

    fn make_and_close_group(&self) -> Result<i64> {
        self.desk.slot.order(0);
        if !self.desk.slot.wait_done(DRAIN_LIMIT) {
            bail!("fsnotify's deferred work is not done after {DRAIN_LIMIT} s: the kernel hangs");
        }
        Ok(self.desk.made.load(Ordering::Acquire))
    }

    /// Ends the process and with it whatever is left in its pid namespace.
    pub(super) fn stop(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_raw(self.pid).context("the helper has no pid")?;
        rustix::process::kill_process(pid, Signal::KILL).context("killing the helper")?;
        wait_for(self.pid).map(drop)
    }
}

extern "C" fn help(desk: *mut c_void) -> i32 {
    // SAFETY: what `start` passed; never freed while this process lives.
    let desk = unsafe { &*desk.cast::<Desk>() };
    // SAFETY: no pointers. The helper must not outlive a coordinator that fails.
    unsafe {
        if desk.pager >= 0 {
            sys!(libc::SYS_dup2, desk.pager, paging::HELD);
        }
        sys!(libc::SYS_close_range, paging::HELD + i32::from(desk.pager >= 0), u32::MAX, 0);
        sys!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    let class = InitFlags::CLASS_NOTIF.bits();
    loop {
        desk.slot.next_order();
        // SAFETY: no pointers.
        let group = unsafe { sys!(libc::SYS_fanotify_init, class, libc::O_RDONLY) };
        desk.made.store(group, Ordering::Release);
        if group >= 0 {
            // SAFETY: no pointers.
            unsafe { sys!(libc::SYS_close, group) };
        }
        desk.slot.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        assert_eq!(running_threads(b"0.00 0.01 0.05 2/45 77\n"), Some(2));
        assert_eq!(running_threads(b"garbage"), None);
        assert_eq!(call_of("running\n"), None);
        assert_eq!(call_of("0 0x3 0x7ffe 0x1000 0x0 0x0 0x0 0x7ffe 0x40\n"), Some(0));
        assert_eq!(call_of("-1 0x0 0x0\n"), Some(-1));
        let counts = "voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let status = |state| format!("Name:\tx\nState:\t{state}\n{counts}");
        assert_eq!(parse_status(&status("D (disk sleep)")), Some((true, 15)));
        assert_eq!(parse_status(&status("S (sleeping)")), Some((true, 15)));
        assert_eq!(parse_status(&status("R (running)")), Some((false, 15)));
        assert_eq!(parse_status("Name:\tx\n"), None);
    }

    #[test]
    fn the_test_itself_is_seen_as_it_is() {
        // The process's first thread, the harness, waits for this one.
        let pid = std::process::id() as i32;
        let sees = || switches_asleep(pid).expect("a status").is_some();
        assert!((0..1000).any(|_| sees()));
        let text = fs::read("/proc/loadavg").expect("a text");
        assert!(running_threads(&text).expect("a count") > 0);
    }
}

//! The tasks of a program, from their own side.
//!
//! Every task is a process (thread group) of its own with a table of file descriptors of its own,
//! but all share the memory of PID 1 (`CLONE_VM` without `CLONE_THREAD`, as `vfork(2)` does). So a
//! task costs about what a thread does, orders and variables need no copying, and what a killed
//! task leaves behind is only what the kernel keeps for it: its files.
//!
//! The price: the thread-local area is shared as well. Code that runs in tasks touches none of it:
//! no libc wrapper that sets errno, no allocator but [`crate::arena`], no standard I/O.
//!
//! A task starts with an empty table of file descriptors, so the first fd of a program is 0.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::Ordering;

use refan_abi::Events;
use refan_program::{Bind, Call, Path, Program, Step, Task};
use refan_wire::{Data, Record};

use crate::calls;
use crate::faults::Armed;
use crate::run::{Run, Slot, State};
use crate::signals;
use crate::stack::Stack;
use crate::sys::{self, sys};

/// How a task comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It starts with no fds and waits for orders.
    Main,
    /// It is a copy of the task that forks it and waits for orders.
    Forked,
    /// It has the fds that its call names and makes just this step.
    Spawned {
        /// Whose fds they are.
        spawner: Task,
    },
}

struct Birth<'a> {
    run: &'a Run<'a>,
    task: Task,
    origin: Origin,
}

/// Makes the process of a task; returns its pid as the caller sees it, or -errno.
///
/// # Safety
/// `run` outlives the task.
pub unsafe fn start(run: &Run<'_>, task: Task, origin: Origin) -> i64 {
    // Given up to the arena: the new task reads it at some later time.
    let birth = Box::into_raw(Box::new(Birth { run, task, origin }));
    // A forked task is a child of the coordinator like all others, which reaps it.
    let parent = if origin == Origin::Forked { libc::CLONE_PARENT } else { 0 };
    // SAFETY: `be` never returns and uses only what `birth` points to, which stays.
    unsafe { spawn(be, Stack::of_task(task), parent, birth.cast()) }
}

/// Starts a process that shares this one's memory; returns its pid or -errno.
///
/// # Safety
/// `entry` is good to be run beside the caller with this argument, and the stack is unused.
pub unsafe fn spawn(
    entry: extern "C" fn(*mut c_void) -> i32,
    stack: Stack,
    flags: i32,
    argument: *mut c_void,
) -> i64 {
    let flags = flags | libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the stack is the new process's alone; the rest is the caller's promise.
    let pid = unsafe { libc::clone(entry, stack.top(), flags, argument) };
    if pid >= 0 {
        return pid.into();
    }
    // Only the caller's own failed clone has set it: tasks never touch errno otherwise.
    -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN))
}

extern "C" fn be(birth: *mut c_void) -> i32 {
    // SAFETY: what `start` passed; read by this task alone.
    let Birth { run, task, origin } = unsafe { birth.cast::<Birth<'_>>().read() };
    let slot = run.slot(task);
    let lent = run.buffer(task);
    if let Some(buffer) = lent
        && let Err(error) = slot.watch_by(buffer)
    {
        let what = format!("watching a task by the KCOV buffer that it is lent returned {error}");
        run.record(&Record::Broken { what });
    }
    if origin != Origin::Forked {
        // SAFETY: no pointers. What the coordinator has open is none of a task's business.
        unsafe { sys!(libc::SYS_close_range, 0, u32::MAX, 0) };
    }
    // SAFETY: no pointers.
    let pid = unsafe { sys!(libc::SYS_getpid) } as i32;
    slot.pid.store(pid, Ordering::Release);
    if origin == Origin::Forked {
        slot.outer_pid.store(calls::outer_pid(), Ordering::Release);
        if run.watch().is_some() {
            slot.watch();
        }
    }
    if let Origin::Spawned { spawner } = origin
        && let Err(what) = inherit(run, slot.step(), spawner)
    {
        run.record(&Record::Broken { what });
        sys::exit(1);
    }
    run.record(&Record::TaskStarted { task: task.0, pid });
    if let Origin::Spawned { .. } = origin {
        make_steps(run, task, slot.step());
        slot.set_state(State::Leaving);
        sys::exit(0);
    }
    loop {
        let step = slot.next_order();
        make_steps(run, task, step);
        slot.done();
    }
}

/// Takes over the user of the spawner and the fds that the call names, under the same numbers.
///
/// `pidfd_getfd(2)` copies each straight from one table to the other: no message in a socket and
/// no third table ever holds a reference.
fn inherit(run: &Run<'_>, step: u16, spawner: Task) -> Result<(), String> {
    let Some(step) = run.program.steps.get(usize::from(step)) else { return Ok(()) };
    let numbers = handed_over(run, step.call.innermost());
    let from = run.slot(spawner);
    if !numbers.is_empty() {
        let failed = |what: &str, ret: i64| format!("handing over an fd: {what} returned {ret}");
        // Each number that is wanted stays free.
        let pidfd = (0..).find(|number| !numbers.contains(number)).unwrap_or_default();
        // SAFETY: no pointers in this and the calls below.
        let opened = unsafe { sys!(libc::SYS_pidfd_open, from.pid.load(Ordering::Acquire), 0) };
        if opened < 0 {
            return Err(failed("pidfd_open", opened));
        }
        move_fd(opened as i32, pidfd).map_err(|ret| failed("dup2", ret))?;
        for number in &numbers {
            // SAFETY: as above.
            let got = unsafe { sys!(libc::SYS_pidfd_getfd, pidfd, *number, 0) };
            if got == -i64::from(libc::EBADF) {
                // The spawner has no such fd; so the call has none either.
                continue;
            }
            if got < 0 {
                return Err(failed("pidfd_getfd", got));
            }
            // Numbers ascend, so the lowest free one is never above the one that is wanted.
            move_fd(got as i32, *number).map_err(|ret| failed("dup2", ret))?;
        }
        // SAFETY: as above.
        unsafe { sys!(libc::SYS_close, pidfd) };
    }
    if from.has_user_namespace.load(Ordering::Acquire) {
        let ret = calls::unshare_user();
        if ret < 0 {
            return Err(format!("entering a user namespace returned {ret}"));
        }
    }
    let uid = from.uid.load(Ordering::Acquire);
    if uid != 0 {
        // SAFETY: as above.
        let ret = unsafe { sys!(libc::SYS_setuid, uid) };
        if ret < 0 {
            return Err(format!("setuid({uid}) returned {ret}"));
        }
    }
    Ok(())
}

fn move_fd(from: i32, to: i32) -> Result<(), i64> {
    if from == to {
        return Ok(());
    }
    // SAFETY: no pointers.
    let ret = unsafe { sys!(libc::SYS_dup2, from, to) };
    if ret < 0 {
        return Err(ret);
    }
    // SAFETY: no pointers.
    unsafe { sys!(libc::SYS_close, from) };
    Ok(())
}

/// Numbers of the fds that a spawned call uses, ascending.
fn handed_over(run: &Run<'_>, call: &Call) -> Vec<i32> {
    let mut numbers: Vec<i32> =
        call.own_fds().map(|fd| run.number(fd)).filter(|n| *n >= 0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Makes a step, or the branch of a block that begins with it.
fn make_steps(run: &Run<'_>, task: Task, index: u16) {
    let Some(step) = run.program.steps.get(usize::from(index)) else { return };
    if step.block.is_none() {
        enter(run, task, index);
        return make_call(run, task, index, step);
    }
    let slot = run.slot(task);
    // A branch without a start is at its call's entry when its time has come.
    if step.start.is_none() {
        enter(run, task, index);
    }
    let block = run.program.block_of(index.into());
    let base = run.base_of(block.clone());
    touch_heap();
    if base == Some(task) {
        slot.watch();
        slot.passed.store(0, Ordering::Release);
    }
    slot.set_state(State::Armed);
    run.gate.wait(step.start);
    if let Some(coverage) = slot.coverage() {
        coverage.reset();
    }
    slot.set_state(State::Calling);
    if step.start.is_some() {
        if let Some(places) = base.and_then(|base| places_passed(run.slot(base))) {
            run.record(&Record::Preempts { step: index, places });
        }
        enter(run, task, index);
    }
    make_call(run, task, index, step);
    make_rest(run, task, index, block);
}

/// How many places the base of a block has passed; none before it enters its first call.
fn places_passed(base: &Slot) -> Option<u32> {
    let coverage = base.coverage()?;
    Some(if base.state() == State::Armed { 0 } else { coverage.count() as u32 })
}

/// Makes the steps of a branch behind its first one.
fn make_rest(run: &Run<'_>, task: Task, index: u16, block: Range<usize>) {
    let slot = run.slot(task);
    for later in usize::from(index) + 1..block.end {
        let step = &run.program.steps[later];
        if !run.gate.is_open(step.block) {
            // An earlier call of the branch was still blocked when everything else had come to rest.
            return;
        }
        if step.caller() == Some(task) {
            slot.set_step(later as u16);
            enter(run, task, later as u16);
            make_call(run, task, later as u16, step);
        }
    }
}

fn enter(run: &Run<'_>, task: Task, step: u16) {
    run.record(&Record::Enter { step, task: task.0, at: sys::now() });
}

/// Makes a step's call, with the record behind it.
fn make_call(run: &Run<'_>, task: Task, index: u16, step: &Step) {
    let (ret, data) = match step.call.innermost() {
        Call::Exit => {
            run.slot(task).set_state(State::Leaving);
            sys::exit(0)
        }
        Call::Fork => (fork(run, task, &step.bind), Data::None),
        Call::Kill { task: victim } => (kill(run, *victim), Data::None),
        call => match run.slot(task).fail_nth.swap(0, Ordering::AcqRel) {
            0 => calls::make(run, task, call),
            nth => make_with_fault(run, task, index, call, nth as u8),
        },
    };
    let slot = run.slot(task);
    if let Some(coverage) = slot.coverage() {
        slot.passed.store(coverage.count(), Ordering::Release);
    }
    // A spawned task's fds are its own: what it is returned binds nothing.
    bind(run, step, ret, &data);
    run.record(&Record::Exit { step: index, task: task.0, at: sys::now(), ret, data });
}

/// Has the kernel allocate what a call's preparations need, so that neither are these allocations
/// counted nor are the page faults places of the call.
fn touch_heap() {
    /// More than the preparations of any call.
    const TOUCHED: usize = 64 << 10;
    drop(std::hint::black_box(vec![1u8; TOUCHED]));
}

/// Makes a call of whose allocations one fails, if it comes to that one.
fn make_with_fault(run: &Run<'_>, task: Task, index: u16, call: &Call, nth: u8) -> (i64, Data) {
    touch_heap();
    let armed = match Armed::new(nth) {
        Ok(armed) => armed,
        Err(error) => {
            let what = format!("arming /proc/thread-self/fail-nth returned {error}");
            run.record(&Record::Broken { what });
            return (error, Data::None);
        }
    };
    let result = calls::make(run, task, call);
    if armed.has_fired() {
        run.record(&Record::Failed { step: index });
    }
    result
}

/// 0, or -errno.
fn fork(run: &Run<'_>, parent: Task, bind: &Bind) -> i64 {
    let Bind::Task(task) = bind else { return -i64::from(libc::EINVAL) };
    let (parent, child) = (run.slot(parent), run.slot(*task));
    child.uid.store(parent.uid.load(Ordering::Acquire), Ordering::Release);
    let namespace = parent.has_user_namespace.load(Ordering::Acquire);
    child.has_user_namespace.store(namespace, Ordering::Release);
    // SAFETY: the coordinator keeps the run until every task has ended.
    unsafe { start(run, *task, Origin::Forked) }.min(0)
}

/// 0, or -errno.
fn kill(run: &Run<'_>, victim: Task) -> i64 {
    let slot = run.slot(victim);
    let sent = signals::send(slot, libc::SIGKILL);
    if sent == 0 {
        slot.killed.store(true, Ordering::Release);
    }
    sent
}

fn bind(run: &Run<'_>, step: &Step, ret: i64, data: &Data) {
    match (&step.bind, data) {
        (Bind::Fd(var), _) if ret >= 0 => run.fill(*var, ret as i32),
        (Bind::Events(vars), Data::Events { bytes, .. }) => {
            for (var, event) in vars.iter().zip(Events::new(bytes)) {
                run.fill(*var, event.map_or(-1, |event| event.fd));
            }
        }
        _ => (),
    }
}

/// Every file that the program names.
pub fn paths_of(program: &Program) -> Vec<Path> {
    let mut paths: Vec<Path> = program.steps.iter().filter_map(|step| step.call.path()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kcov::Buffers;
    use refan_abi::ApiValues;
    use refan_wire::GuestRegion;

    const TRACE_AT: usize = 1 << 20;

    fn parsed(program: &str) -> Program {
        refan_program::parse(program).expect("a program")
    }

    struct Fixture {
        memory: Vec<u64>,
        region: GuestRegion,
        buffers: Buffers,
    }

    impl Fixture {
        fn new() -> Self {
            let mut memory = vec![0u64; (TRACE_AT + (64 << 10)) / 8];
            // SAFETY: the vector is not resized and lives as long as the region.
            let region = unsafe { GuestRegion::new(memory.as_mut_ptr().cast(), memory.len() * 8) };
            let region = region.expect("large enough");
            Self { region, buffers: Buffers::default(), memory }
        }

        fn run<'a>(&'a self, program: &'a Program) -> Run<'a> {
            let api = ApiValues { init_flag: 0, open_queue_ioctl: 0 };
            Run::new(&self.region, &self.buffers, api, program)
        }

        fn trace(&self) -> Vec<Record> {
            let bytes: Vec<u8> = self.memory.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let trace = &bytes[TRACE_AT..];
            // The trace ends at the first header without a length.
            let mut records = refan_wire::decode_trace(trace).expect("records");
            for record in &mut records {
                if let Record::Enter { at, .. } | Record::Exit { at, .. } = record {
                    *at = 0;
                }
            }
            records
        }
    }

    #[test]
    fn a_task_makes_the_steps_that_it_is_ordered_to() {
        let (fixture, program) = (Fixture::new(), parsed("dup(5)\npoll(-1)\nepoll(7)\n"));
        let run = fixture.run(&program);
        // SAFETY: the task is killed and reaped before the run ends.
        let pid = unsafe { start(&run, Task::MAIN, Origin::Main) };
        assert!(pid > 0, "{pid}");
        let slot = run.slot(Task::MAIN);
        for step in 0..3 {
            slot.order(step);
            assert!((0..10).any(|_| slot.wait_done(10)));
        }
        let pid = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).expect("reaped");
        let enter = |step| Record::Enter { step, task: 0, at: 0 };
        let exit = |step, ret| Record::Exit { step, task: 0, at: 0, ret, data: Data::None };
        let started = Record::TaskStarted { task: 0, pid: slot.pid.load(Ordering::Relaxed) };
        // The table of the task is empty: fd 5 is not open, and the epoll instance is 0, not 7.
        let made = [enter(0), exit(0, -9), enter(1), exit(1, 0), enter(2), exit(2, -9)];
        assert_eq!(fixture.trace(), [vec![started], made.to_vec()].concat());
    }

    #[test]
    fn what_a_spawned_call_names_is_handed_over() {
        let fixture = Fixture::new();
        let program = parsed(
            "g = fanotify_init(CLASS_CONTENT, O_RDONLY)\ne = read(g)\na = spawn write(g, e, ALLOW)\n\
             b = spawn dup(3)\nd = spawn dup(-1)\n",
        );
        let run = fixture.run(&program);
        run.fill(refan_program::Var(0), 4);
        run.fill(refan_program::Var(1), 6);
        let handed: Vec<Vec<i32>> =
            run.program.steps.iter().map(|step| handed_over(&run, step.call.innermost())).collect();
        assert_eq!(handed[2..], [vec![4], vec![3], vec![]]);
    }

    #[test]
    fn paths_are_told_once() {
        let program = parsed("open(f1, O_RDONLY)\na = spawn exec(x0)\nopen(f1, O_RDWR)\n");
        let paths: Vec<String> = paths_of(&program).iter().map(Path::to_string).collect();
        assert_eq!(paths, ["f1", "x0"]);
    }
}

//! What befalls groups, daemons and accessors.

use fastrand::Rng;
use refan_abi::{EventMask, InitFlags, MarkFlags, OpenFlags, Response};

use super::draft::Draft;
use crate::valid::{Origin, Role};
use crate::{Bind, Call, Fd, Path, PathKind, Step, Task, Var};

pub(super) fn step(task: Task, call: Call, bind: Bind) -> Step {
    Step { comments: Vec::new(), task, block: None, start: None, bind, call, expect: None }
}

pub(super) fn main_step(call: Call, bind: Bind) -> Step {
    step(Task::MAIN, call, bind)
}

/// Puts a step at a place; between steps of a block, into that block.
pub(super) fn put(draft: &mut Draft, at: usize, mut new: Step) {
    let block = |at: Option<usize>| at.and_then(|at| draft.steps.get(at)).and_then(|it| it.block);
    let before = block(at.checked_sub(1));
    new.block = before.filter(|_| before == block(Some(at)));
    draft.steps.insert(at, new);
}

pub(super) fn kill(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let at = rng.usize(..=draft.steps.len());
    let victims = draft.tasks_before(at, |origin| origin != Origin::Main);
    let task = rng.choice(victims)?;
    put(draft, at, main_step(Call::Kill { task }, Bind::None));
    Some(())
}

/// Where queues are opened: the step, its task, the control fd and the queue.
pub(super) fn queues(draft: &Draft) -> Vec<(usize, Task, Fd, Var)> {
    let opened =
        draft.steps.iter().enumerate().filter_map(|(at, step)| match (&step.call, &step.bind) {
            (Call::OpenQueue { control } | Call::OpenQueue32 { control }, Bind::Fd(var)) => {
                Some((at, step.task, *control, *var))
            }
            _ => None,
        });
    opened.collect()
}

pub(super) fn daemon_death(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let (opened, holder, control, queue) = rng.choice(queues(draft))?;
    let is_forked = draft.tasks_before(opened, |origin| origin == Origin::Forked).contains(&holder);
    // Behind a read, if there is one, as otherwise nothing is pending.
    let from_queue = |step: &Step| {
        matches!(step.call, Call::Read { .. }) && step.call.fds().any(|fd| fd == Fd::Var(queue))
    };
    let reads: Vec<usize> = (opened + 1..draft.steps.len())
        .filter(|at| from_queue(&draft.steps[*at]))
        .map(|at| at + 1)
        .collect();
    let anywhere = rng.usize(opened + 1..=draft.steps.len());
    let at = rng.choice(reads).filter(|_| rng.u8(..4) != 0).unwrap_or(anywhere);
    let death = match rng.u8(..4) {
        0 | 1 if is_forked => main_step(Call::Kill { task: holder }, Bind::None),
        2 if is_forked => step(holder, Call::Exit, Bind::None),
        3 if rng.bool() => step(Task::MAIN, Call::Close { fd: control }, Bind::None),
        _ => step(holder, Call::Close { fd: Fd::Var(queue) }, Bind::None),
    };
    put(draft, at, death);
    let mut at = at + 1;
    if rng.u8(..4) != 0 {
        let successor = draft.new_var(Role::Queue);
        put(draft, at, main_step(Call::OpenQueue { control }, Bind::Fd(successor)));
        at += 1;
        if rng.u8(..4) != 0 {
            let event = draft.new_var(Role::Event);
            let fd = Fd::Var(successor);
            let read = Call::Read { fd, size: Call::DEFAULT_READ };
            put(draft, at, main_step(read, Bind::Events(vec![event])));
        }
    }
    Some(())
}

pub(super) fn fail_nth(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let len = draft.steps.len();
    let at = (len > 0).then(|| rng.usize(..len))?;
    let task = draft.steps[at].task;
    // The first allocations are those of the call itself.
    let most = if rng.bool() { 6 } else { 40 };
    let nth = rng.u8(1..=most);
    put(draft, at, step(task, Call::FailNth { nth }, Bind::None));
    Some(())
}

/// The object of a group's first mark, and what is asked about it.
fn watch(class: InitFlags, rng: &mut Rng) -> (Path, EventMask) {
    // Mostly what is quickest to come to a restart.
    let mut kinds = vec![(PathKind::File, EventMask::OPEN_PERM); 6];
    kinds.push((PathKind::Waiter, EventMask::OPEN_EXEC_PERM));
    kinds.push((PathKind::Ext, EventMask::OPEN_PERM));
    kinds.push((PathKind::File, EventMask::ACCESS_PERM));
    if class == InitFlags::CLASS_PRE_CONTENT {
        kinds.push((PathKind::Ext, EventMask::PRE_ACCESS));
    }
    let (kind, mask) = kinds[rng.usize(..kinds.len())];
    (Path { kind, index: rng.u8(..2) }, mask)
}

/// An access to what is in an open file.
fn contents_of(fd: Fd, rng: &mut Rng) -> Call {
    let size = Call::DEFAULT_READ;
    match rng.u8(..8) {
        0 => Call::Pwrite { fd, text: "refan".to_owned() },
        1 => Call::Fallocate { fd, size },
        2 => Call::Ftruncate { fd, size },
        3 => Call::Mmap { fd, size },
        _ => Call::Pread { fd, size },
    }
}

/// The first steps of all that go deep, before those that there are: init, mark, queue, and mostly
/// one or two accessors, else a reader; now and then a daemon that is a task of its own, a read, which may not come
/// to its end, and an answer.
pub(super) fn prelude(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let mut new = Vec::new();
    let control = Var(0);
    let mut vars = 1;
    let mut var = || {
        vars += 1;
        Var(vars - 1)
    };
    let class = if rng.bool() { InitFlags::CLASS_CONTENT } else { InitFlags::CLASS_PRE_CONTENT };
    let nonblock = if rng.bool() { InitFlags::NONBLOCK } else { InitFlags::empty() };
    let flags = class | InitFlags::RESTARTABLE | nonblock;
    let init = Call::FanotifyInit { flags, event_flags: OpenFlags::O_RDONLY };
    new.push(main_step(init, Bind::Fd(control)));
    let (path, mask) = watch(class, rng);
    let group = Fd::Var(control);
    let mark = Call::FanotifyMark { group, flags: MarkFlags::ADD, mask, path };
    new.push(main_step(mark, Bind::None));
    let mut tasks = 1;
    let mut daemon = Task::MAIN;
    if rng.u8(..3) == 0 {
        daemon = Task(tasks);
        tasks += 1;
        new.push(main_step(Call::Fork, Bind::Task(daemon)));
    }
    let queue = var();
    let open = Call::OpenQueue { control: group };
    new.push(step(daemon, open, Bind::Fd(queue)));
    if daemon != Task::MAIN && rng.bool() {
        // It has the queue alone; who started it keeps the group.
        new.push(step(daemon, Call::Close { fd: group }, Bind::None));
    }
    if rng.u8(..4) == 0 {
        let read = Call::Read { fd: Fd::Var(queue), size: Call::DEFAULT_READ };
        let reader = Bind::Task(Task(tasks));
        new.push(main_step(Call::Spawn { call: Box::new(read) }, reader));
    } else {
        let access = match mask {
            EventMask::OPEN_EXEC_PERM => Call::Exec { path },
            EventMask::OPEN_PERM => Call::Open { path, flags: OpenFlags::O_RDONLY },
            _ => {
                let file = var();
                let open = Call::Open { path, flags: OpenFlags::O_RDWR };
                new.push(main_step(open, Bind::Fd(file)));
                contents_of(Fd::Var(file), rng)
            }
        };
        // Of several, one can be pending while another is unread.
        let accessors = if rng.u8(..3) == 0 { 2 } else { 1 };
        for accessor in (tasks..).take(accessors) {
            let spawn = Call::Spawn { call: Box::new(access.clone()) };
            new.push(main_step(spawn, Bind::Task(Task(accessor))));
        }
        let share = rng.u8(..8);
        // Only `main` can let the page in.
        let stays_in_transit = daemon != Task::MAIN && share < 3;
        if stays_in_transit || share < 5 {
            let event = var();
            let fd = Fd::Var(queue);
            let size = match mask {
                _ if accessors == 1 || rng.bool() => Call::DEFAULT_READ,
                EventMask::PRE_ACCESS => 48,
                _ => 24,
            };
            let read = match stays_in_transit {
                true => Call::ReadMissing { fd, size, good: 0 },
                false => Call::Read { fd, size },
            };
            new.push(step(daemon, read, Bind::Events(vec![event])));
            if !stays_in_transit && rng.u8(..4) == 0 {
                let (fd, event) = (Fd::Var(queue), Fd::Var(event));
                let (response, size) = (Response::ALLOW, None);
                let write = Call::Write { fd, event, response, size };
                new.push(step(daemon, write, Bind::None));
            }
        }
    }
    draft.insert_behind(0, new);
    Some(())
}

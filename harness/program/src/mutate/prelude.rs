//! What programs begin with that go deep: a group, its mark and queue, and what they are asked.

use fastrand::Rng;
use refan_abi::{EventMask, InitFlags, MarkFlags, OpenFlags, Response};

use super::draft::Draft;
use super::events::{main_step, step};
use crate::{Bind, Call, Fd, Path, PathKind, Step, Task, Var};

/// Puts a beginning before the steps that there are: init, mark, queue, and mostly one or two
/// accessors, else a reader; now and then a daemon that is a task of its own, a read, which may not
/// come to its end, and an answer.
pub(super) fn prelude(draft: &mut Draft, rng: &mut Rng) -> Option<()> {
    let mut new = Beginning::default();
    let class = if rng.bool() { InitFlags::CLASS_CONTENT } else { InitFlags::CLASS_PRE_CONTENT };
    let (path, mask) = watched(class, rng);
    let group = new.group(class, path, mask, rng);
    let (daemon, queue) = new.daemon(group, rng);
    if rng.u8(..4) == 0 {
        let read = Call::Read { fd: queue, size: Call::DEFAULT_READ };
        new.spawn(read);
    } else {
        let access = new.access(path, mask, rng);
        // Of several, one can be pending while another is unread.
        let accessors = if rng.u8(..3) == 0 { 2 } else { 1 };
        for _ in 0..accessors {
            new.spawn(access.clone());
        }
        let size = match mask {
            _ if accessors == 1 || rng.bool() => Call::DEFAULT_READ,
            EventMask::PRE_ACCESS => 48,
            _ => 24,
        };
        new.read(daemon, queue, size, rng);
    }
    draft.insert_behind(0, new.steps);
    Some(())
}

/// The object of a group's first mark, and what is asked about it.
fn watched(class: InitFlags, rng: &mut Rng) -> (Path, EventMask) {
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

/// The first steps of a program, with what they name.
#[derive(Default)]
struct Beginning {
    steps: Vec<Step>,
    vars: u16,
    /// Beside `main`.
    tasks: u8,
}

impl Beginning {
    fn var(&mut self) -> Var {
        self.vars += 1;
        Var(self.vars - 1)
    }

    fn task(&mut self) -> Task {
        self.tasks += 1;
        Task(self.tasks)
    }

    fn spawn(&mut self, call: Call) {
        let task = self.task();
        self.steps.push(main_step(Call::Spawn { call: Box::new(call) }, Bind::Task(task)));
    }

    /// A group with a mark: its control fd.
    fn group(&mut self, class: InitFlags, path: Path, mask: EventMask, rng: &mut Rng) -> Fd {
        let nonblock = if rng.bool() { InitFlags::NONBLOCK } else { InitFlags::empty() };
        let flags = class | InitFlags::RESTARTABLE | nonblock;
        let control = self.var();
        let init = Call::FanotifyInit { flags, event_flags: OpenFlags::O_RDONLY };
        self.steps.push(main_step(init, Bind::Fd(control)));
        let group = Fd::Var(control);
        let mark = Call::FanotifyMark { group, flags: MarkFlags::ADD, mask, path };
        self.steps.push(main_step(mark, Bind::None));
        group
    }

    /// Who has the queue, and the queue.
    fn daemon(&mut self, group: Fd, rng: &mut Rng) -> (Task, Fd) {
        let mut daemon = Task::MAIN;
        if rng.u8(..3) == 0 {
            daemon = self.task();
            self.steps.push(main_step(Call::Fork, Bind::Task(daemon)));
        }
        let queue = self.var();
        self.steps.push(step(daemon, Call::OpenQueue { control: group }, Bind::Fd(queue)));
        if daemon != Task::MAIN && rng.bool() {
            // It has the queue alone; who started it keeps the group.
            self.steps.push(step(daemon, Call::Close { fd: group }, Bind::None));
        }
        (daemon, Fd::Var(queue))
    }

    /// What the group is asked about.
    fn access(&mut self, path: Path, mask: EventMask, rng: &mut Rng) -> Call {
        match mask {
            EventMask::OPEN_EXEC_PERM => Call::Exec { path },
            EventMask::OPEN_PERM => Call::Open { path, flags: OpenFlags::O_RDONLY },
            _ => {
                let file = self.var();
                let open = Call::Open { path, flags: OpenFlags::O_RDWR };
                self.steps.push(main_step(open, Bind::Fd(file)));
                contents_of(Fd::Var(file), rng)
            }
        }
    }

    /// Mostly a read of the event, and now and then the answer to it.
    fn read(&mut self, daemon: Task, queue: Fd, size: u32, rng: &mut Rng) {
        let share = rng.u8(..8);
        // Only `main` can let the page in.
        let stays_in_transit = daemon != Task::MAIN && share < 3;
        if !stays_in_transit && share >= 5 {
            return;
        }
        let event = self.var();
        let read = match stays_in_transit {
            true => Call::ReadMissing { fd: queue, size, good: 0 },
            false => Call::Read { fd: queue, size },
        };
        self.steps.push(step(daemon, read, Bind::Events(vec![event])));
        if !stays_in_transit && rng.u8(..4) == 0 {
            let (event, response, size) = (Fd::Var(event), Response::ALLOW, None);
            let write = Call::Write { fd: queue, event, response, size };
            self.steps.push(step(daemon, write, Bind::None));
        }
    }
}

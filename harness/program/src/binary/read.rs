//! Bytes as steps.

use refan_abi::InitFlags;

use super::outlook::{Outlook, Want};
use super::tables::{self, Op};
use super::{END, word};
use crate::valid::{Binds, Open, Origin, Role, Scope};
use crate::{Bind, Block, Call, Fd, Offset, Path, Program, Start, Step, Sysctl, Task, Var};

/// Bytes from the first on; behind the last one are zeros.
pub(super) struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let len = self.0.len().min(N);
        let (here, rest) = self.0.split_at(len);
        array[..len].copy_from_slice(here);
        self.0 = rest;
        array
    }
}

/// The program that the steps make, and the bytes behind the end of the steps.
pub(super) fn read_steps(bytes: &[u8]) -> (Program, &[u8]) {
    let mut reader = Reader::new(bytes);
    let mut steps = Vec::new();
    while let Some(&op) = reader.bytes.0.first() {
        reader.bytes.byte();
        if op == END {
            return (Program::of_steps(steps), reader.bytes.0);
        }
        if steps.len() == Program::MAX_STEPS {
            break;
        }
        steps.extend(reader.next(op));
    }
    (Program::of_steps(steps), &[])
}

/// Steps that the bytes make behind those of a valid program, and at first in this block: at most so
/// many.
pub(crate) fn steps_behind(
    before: &[Step],
    block: Option<Block>,
    bytes: &[u8],
    most: usize,
) -> Vec<Step> {
    let mut reader = Reader::behind(before, block, bytes);
    let mut steps = Vec::new();
    while steps.len() < most && !reader.bytes.0.is_empty() {
        let op = reader.bytes.byte();
        steps.extend(reader.next(op));
    }
    steps
}

/// The variables that a step can refer to behind the steps in scope, the newest first.
pub(crate) fn visible_vars(scope: &Scope, step: &Step) -> Vec<Var> {
    Sight::new(scope, step.block, Op::of(&step.call), step.task).newest_vars(scope, None)
}

/// A step that makes such a call behind those of a valid program, with what else the bytes say.
pub(crate) fn step_like(before: &[Step], like: &Step, bytes: &[u8]) -> Option<Step> {
    Reader::behind(before, like.block, bytes).step(Op::of(&like.call))
}

/// The fd that a call returns gets no name.
pub(super) const NAMELESS: u8 = 3;
/// In place of a reference: a variable of any role by its number follows, in 2 bytes.
pub(super) const ANY: u8 = 0xfd;
/// In place of a reference: an fd number follows, in 1 byte.
pub(super) const NUMBER: u8 = 0xfe;
/// In place of a reference or a small number: a number follows, in 4 bytes.
pub(super) const WIDE: u8 = 0xff;
/// The bits of a start's byte that say which form it has; below them stands the priority.
pub(super) const START_FORM: u8 = 0xf0;
/// From here on a branch has a start: units of it follow, in 2 bytes.
pub(super) const STARTS: u8 = 0x80;
/// From here on it follows in 1 byte: 3 bits of an exponent and 4 behind the leading one, so that it
/// is on the scale of a call: 256 ns to 63 us.
const ROUGH_STARTS: u8 = 0x90;
/// Nanoseconds of it follow, in 4 bytes.
pub(super) const RAW_START: u8 = 0xe0;
/// It is swept.
pub(super) const SWEEP: u8 = 0xf0;
/// Nanoseconds in a unit: of the deterministic machine, the time of one instruction.
pub(super) const START_UNIT: u32 = 16;
/// From here on the size of a write follows.
pub(super) const SIZED: u8 = 0xf0;

fn pick<T: Copy>(table: &[T], byte: u8) -> T {
    table[usize::from(byte) % table.len()]
}

/// The place of a byte in a table, or where it is none, one of what is likely if that is anything. What
/// is likely is found out only then: what was written names everything by its place.
fn likely<T: Copy, L: AsRef<[T]>>(table: &[T], byte: u8, likely: impl FnOnce() -> L) -> Option<T> {
    let place = usize::from(byte);
    if let Some(named) = table.get(place) {
        return Some(*named);
    }
    let likely = likely();
    let choices = if likely.as_ref().is_empty() { table } else { likely.as_ref() };
    place.checked_rem(choices.len()).map(|at| choices[at])
}

struct Reader<'a> {
    bytes: Bytes<'a>,
    /// What the steps so far have made.
    scope: Scope,
    /// What is likely to be of use now.
    outlook: Outlook,
    /// The block that the next step stands in.
    block: Option<Block>,
    /// How many steps that has so far.
    in_block: usize,
    /// Who makes the step that is read.
    task: Task,
    /// What the step that is read can refer to of that.
    sight: Sight,
}

/// What a step can refer to of what is in scope.
#[derive(Default)]
pub(super) struct Sight {
    /// The block that it stands in.
    pub(super) open: Option<Open>,
    /// The branch of that block, unless a spawned task makes it.
    pub(super) branch: Option<Task>,
}

impl Sight {
    /// Of a step of this task.
    pub(super) fn new(scope: &Scope, block: Option<Block>, op: Op, task: Task) -> Self {
        Self { open: scope.opened(block), branch: (op != Op::Spawn).then_some(task) }
    }

    /// The variables of a role, or all of them.
    pub(super) fn newest_vars(&self, scope: &Scope, role: Option<Role>) -> Vec<Var> {
        let vars = scope.vars().iter().enumerate().rev().map(|(at, of)| (Var(at as u16), *of));
        let known = |var| self.open.as_ref().is_none_or(|open| open.knows(self.branch, var));
        vars.filter(|(var, of)| role.is_none_or(|role| role == *of) && known(*var))
            .map(|(var, _)| var)
            .collect()
    }

    /// The tasks of such an origin.
    pub(super) fn newest_tasks(&self, scope: &Scope, takes: impl Fn(Origin) -> bool) -> Vec<Task> {
        let found = |task| self.open.as_ref().is_none_or(|open| open.found(task));
        let tasks = scope.tasks().rev();
        tasks
            .filter(|(task, origin)| takes(*origin) && found(*task))
            .map(|(task, _)| task)
            .collect()
    }

    /// Whether the step can have a start.
    pub(super) fn begins_branch(&self, op: Op) -> bool {
        let begins = |open: &Open| self.branch.is_none_or(|task| open.begins(task));
        !matches!(op, Op::Await | Op::Sleep | Op::KernelLog)
            && self.open.as_ref().is_some_and(begins)
    }
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: Bytes(bytes),
            scope: Scope::new(),
            outlook: Outlook::default(),
            block: None,
            in_block: 0,
            task: Task::MAIN,
            sight: Sight::default(),
        }
    }

    fn behind(before: &[Step], block: Option<Block>, bytes: &'a [u8]) -> Self {
        let mut reader = Self::new(bytes);
        reader.block = block;
        for step in before {
            reader.admit(step);
            reader.in_block =
                if step.block.is_some() && step.block == block { reader.in_block + 1 } else { 0 };
        }
        reader
    }

    fn admit(&mut self, step: &Step) -> bool {
        let admitted = self.scope.admit(step).is_ok();
        if admitted {
            self.outlook.observe(step);
        }
        admitted
    }

    /// The next step, if what begins with this byte is one that is valid here.
    fn next(&mut self, op: u8) -> Option<Step> {
        let step = match self.op(op) {
            Op::BeginBlock => {
                self.block = Some(self.scope.next_block());
                self.in_block = 0;
                None
            }
            Op::EndBlock => {
                self.block = None;
                None
            }
            op => self.step(op),
        }?;
        self.admit(&step).then(|| {
            self.in_block += 1;
            step
        })
    }

    fn op(&self, byte: u8) -> Op {
        let due = || self.outlook.due(self.block.map(|_| self.in_block));
        likely(&Op::STEPS, byte, due).unwrap_or(Op::Await)
    }

    fn step(&mut self, op: Op) -> Option<Step> {
        let task = match op {
            Op::Await | Op::Sleep | Op::KernelLog => Task::MAIN,
            Op::Kill if self.block.is_none() => Task::MAIN,
            op => self.actor(op)?,
        };
        self.task = task;
        self.sight = Sight::new(&self.scope, self.block, op, task);
        let start = if self.sight.begins_branch(op) { self.start() } else { None };
        let call = match op {
            Op::Spawn => {
                let op = likely(&Op::SPAWNED, self.bytes.byte(), || self.outlook.spawned())?;
                Call::Spawn { call: Box::new(self.call(op, Role::File)?) }
            }
            op => self.call(op, Role::Queue)?,
        };
        let bind = self.bind(&call);
        let (comments, expect) = (Vec::new(), None);
        Some(Step { comments, task, block: self.block, start, bind, call, expect })
    }

    fn start(&mut self) -> Option<Start> {
        let byte = self.bytes.byte();
        let at = match byte & START_FORM {
            SWEEP if self.scope.sweeps() => return None,
            SWEEP => Offset::Sweep,
            RAW_START => Offset::Nanoseconds(u32::from_le_bytes(self.bytes.array())),
            form if form >= ROUGH_STARTS => {
                let byte = u32::from(self.bytes.byte());
                Offset::Nanoseconds(START_UNIT * ((16 + byte % 16) << (byte / 16 % 8)))
            }
            STARTS => {
                let units = u16::from_le_bytes(self.bytes.array());
                Offset::Nanoseconds(u32::from(units) * START_UNIT)
            }
            _ => return None,
        };
        Some(Start { at, priority: 1 + (byte & !START_FORM) % Program::MAX_PRIORITY })
    }

    fn actor(&mut self, op: Op) -> Option<Task> {
        let byte = self.bytes.byte();
        let actors = actors(&self.scope, op);
        let rather_forked = matches!(op, Op::Setuid | Op::UnshareUser | Op::ReadMissing);
        if rather_forked && usize::from(byte) >= actors.len() {
            let mut idle = self.outlook.idle(&actors);
            // Without its capabilities, or asleep for a page, `main` makes no group any more.
            idle.retain(|task| *task != Task::MAIN);
            return (!idle.is_empty()).then(|| pick(&idle, byte));
        }
        likely(&actors, byte, || self.outlook.idle(&actors))
    }

    fn bind(&mut self, call: &Call) -> Bind {
        let vars = self.scope.vars().len() as u16;
        match Binds::of(call) {
            Binds::Nothing => Bind::None,
            Binds::Task => Bind::Task(Task(self.scope.tasks().count() as u8)),
            Binds::Fd if self.bytes.byte() % 16 == NAMELESS => Bind::None,
            Binds::Fd => Bind::Fd(Var(vars)),
            Binds::Events => match pick(&tables::EVENT_COUNTS, self.bytes.byte()) {
                0 => Bind::None,
                count => Bind::Events((vars..).take(count).map(Var).collect()),
            },
        }
    }

    /// `read` is what the call of that name is most likely made for.
    fn call(&mut self, op: Op, read: Role) -> Option<Call> {
        Some(match op {
            Op::FanotifyInit => Call::FanotifyInit {
                // Only these bits can be passed.
                flags: word::read(&mut self.bytes, tables::INIT, tables::INIT_OFTEN)
                    & (InitFlags::from_bits_retain(u32::MAX.into()) | InitFlags::RESTARTABLE),
                event_flags: word::read(&mut self.bytes, tables::OPEN, tables::EVENT_OPEN_OFTEN),
            },
            Op::FanotifyMark => {
                let group = self.fd(Some(Role::Group), GROUPS);
                let flags = word::read(&mut self.bytes, tables::MARK, tables::MARK_OFTEN);
                let masks = tables::events_often(self.outlook.flags_of(group), flags);
                let mask = word::read(&mut self.bytes, tables::EVENTS, masks);
                Call::FanotifyMark {
                    group,
                    flags,
                    mask,
                    path: self.path(|_| tables::paths_for(mask)),
                }
            }
            Op::OpenQueue => Call::OpenQueue { control: self.fd(Some(Role::Group), GROUPS) },
            Op::Read => {
                // Who goes on reads events; files are for accessors.
                let wants = if read == Role::Queue { QUEUES } else { READS };
                Call::Read { fd: self.fd(Some(read), wants), size: self.read_size() }
            }
            Op::Pread => Call::Pread { fd: self.fd(None, CONTENTS), size: self.read_size() },
            Op::Write => Call::Write {
                fd: self.fd(Some(Role::Queue), QUEUES),
                event: self.fd(Some(Role::Event), EVENTS),
                response: word::read(
                    &mut self.bytes,
                    &tables::responses(),
                    tables::RESPONSES_OFTEN,
                ),
                size: match self.bytes.byte() {
                    0..SIZED => None,
                    SIZED.. => Some(u32::from(self.bytes.byte()) % (Program::MAX_WRITE + 1)),
                },
            },
            Op::Close => Call::Close { fd: self.fd(None, CLOSED) },
            Op::Dup => Call::Dup { fd: self.fd(None, ANYTHING) },
            Op::Poll => Call::Poll { fd: self.fd(None, ANYTHING) },
            Op::Epoll => Call::Epoll { fd: self.fd(None, ANYTHING) },
            Op::Fionread => Call::Fionread { fd: self.fd(None, ANYTHING) },
            Op::GetFl => Call::GetFl { fd: self.fd(None, ANYTHING) },
            Op::SetFl => Call::SetFl {
                fd: self.fd(None, ANYTHING),
                flags: word::read(&mut self.bytes, tables::OPEN, tables::OPEN_OFTEN),
            },
            Op::GetFd => Call::GetFd { fd: self.fd(None, ANYTHING) },
            Op::Readlink => Call::Readlink { fd: self.fd(None, ANYTHING) },
            Op::Fdinfo => Call::Fdinfo { fd: self.fd(None, ANYTHING) },
            Op::Reopen => Call::Reopen {
                fd: self.fd(None, ANYTHING),
                flags: word::read(&mut self.bytes, tables::OPEN, tables::OPEN_OFTEN),
            },
            Op::ReadFault => {
                let (fd, size) = (self.fd(Some(read), READS), self.read_size());
                Call::ReadFault { fd, size, good: self.read_size().min(size) }
            }
            Op::ReadMissing => {
                let (fd, size) = (self.fd(Some(read), QUEUES), self.read_size());
                let good = self.size(&tables::GOOD_SIZES_OFTEN);
                Call::ReadMissing { fd, size, good: good.min(size) }
            }
            Op::PageIn => Call::PageIn { task: self.task(|_| true, Outlook::readers_in_transit)? },
            Op::WriteFault => Call::WriteFault {
                fd: self.fd(Some(Role::Queue), QUEUES),
                event: self.fd(Some(Role::Event), EVENTS),
                response: word::read(
                    &mut self.bytes,
                    &tables::responses(),
                    tables::RESPONSES_OFTEN,
                ),
                good: u32::from(self.bytes.byte()) % (Program::MAX_WRITE + 1),
            },
            Op::Pwrite => Call::Pwrite { fd: self.fd(None, CONTENTS), text: self.text() },
            Op::Truncate => {
                // Those that were asked about before.
                let path = self.path(|outlook| outlook.watched(false));
                Call::Truncate { path, size: self.read_size() }
            }
            Op::Ftruncate => {
                Call::Ftruncate { fd: self.fd(None, CONTENTS), size: self.read_size() }
            }
            Op::Fallocate => {
                Call::Fallocate { fd: self.fd(None, CONTENTS), size: self.read_size() }
            }
            Op::Mmap => Call::Mmap { fd: self.fd(None, CONTENTS), size: self.read_size() },
            Op::Readdir => Call::Readdir { fd: self.fd(None, CONTENTS) },
            Op::Dup2 => Call::Dup2 { fd: self.fd(None, ANYTHING), to: self.fd(None, ANYTHING) },
            Op::PidfdGetfd => Call::PidfdGetfd {
                task: self.task(|_| true, |_| Vec::new())?,
                fd: self.fd(None, ANYTHING),
            },
            Op::OpenQueue32 => Call::OpenQueue32 { control: self.fd(Some(Role::Group), GROUPS) },
            Op::Socket => Call::Socket,
            Op::SendFd => {
                Call::SendFd { socket: self.fd(None, ANYTHING), fd: self.fd(None, ANYTHING) }
            }
            Op::RecvFd => Call::RecvFd { socket: self.fd(None, ANYTHING) },
            Op::UnshareUser => Call::UnshareUser,
            Op::FailNth => Call::FailNth { nth: self.bytes.byte() },
            Op::Sleep => Call::Sleep {
                ms: u32::from_le_bytes(self.bytes.array()) % (Program::MAX_SLEEP + 1),
            },
            Op::KernelLog => Call::KernelLog,
            Op::Select => Call::Select { fd: self.fd(None, ANYTHING) },
            Op::SetFd => Call::SetFd {
                fd: self.fd(None, ANYTHING),
                flags: word::read(&mut self.bytes, tables::FD_FLAGS, tables::FD_FLAGS),
            },
            Op::Open => Call::Open {
                path: {
                    let is_spawned = self.sight.branch.is_none();
                    // Who opens it and goes on hands it over to who accesses it.
                    self.path(|outlook| match outlook.to_open() {
                        open if is_spawned || open.is_empty() => outlook.watched(false),
                        open => open,
                    })
                },
                flags: word::read(&mut self.bytes, tables::OPEN, tables::OPEN_OFTEN),
            },
            Op::Exec => Call::Exec { path: self.path(|outlook| outlook.watched(true)) },
            Op::Setuid => Call::Setuid { uid: u16::from_le_bytes(self.bytes.array()) },
            Op::Sysctl => Call::Sysctl {
                name: pick(&Sysctl::ALL, self.bytes.byte()),
                value: match self.bytes.byte() {
                    WIDE => u32::from_le_bytes(self.bytes.array()),
                    value => value.into(),
                },
            },
            Op::RlimitNofile => Call::RlimitNofile { more: self.bytes.byte() },
            Op::Fork => Call::Fork,
            Op::Exit => Call::Exit,
            Op::Kill => {
                Call::Kill { task: self.task(|origin| origin != Origin::Main, Outlook::victims)? }
            }
            Op::Signal => {
                let task = self.task(|_| true, Outlook::sleepers)?;
                Call::Signal { task, restart: self.bytes.byte() % 2 == 1 }
            }
            Op::Await => Call::Await { task: self.task(|_| true, |_| Vec::new())? },
            // A spawned task spawns nothing, and `step` has taken all others.
            Op::Spawn | Op::BeginBlock | Op::EndBlock => return None,
        })
    }

    fn task(
        &mut self,
        takes: impl Fn(Origin) -> bool,
        of_use: impl FnOnce(&Outlook) -> Vec<Task>,
    ) -> Option<Task> {
        let byte = self.bytes.byte();
        let tasks = self.sight.newest_tasks(&self.scope, takes);
        likely(&tasks, byte, || {
            let mut of_use = of_use(&self.outlook);
            of_use.retain(|task| tasks.contains(task));
            of_use
        })
    }

    /// A variable of this role, where there is one, or else any; or one that is wanted.
    fn fd(&mut self, role: Option<Role>, wants: &[Want]) -> Fd {
        let all = self.scope.vars().len();
        let fd = match self.bytes.byte() {
            WIDE => return Fd::Number(i32::from_le_bytes(self.bytes.array())),
            NUMBER => return Fd::Number(i8::from_le_bytes(self.bytes.array()).into()),
            ANY => {
                let byte = u16::from_le_bytes(self.bytes.array());
                usize::from(byte).checked_rem(all).map(|at| Fd::Var(Var(at as u16)))
            }
            byte => {
                let mut fit = self.sight.newest_vars(&self.scope, role);
                if fit.is_empty() {
                    fit = self.sight.newest_vars(&self.scope, None);
                }
                let wanted = || {
                    let mut wanted = self.outlook.fds(wants, self.task);
                    let all = self.sight.newest_vars(&self.scope, None);
                    wanted.retain(|var| all.contains(var));
                    wanted
                };
                likely(&fit, byte, wanted).map(Fd::Var)
            }
        };
        fd.unwrap_or(Fd::Number(refan_abi::NO_FD))
    }

    fn path(&mut self, of_use: impl FnOnce(&Outlook) -> Vec<Path>) -> Path {
        let paths = &tables::PATHS;
        likely(paths, self.bytes.byte(), || of_use(&self.outlook)).unwrap_or(paths[0])
    }

    fn text(&mut self) -> String {
        let len = usize::from(self.bytes.byte()) % (Program::MAX_TEXT + 1);
        (0..len).map(|_| char::from(self.bytes.byte() & 0x7f)).collect()
    }

    fn read_size(&mut self) -> u32 {
        self.size(&tables::READ_SIZES_OFTEN)
    }

    fn size(&mut self, often: &[u32]) -> u32 {
        match self.bytes.byte() {
            WIDE => u32::from_le_bytes(self.bytes.array()) % (Program::MAX_READ + 1),
            place => {
                let size = likely(&tables::READ_SIZES, place, || often);
                size.unwrap_or(Call::DEFAULT_READ)
            }
        }
    }
}

const GROUPS: &[Want] = &[Want::Control];
const QUEUES: &[Want] = &[Want::Queue];
const EVENTS: &[Want] = &[Want::Event];
const READS: &[Want] = &[Want::Queue, Want::File];
const CONTENTS: &[Want] = &[Want::File, Want::Event];
const CLOSED: &[Want] = &[Want::Queue, Want::Queue, Want::Queue, Want::Control, Want::Event];
const ANYTHING: &[Want] = &[Want::Queue, Want::Control, Want::Event];

/// Who can make a step: `main` or a forked task, and of those alone `exit`.
pub(super) fn actors(scope: &Scope, op: Op) -> Vec<Task> {
    let takes = |origin| match origin {
        Origin::Main => op != Op::Exit,
        Origin::Forked => true,
        Origin::Spawned => false,
    };
    scope.tasks().filter(|(_, origin)| takes(*origin)).map(|(task, _)| task).collect()
}

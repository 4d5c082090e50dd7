//! Steps as bytes: for each step the bytes that are read as that step.

use super::read::{
    ANY, NAMELESS, NUMBER, RAW_START, SIZED, START_UNIT, STARTS, SWEEP, Sight, WIDE, actors,
};
use super::tables::{self, Op};
use super::word;
use crate::valid::{Binds, Origin, Role, Scope, stands_alone};
use crate::{Bind, Block, Call, Fd, Offset, Path, Program, Start, Step, Sysctl, Task};

/// Writes the steps of a valid program.
pub(super) fn write_steps(bytes: &mut Vec<u8>, program: &Program) {
    let mut writer = Writer { bytes, scope: Scope::new(), sight: Sight::default() };
    let mut block = None;
    for step in &program.steps {
        writer.bounds(block, step.block);
        block = step.block;
        writer.step(step);
        let admitted = writer.scope.admit(step);
        debug_assert!(admitted.is_ok(), "{step:?} of a valid program");
    }
    writer.bounds(block, None);
}

fn place<T: PartialEq>(table: &[T], value: &T) -> Option<u8> {
    table.iter().position(|known| known == value).and_then(|place| u8::try_from(place).ok())
}

struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    scope: Scope,
    /// What the step that is written can refer to.
    sight: Sight,
}

impl Writer<'_> {
    /// Ends one block and begins another, if they are not the same.
    fn bounds(&mut self, last: Option<Block>, next: Option<Block>) {
        if last != next {
            if last.is_some() {
                self.op(Op::EndBlock);
            }
            if next.is_some() {
                self.op(Op::BeginBlock);
            }
        }
    }

    fn op(&mut self, op: Op) {
        self.byte(place(&Op::STEPS, &op).unwrap_or_default());
    }

    fn step(&mut self, step: &Step) {
        let op = Op::of(&step.call);
        self.op(op);
        if !stands_alone(step) {
            self.byte(place(&actors(&self.scope, op), &step.task).unwrap_or_default());
        }
        self.sight = Sight::new(&self.scope, step.block, op, step.task);
        if self.sight.begins_branch(op) {
            self.start(step.start);
        }
        match &step.call {
            Call::Spawn { call } => {
                self.byte(place(&Op::SPAWNED, &Op::of(call)).unwrap_or_default());
                self.call(call, Role::File);
            }
            call => self.call(call, Role::Queue),
        }
        match (Binds::of(&step.call), &step.bind) {
            (Binds::Fd, Bind::None) => self.byte(NAMELESS),
            (Binds::Fd, _) => self.byte(0),
            (Binds::Events, bind) => {
                let count = if let Bind::Events(events) = bind { events.len() } else { 0 };
                self.byte(place(&tables::EVENT_COUNTS, &count).unwrap_or_default());
            }
            (Binds::Nothing | Binds::Task, _) => (),
        }
    }

    fn start(&mut self, start: Option<Start>) {
        let Some(Start { at, priority }) = start else { return self.byte(0) };
        let priority = priority - 1;
        match at {
            Offset::Sweep => self.byte(SWEEP | priority),
            Offset::Nanoseconds(offset) => match u16::try_from(offset / START_UNIT) {
                Ok(units) if offset.is_multiple_of(START_UNIT) => {
                    self.byte(STARTS | priority);
                    self.bytes.extend(units.to_le_bytes());
                }
                _ => {
                    self.byte(RAW_START | priority);
                    self.bytes.extend(offset.to_le_bytes());
                }
            },
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn call(&mut self, call: &Call, read: Role) {
        match call {
            Call::FanotifyInit { flags, event_flags } => {
                word::write(self.bytes, *flags, tables::INIT);
                word::write(self.bytes, *event_flags, tables::OPEN);
            }
            Call::FanotifyMark { group, flags, mask, path } => {
                self.fd(*group, Some(Role::Group));
                word::write(self.bytes, *flags, tables::MARK);
                word::write(self.bytes, *mask, tables::EVENTS);
                self.path(*path);
            }
            Call::OpenQueue { control } | Call::OpenQueue32 { control } => {
                self.fd(*control, Some(Role::Group))
            }
            Call::Read { fd, size } => {
                self.fd(*fd, Some(read));
                self.read_size(*size);
            }
            Call::Pread { fd, size } => {
                self.fd(*fd, None);
                self.read_size(*size);
            }
            Call::Write { fd, event, response, size } => {
                self.fd(*fd, Some(Role::Queue));
                self.fd(*event, Some(Role::Event));
                word::write(self.bytes, *response, &tables::responses());
                match size {
                    None => self.byte(0),
                    Some(size) => self.bytes.extend([SIZED, *size as u8]),
                }
            }
            Call::Close { fd }
            | Call::Dup { fd }
            | Call::Poll { fd }
            | Call::Epoll { fd }
            | Call::Fionread { fd }
            | Call::GetFl { fd }
            | Call::GetFd { fd }
            | Call::Readlink { fd }
            | Call::Fdinfo { fd }
            | Call::Readdir { fd }
            | Call::RecvFd { socket: fd }
            | Call::Select { fd } => self.fd(*fd, None),
            Call::Reopen { fd, flags } => {
                self.fd(*fd, None);
                word::write(self.bytes, *flags, tables::OPEN);
            }
            Call::ReadFault { fd, size, good } | Call::ReadMissing { fd, size, good } => {
                self.fd(*fd, Some(read));
                self.read_size(*size);
                self.read_size(*good);
            }
            Call::WriteFault { fd, event, response, good } => {
                self.fd(*fd, Some(Role::Queue));
                self.fd(*event, Some(Role::Event));
                word::write(self.bytes, *response, &tables::responses());
                self.byte(*good as u8);
            }
            Call::Pwrite { fd, text } => {
                self.fd(*fd, None);
                self.byte(text.len() as u8);
                self.bytes.extend_from_slice(text.as_bytes());
            }
            Call::Ftruncate { fd, size }
            | Call::Fallocate { fd, size }
            | Call::Mmap { fd, size } => {
                self.fd(*fd, None);
                self.read_size(*size);
            }
            Call::FailNth { nth } => self.byte(*nth),
            Call::Sleep { ms } => self.bytes.extend(ms.to_le_bytes()),
            Call::Dup2 { fd, to } | Call::SendFd { socket: fd, fd: to } => {
                self.fd(*fd, None);
                self.fd(*to, None);
            }
            Call::PidfdGetfd { task, fd } => {
                self.task(*task, |_| true);
                self.fd(*fd, None);
            }
            Call::SetFd { fd, flags } => {
                self.fd(*fd, None);
                word::write(self.bytes, *flags, tables::FD_FLAGS);
            }
            Call::SetFl { fd, flags } => {
                self.fd(*fd, None);
                word::write(self.bytes, *flags, tables::OPEN);
            }
            Call::Open { path, flags } => {
                self.path(*path);
                word::write(self.bytes, *flags, tables::OPEN);
            }
            Call::Exec { path } => self.path(*path),
            Call::Truncate { path, size } => {
                self.path(*path);
                self.read_size(*size);
            }
            Call::Setuid { uid } => self.bytes.extend(uid.to_le_bytes()),
            Call::Sysctl { name, value } => {
                self.byte(place(&Sysctl::ALL, name).unwrap_or_default());
                match u8::try_from(*value) {
                    Ok(value) if value != WIDE => self.byte(value),
                    _ => self.wide(value.to_le_bytes()),
                }
            }
            Call::RlimitNofile { more } => self.byte(*more),
            Call::Kill { task } => self.task(*task, |origin| origin != Origin::Main),
            Call::Await { task } | Call::PageIn { task } => self.task(*task, |_| true),
            Call::Signal { task, restart } => {
                self.task(*task, |_| true);
                self.byte((*restart).into());
            }
            Call::Spawn { .. }
            | Call::Fork
            | Call::Exit
            | Call::Socket
            | Call::UnshareUser
            | Call::KernelLog => (),
        }
    }

    fn task(&mut self, task: Task, takes: impl Fn(Origin) -> bool) {
        self.byte(place(&self.sight.newest_tasks(&self.scope, takes), &task).unwrap_or_default());
    }

    fn fd(&mut self, fd: Fd, role: Option<Role>) {
        match fd {
            Fd::Var(var) => match place(&self.sight.newest_vars(&self.scope, role), &var) {
                Some(place) if place < ANY => self.byte(place),
                _ => {
                    self.byte(ANY);
                    self.bytes.extend(var.0.to_le_bytes());
                }
            },
            Fd::Number(number) => match i8::try_from(number) {
                Ok(number) => self.bytes.extend([NUMBER, number as u8]),
                Err(_) => self.wide(number.to_le_bytes()),
            },
        }
    }

    fn path(&mut self, path: Path) {
        self.byte(place(&tables::PATHS, &path).unwrap_or_default());
    }

    fn read_size(&mut self, size: u32) {
        match place(&tables::READ_SIZES, &size) {
            Some(place) => self.byte(place),
            None => self.wide(size.to_le_bytes()),
        }
    }

    fn wide(&mut self, number: [u8; 4]) {
        self.byte(WIDE);
        self.bytes.extend(number);
    }
}

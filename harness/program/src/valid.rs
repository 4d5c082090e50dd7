//! What a valid program is. Parser and decoder both admit step after step here, so that nothing
//! else exists.

use std::collections::HashSet;
use std::fmt;

use refan_abi::{Errno, InitFlags};

use crate::{
    Bind, Block, Call, EventPattern, Expect, Fd, Offset, Path, Program, Start, Step, Task, Var,
    VarKind,
};

impl Program {
    /// The most steps.
    pub const MAX_STEPS: usize = 1000;
    /// The most tasks, `main` included.
    pub const MAX_TASKS: usize = 64;
    /// The most events that one read binds.
    pub const MAX_BOUND_EVENTS: usize = 16;
    /// The largest buffer of a read, in bytes.
    pub const MAX_READ: u32 = 1 << 16;
    /// The longest write of a response, in bytes.
    pub const MAX_WRITE: u32 = 64;
    /// The highest priority of a branch with a start; the lowest is 1.
    pub const MAX_PRIORITY: u8 = 9;
    /// The longest sleep, in milliseconds.
    pub const MAX_SLEEP: u32 = 600_000;
    /// The longest write of bytes to a file.
    pub const MAX_TEXT: usize = 64;
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 32;

    /// Whether it is a program that has a text form and a binary form.
    pub fn validate(&self) -> Result<(), ProgramError> {
        for line in &self.header {
            check_comment(line).map_err(|fault| ProgramError { step: None, fault })?;
        }
        let mut scope = Scope::new();
        for (at, step) in self.steps.iter().enumerate() {
            let comments = step.comments.iter().try_for_each(|line| check_comment(line));
            let admitted = comments.and_then(|()| scope.admit(step).map_err(|(_, fault)| fault));
            admitted.map_err(|fault| ProgramError { step: Some(at), fault })?;
        }
        self.check_names(&scope).map_err(|fault| ProgramError { step: None, fault })
    }

    fn check_names(&self, scope: &Scope) -> Result<(), Fault> {
        if self.tasks.len() != scope.tasks.len() || self.vars.len() != scope.vars.len() {
            return Err(Fault::new(
                format!("{} task names and {} variables", self.tasks.len(), self.vars.len()),
                format!("{} and {}, as steps bind them", scope.tasks.len(), scope.vars.len()),
            ));
        }
        if self.tasks.first().is_none_or(|name| name != MAIN) {
            return Err(Fault::new("a first task of another name", "`main`"));
        }
        for (decl, role) in self.vars.iter().zip(&scope.vars) {
            if decl.kind != role.kind() {
                return Err(Fault::new(
                    format!("`{}` declared as {:?}", decl.name, decl.kind),
                    format!("{:?}, as it is bound", role.kind()),
                ));
            }
        }
        let mut taken = HashSet::new();
        let names = self.tasks.iter().skip(1).chain(self.vars.iter().map(|decl| &decl.name));
        for name in names {
            check_name(name)?;
            if !taken.insert(name) {
                return Err(Fault::new(format!("`{name}` twice"), "a name of its own"));
            }
        }
        Ok(())
    }
}

/// Why a program is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ProgramError {
    step: Option<usize>,
    fault: Fault,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "step {}: ", step + 1)?;
        }
        write!(f, "found {}, expected {}", self.fault.found, self.fault.expected)
    }
}

/// What is wrong, in the words of an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl Fault {
    pub(crate) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { found: found.into(), expected: expected.into() }
    }
}

/// The part of a step that is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Task,
    Bind,
    Call,
    Start,
    Expect,
}

/// What a variable's fd is, as far as the program alone says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Group,
    Queue,
    File,
    Event,
}

impl Role {
    pub(crate) fn kind(self) -> VarKind {
        if self == Self::Event { VarKind::Event } else { VarKind::Fd }
    }
}

/// How a task comes into being, which says what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Main,
    Forked,
    Spawned,
}

/// What a call gives a name to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binds {
    Nothing,
    Fd,
    Events,
    Task,
}

impl Binds {
    pub(crate) fn of(call: &Call) -> Self {
        match call {
            Call::Spawn { .. } | Call::Fork => Self::Task,
            Call::Read { .. } | Call::ReadFault { .. } | Call::ReadMissing { .. } => Self::Events,
            call if call.returns_fd() => Self::Fd,
            _ => Self::Nothing,
        }
    }
}

/// The form that a success of a call has in an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returns {
    Number,
    Read,
    Poll,
    OpenFlags,
    FdFlags,
    Bytes,
    Text,
}

impl Returns {
    /// Said of an expectation that does not fit.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Number => "a number, an errno, `blocked` or `killed`",
            Self::Read => "events, a number, a text, an errno, `blocked` or `killed`",
            Self::Poll => "poll events, `0`, an errno, `blocked` or `killed`",
            Self::OpenFlags => "open flags, an errno, `blocked` or `killed`",
            Self::FdFlags => "`CLOEXEC`, `0`, an errno, `blocked` or `killed`",
            Self::Bytes => "a text, a number, an errno, `blocked` or `killed`",
            Self::Text => "a text, an errno, `blocked` or `killed`",
        }
    }

    pub(crate) fn takes(self, expect: &Expect) -> bool {
        match expect {
            Expect::Errno(_) | Expect::Blocked | Expect::Killed => true,
            Expect::Value(value) => match self {
                Self::Number | Self::Read | Self::Bytes => true,
                Self::Poll | Self::FdFlags => *value == 0,
                Self::OpenFlags | Self::Text => false,
            },
            Expect::Events(_) => self == Self::Read,
            Expect::Poll(flags) => self == Self::Poll && !flags.is_empty(),
            Expect::Open(_) => self == Self::OpenFlags,
            Expect::FdFlags(flags) => self == Self::FdFlags && !flags.is_empty(),
            Expect::Text(_) => matches!(self, Self::Read | Self::Bytes | Self::Text),
        }
    }
}

/// What is known of a program after its first steps: what the next step can refer to.
#[derive(Debug)]
pub(crate) struct Scope {
    tasks: Vec<(Origin, Returns)>,
    vars: Vec<Role>,
    steps: usize,
    /// Blocks so far.
    blocks: u16,
    /// The block that the last step stands in.
    open: Option<Open>,
    /// Whether a start was to be swept.
    sweeps: bool,
    /// Tasks that read into missing memory, and tasks that get signals.
    missing: Vec<Task>,
    signaled: Vec<Task>,
}

/// A block that further steps can stand in.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    block: Block,
    /// Tasks and variables that were there before it.
    tasks: usize,
    vars: usize,
    /// Who makes its steps, spawned tasks apart: each is a branch.
    branches: Vec<Task>,
    /// Which branch binds each variable that it binds, in their order.
    owners: Vec<Task>,
    /// Tasks that begin a `read_missing` in it, and tasks whose buffers it lets in.
    missing: Vec<Task>,
    paged_in: Vec<Task>,
}

impl Open {
    /// Whether a call that this task makes itself would begin its branch.
    pub(crate) fn begins(&self, task: Task) -> bool {
        !self.branches.contains(&task)
    }

    /// Whether the value of a variable can be known to a branch: of a spawned task, to `None`.
    pub(crate) fn knows(&self, branch: Option<Task>, var: Var) -> bool {
        let inside = usize::from(var.0).checked_sub(self.vars);
        let owner = inside.and_then(|at| self.owners.get(at));
        owner.is_none_or(|owner| branch == Some(*owner))
    }

    /// Whether a task was there before the block.
    pub(crate) fn found(&self, task: Task) -> bool {
        usize::from(task.0) < self.tasks
    }
}

impl Scope {
    pub(crate) fn new() -> Self {
        Self {
            tasks: vec![(Origin::Main, Returns::Number)],
            vars: Vec::new(),
            steps: 0,
            blocks: 0,
            open: None,
            sweeps: false,
            missing: Vec::new(),
            signaled: Vec::new(),
        }
    }

    /// The number of a block that begins now.
    pub(crate) fn next_block(&self) -> Block {
        Block(self.blocks)
    }

    /// Whether a start was to be swept: there is but one.
    pub(crate) fn sweeps(&self) -> bool {
        self.sweeps
    }

    /// The block of this number before the next step, which stands in it: the last one or a new one.
    pub(crate) fn opened(&self, block: Option<Block>) -> Option<Open> {
        let block = block?;
        match &self.open {
            Some(open) if open.block == block => Some(open.clone()),
            _ => Some(Open {
                block,
                tasks: self.tasks.len(),
                vars: self.vars.len(),
                branches: Vec::new(),
                owners: Vec::new(),
                missing: Vec::new(),
                paged_in: Vec::new(),
            }),
        }
    }

    pub(crate) fn vars(&self) -> &[Role] {
        &self.vars
    }

    pub(crate) fn tasks(&self) -> impl DoubleEndedIterator<Item = (Task, Origin)> {
        self.tasks.iter().enumerate().map(|(i, (origin, _))| (Task(i as u8), *origin))
    }

    /// What `call` returns, made by a step of a known task.
    pub(crate) fn returns(&self, call: &Call) -> Returns {
        match call.innermost() {
            Call::Read { .. } | Call::ReadFault { .. } | Call::ReadMissing { .. } => Returns::Read,
            Call::Pread { .. } | Call::Mmap { .. } => Returns::Bytes,
            Call::Poll { .. } | Call::Select { .. } => Returns::Poll,
            Call::GetFl { .. } => Returns::OpenFlags,
            Call::GetFd { .. } => Returns::FdFlags,
            Call::Readlink { .. } | Call::Fdinfo { .. } | Call::KernelLog => Returns::Text,
            Call::Await { task } => {
                self.tasks.get(usize::from(task.0)).map_or(Returns::Number, |(_, last)| *last)
            }
            _ => Returns::Number,
        }
    }

    /// What the fd is that a call returns: a duplicate is what it was made from.
    fn role(&self, call: &Call) -> Role {
        match *call {
            Call::FanotifyInit { .. } => Role::Group,
            // What comes over a socket is most likely a queue.
            Call::OpenQueue { .. } | Call::OpenQueue32 { .. } | Call::RecvFd { .. } => Role::Queue,
            Call::Dup { fd: Fd::Var(var) }
            | Call::Dup2 { fd: Fd::Var(var), .. }
            | Call::PidfdGetfd { fd: Fd::Var(var), .. } => {
                self.vars.get(usize::from(var.0)).copied().map_or(Role::File, |role| match role {
                    Role::Event => Role::File,
                    role => role,
                })
            }
            _ => Role::File,
        }
    }

    /// Takes the next step of the program, or says which part of it is at fault.
    pub(crate) fn admit(&mut self, step: &Step) -> Result<(), (Part, Fault)> {
        if self.steps == Program::MAX_STEPS {
            let most = format!("at most {} steps", Program::MAX_STEPS);
            return Err((Part::Call, Fault::new("one step more", most)));
        }
        if self.steps == 0 && !step.comments.is_empty() {
            let fault = Fault::new("comments of the first step", "them in the header");
            return Err((Part::Call, fault));
        }
        let mut open = self.opened(step.block);
        if let Some(block) = step.block
            && block != self.next_block()
            && self.open.as_ref().is_none_or(|open| open.block != block)
        {
            let fault = Fault::new("a block out of turn", "blocks that are numbered in order");
            return Err((Part::Task, fault));
        }
        self.check_task(step).map_err(|fault| (Part::Task, fault))?;
        self.check_call(step).map_err(|fault| (Part::Call, fault))?;
        if let Some(open) = &open {
            check_call_in_block(open, step).map_err(|fault| (Part::Call, fault))?;
        }
        if let Some(start) = step.start {
            self.check_start(open.as_ref(), step, start).map_err(|fault| (Part::Start, fault))?;
        }
        let role = self.role(&step.call);
        self.check_bind(step).map_err(|fault| (Part::Bind, fault))?;
        let returns = self.returns(&step.call);
        let tasks = self.tasks.len() + usize::from(matches!(step.bind, Bind::Task(_)));
        if let Some(expect) = &step.expect {
            check_expect(expect, returns, tasks).map_err(|fault| (Part::Expect, fault))?;
        }
        match step.call.innermost() {
            Call::ReadMissing { .. } => self.missing.push(self.reader(step)),
            Call::Signal { task, .. } => self.signaled.push(*task),
            _ => {}
        }
        match &step.bind {
            Bind::None => (),
            Bind::Fd(_) => self.vars.push(role),
            Bind::Events(vars) => self.vars.extend(vars.iter().map(|_| Role::Event)),
            Bind::Task(_) => self.tasks.push(match step.call {
                Call::Spawn { .. } => (Origin::Spawned, returns),
                _ => (Origin::Forked, Returns::Number),
            }),
        }
        if !stands_alone(step) && !matches!(step.call, Call::Spawn { .. }) {
            self.tasks[usize::from(step.task.0)].1 = returns;
            if let Some(open) = &mut open {
                match step.call {
                    Call::ReadMissing { .. } => open.missing.push(step.task),
                    Call::PageIn { task } => open.paged_in.push(task),
                    _ => {}
                }
                open.branches.push(step.task);
                open.owners.resize(self.vars.len() - open.vars, step.task);
            }
        }
        if let Some(open) = &open {
            self.blocks = open.block.0 + 1;
        }
        self.open = open;
        self.sweeps |= step.start.is_some_and(|start| start.at == Offset::Sweep);
        self.steps += 1;
        Ok(())
    }

    fn check_start(&self, open: Option<&Open>, step: &Step, start: Start) -> Result<(), Fault> {
        let Some(open) = open else {
            return Err(Fault::new("a start outside a block", "no `@`"));
        };
        if !matches!(step.call, Call::Spawn { .. }) && !open.begins(step.task) {
            let found = "a start behind the first step of its branch";
            return Err(Fault::new(found, "it at the first step of that task in the block"));
        }
        if !(1..=Program::MAX_PRIORITY).contains(&start.priority) {
            let found = format!("priority {}", start.priority);
            return Err(Fault::new(found, format!("1 to {}", Program::MAX_PRIORITY)));
        }
        if start.at == Offset::Sweep && self.sweeps {
            return Err(Fault::new("a second sweep", "one in a program"));
        }
        Ok(())
    }

    fn check_task(&self, step: &Step) -> Result<(), Fault> {
        let Some((origin, _)) = self.tasks.get(usize::from(step.task.0)) else {
            return Err(unknown_task());
        };
        match origin {
            Origin::Spawned => {
                Err(Fault::new("a step of a spawned task, which makes one call", "a forked task"))
            }
            Origin::Forked if stands_alone(step) => {
                Err(Fault::new("a task", "no task: nobody makes this step but the executor"))
            }
            Origin::Main | Origin::Forked => Ok(()),
        }
    }

    fn check_call(&self, step: &Step) -> Result<(), Fault> {
        if let Call::Spawn { call } = &step.call
            && !can_be_spawned(call)
        {
            let found = call.name().map_or("a task".to_owned(), |name| format!("`{name}`"));
            return Err(Fault::new(format!("{found} behind `spawn`"), "another call"));
        }
        for fd in step.call.fds() {
            if let Fd::Var(Var(var)) = fd
                && usize::from(var) >= self.vars.len()
            {
                return Err(Fault::new("a variable that no earlier step binds", "a bound one"));
            }
        }
        let main = step.task == Task::MAIN;
        match step.call.innermost() {
            Call::Kill { task }
            | Call::Await { task }
            | Call::PidfdGetfd { task, .. }
            | Call::PageIn { task }
            | Call::Signal { task, .. }
                if usize::from(task.0) >= self.tasks.len() =>
            {
                Err(unknown_task())
            }
            Call::Kill { task } if *task == Task::MAIN => Err(Fault::new("`main`", "another task")),
            Call::Exit if main => Err(Fault::new("`exit` of `main`", "`exit` of a forked task")),
            Call::Exec { .. } if main && !matches!(step.call, Call::Spawn { .. }) => {
                Err(Fault::new("`exec` of `main`", "that of another task: `a = spawn exec(x0)`"))
            }
            Call::Read { size, .. }
            | Call::Pread { size, .. }
            | Call::ReadFault { size, .. }
            | Call::ReadMissing { size, .. }
            | Call::Truncate { size, .. }
            | Call::Ftruncate { size, .. }
            | Call::Fallocate { size, .. }
            | Call::Mmap { size, .. }
                if *size > Program::MAX_READ =>
            {
                Err(Fault::new(
                    format!("a buffer of {size} bytes"),
                    format!("at most {}", Program::MAX_READ),
                ))
            }
            Call::Sleep { ms } if *ms > Program::MAX_SLEEP => Err(Fault::new(
                format!("a sleep of {ms} ms"),
                format!("at most {}", Program::MAX_SLEEP),
            )),
            Call::FailNth { nth: 0 } => {
                Err(Fault::new("the allocation of number 0", "1 for the first"))
            }
            Call::ReadFault { good, size, .. } | Call::ReadMissing { good, size, .. }
                if good > size =>
            {
                Err(Fault::new(
                    format!("{good} bytes that are there of a buffer of {size}"),
                    "no more than the buffer has",
                ))
            }
            Call::Pwrite { text, .. } if text.len() > Program::MAX_TEXT || !text.is_ascii() => {
                let most = format!("at most {} characters of ASCII", Program::MAX_TEXT);
                Err(Fault::new(format!("the text {text:?}"), most))
            }
            Call::WriteFault { good: size, .. } | Call::Write { size: Some(size), .. }
                if *size > Program::MAX_WRITE =>
            {
                Err(Fault::new(
                    format!("a write of {size} bytes"),
                    format!("at most {}", Program::MAX_WRITE),
                ))
            }
            Call::FanotifyInit { flags, .. }
                if flags.difference(InitFlags::RESTARTABLE).bits() > u64::from(u32::MAX) =>
            {
                Err(Fault::new("flags above bit 31", "32 bits"))
            }
            // Who has a signal to handle when it returns does not sleep for a page but asks for it
            // again and again (handle_userfault() in mm/userfaultfd.c), so nothing comes to rest.
            Call::Signal { task, .. } if self.missing.contains(task) => {
                Err(Fault::new("a signal to a task that reads into missing memory", "another task"))
            }
            Call::ReadMissing { .. } if self.signaled.contains(&self.reader(step)) => {
                Err(Fault::new("a read into missing memory by a task that gets a signal", "`read`"))
            }
            _ => Ok(()),
        }
    }

    /// Who makes the call of a step, if it is none of the executor's own.
    fn reader(&self, step: &Step) -> Task {
        match step.call {
            Call::Spawn { .. } => Task(self.tasks.len() as u8),
            _ => step.task,
        }
    }

    fn check_bind(&self, step: &Step) -> Result<(), Fault> {
        let (var, task) = (Var(self.vars.len() as u16), Task(self.tasks.len() as u8));
        let out_of_order = || Fault::new("a name that is bound out of turn", "the next index");
        match (Binds::of(&step.call), &step.bind) {
            (Binds::Task, Bind::Task(new)) if *new != task => Err(out_of_order()),
            (Binds::Task, Bind::Task(_)) if self.tasks.len() == Program::MAX_TASKS => {
                Err(Fault::new("one task more", format!("at most {} tasks", Program::MAX_TASKS)))
            }
            (Binds::Task, Bind::Task(_)) => Ok(()),
            (Binds::Task, Bind::None) => {
                Err(Fault::new("a new task without a name", "`NAME = ` before it"))
            }
            (Binds::Fd, Bind::Fd(new)) if *new != var => Err(out_of_order()),
            (Binds::Events, Bind::Events(new))
                if new.is_empty() || new.len() > Program::MAX_BOUND_EVENTS =>
            {
                Err(Fault::new(
                    format!("{} events", new.len()),
                    format!("1 to {}", Program::MAX_BOUND_EVENTS),
                ))
            }
            (Binds::Events, Bind::Events(new)) if (var.0..).zip(new).any(|(i, v)| i != v.0) => {
                Err(out_of_order())
            }
            (Binds::Fd, Bind::Fd(_)) | (Binds::Events, Bind::Events(_)) => Ok(()),
            (_, Bind::None) => Ok(()),
            _ => Err(Fault::new("a name for something that the call does not return", "no name")),
        }
    }
}

/// Whether the step is the executor's own, so that no task makes it.
pub(crate) fn stands_alone(step: &Step) -> bool {
    step.caller().is_none()
}

/// What cannot be done at the same time as other things.
fn check_call_in_block(open: &Open, step: &Step) -> Result<(), Fault> {
    let before = "it before or behind the block";
    if !open.found(step.task) {
        let found = "a step of a task that this block makes";
        return Err(Fault::new(found, "it behind the block"));
    }
    match step.call.innermost() {
        Call::Sysctl { .. } => return Err(Fault::new("`sysctl` in a block", before)),
        Call::Signal { .. } => return Err(Fault::new("`signal` in a block", before)),
        Call::Await { .. } => return Err(Fault::new("an await in a block", before)),
        Call::Sleep { .. } | Call::KernelLog => {
            let name = step.call.name().unwrap_or_default();
            return Err(Fault::new(format!("`{name}` in a block"), before));
        }
        Call::Kill { task } | Call::PidfdGetfd { task, .. } | Call::PageIn { task }
            if !open.found(*task) =>
        {
            return Err(Fault::new("a task that this block makes", "one from before the block"));
        }
        // Before the read has begun there would be nothing to let in, and behind that everything.
        Call::PageIn { task } if open.missing.contains(task) => {
            return Err(Fault::new("the buffer of a read in the same block", before));
        }
        Call::ReadMissing { .. } if open.paged_in.contains(&step.task) => {
            return Err(Fault::new("a read whose buffer the same block lets in", before));
        }
        _ => {}
    }
    let branch = (!matches!(step.call, Call::Spawn { .. })).then_some(step.task);
    for fd in step.call.fds() {
        if let Fd::Var(var) = fd
            && !open.knows(branch, var)
        {
            let found = "a variable that another branch of this block binds";
            return Err(Fault::new(found, "one from before the block or of the same branch"));
        }
    }
    Ok(())
}

/// Whether a spawned task can make this call.
pub(crate) fn can_be_spawned(call: &Call) -> bool {
    !matches!(
        call,
        Call::Spawn { .. }
            | Call::Fork
            | Call::Exit
            | Call::FailNth { .. }
            | Call::PageIn { .. }
            | Call::Sleep { .. }
            | Call::KernelLog
            | Call::Kill { .. }
            | Call::Signal { .. }
            | Call::Await { .. }
    )
}

fn unknown_task() -> Fault {
    Fault::new("a task that no earlier step makes", "`main` or the name of an earlier task")
}

fn check_expect(expect: &Expect, returns: Returns, tasks: usize) -> Result<(), Fault> {
    if !returns.takes(expect) {
        return Err(Fault::new("what this call does not return", returns.expected()));
    }
    match expect {
        Expect::Errno(errno) => check_errno(*errno),
        Expect::Events(events) if events.is_empty() => {
            Err(Fault::new("a list of no events", "`0`"))
        }
        Expect::Events(events) => events.iter().try_for_each(|event| check_event(event, tasks)),
        _ => Ok(()),
    }
}

fn check_event(event: &EventPattern, tasks: usize) -> Result<(), Fault> {
    if event.mask.is_empty() {
        return Err(Fault::new("an event without a mask", "its mask"));
    }
    if event.by.is_some_and(|task| usize::from(task.0) >= tasks) {
        return Err(unknown_task());
    }
    event.error.map_or(Ok(()), check_errno)
}

fn check_errno(errno: Errno) -> Result<(), Fault> {
    match errno.0 {
        1..=4095 => Ok(()),
        number => Err(Fault::new(format!("errno({number})"), "1 to 4095")),
    }
}

/// The name of the task that the program starts with.
pub(crate) const MAIN: &str = "main";

/// Words of the text form that are no names of calls.
const KEYWORDS: [&str; 9] =
    [MAIN, "by", "fd", "blocked", "killed", "errno", "par", "sweep", "prio"];

/// Whether a step can bind this name.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Err(Fault::new(format!("`{name}`"), "a name like `a`, `q2` or `new_queue`"));
    }
    if name.len() > Program::MAX_NAME {
        let most = format!("a name of at most {} characters", Program::MAX_NAME);
        return Err(Fault::new(format!("`{name}`"), most));
    }
    let what = if name.parse::<Path>().is_ok() {
        "a file"
    } else if Call::NAMES.contains(&name) {
        "a call"
    } else if KEYWORDS.contains(&name) {
        "a word of the language"
    } else {
        return Ok(());
    };
    Err(Fault::new(format!("`{name}`, {what}"), "a name that means nothing else"))
}

/// Whether a comment line survives being printed and parsed.
pub(crate) fn check_comment(line: &str) -> Result<(), Fault> {
    if line.chars().any(char::is_control) || line.trim_end() != line {
        return Err(Fault::new(
            format!("the comment {line:?}"),
            "no control characters and no white space at its end",
        ));
    }
    Ok(())
}

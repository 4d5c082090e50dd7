//! The same calls in a plainer way.

use bitflags::Flags;
use refan_abi::InitFlags;

use super::changed;
use crate::{Bind, Call, Fd, Offset, Path, PathKind, Program, Start, Step, Task, Var};

/// Calls of a block one after another: all of a block, then one step; and branches that begin with the
/// block, or sooner.
pub(super) fn flattened(program: &Program) -> Vec<Program> {
    let mut candidates = Vec::new();
    for at in 0..program.steps.len() {
        let block = program.block_of(at);
        if program.steps[at].block.is_none() {
            continue;
        }
        let plain = |step: &mut Step| (step.block, step.start) = (None, None);
        if block.start == at {
            candidates.push(changed(program, |steps| steps[block].iter_mut().for_each(plain)));
        }
        candidates.push(changed(program, |steps| plain(&mut steps[at])));
        let Some(Start { at: offset, priority }) = program.steps[at].start else { continue };
        candidates.push(changed(program, |steps| steps[at].start = None));
        let sooner = match offset {
            Offset::Nanoseconds(offset) => Some(Offset::Nanoseconds(offset / 2)),
            Offset::Sweep => None,
        };
        let starts = [
            Some(Start { at: Offset::Nanoseconds(0), priority: 1 }),
            Some(Start { at: offset, priority: 1 }),
            sooner.map(|at| Start { at, priority }),
        ];
        for start in starts.into_iter().flatten() {
            candidates.push(changed(program, |steps| steps[at].start = Some(start)));
        }
    }
    candidates
}

/// Each step by `main`, and its call with an earlier fd, fewer flags or plain numbers.
pub(super) fn calls(program: &Program) -> Vec<Program> {
    let mut candidates = Vec::new();
    for (at, step) in program.steps.iter().enumerate() {
        if step.task != Task::MAIN {
            candidates.push(changed(program, |steps| steps[at].task = Task::MAIN));
        }
        for (which, fd) in step.call.fds().enumerate() {
            let Fd::Var(Var(var)) = fd else { continue };
            let end = if is_closed(program, at, fd) { program.vars.len() as u16 } else { var };
            let others = (0..end).map(|var| Fd::Var(Var(var)));
            for other in others.filter(|other| !is_closed(program, at, *other)) {
                candidates.push(changed(program, |steps| {
                    if let Some(fd) = steps[at].call.fds_mut().nth(which) {
                        *fd = other;
                    }
                }));
            }
        }
        for call in plainer(step.call.innermost()) {
            candidates.push(changed(program, |steps| *steps[at].call.innermost_mut() = call));
        }
        if let Call::Read { .. } = step.call
            && let Bind::Events(vars) = &step.bind
            && vars.len() > 1
        {
            candidates.push(changed(program, |steps| {
                if let Bind::Events(vars) = &mut steps[at].bind {
                    vars.truncate(1);
                }
            }));
        }
    }
    candidates
}

/// Whether the task of a step has closed an fd before: its number may stand for another one by then, which
/// has a name of its own.
fn is_closed(program: &Program, at: usize, fd: Fd) -> bool {
    let task = program.steps[at].task;
    let close = Call::Close { fd };
    program.steps[..at].iter().any(|step| step.task == task && step.call == close)
}

/// How often an fd is named that is closed.
pub(super) fn closed_fds(program: &Program) -> usize {
    let steps = program.steps.iter().enumerate();
    steps.map(|(at, step)| step.call.fds().filter(|fd| is_closed(program, at, *fd)).count()).sum()
}

/// One file in the place of another, wherever it is named.
pub(super) fn files(program: &Program) -> Vec<Program> {
    let named = |step: &Step| path_of(&step.call);
    let mut paths: Vec<Path> = program.steps.iter().filter_map(named).collect();
    paths.sort_unstable();
    paths.dedup();
    let plain = Path { kind: PathKind::File, index: 0 };
    paths
        .into_iter()
        .flat_map(|path| [(path, plain), (path, Path { index: 0, ..path })])
        .filter(|(path, other)| path != other)
        .map(|(path, other)| {
            changed(program, |steps| {
                for step in steps.iter_mut() {
                    if let Some(named) = path_mut(&mut step.call)
                        && *named == path
                    {
                        *named = other;
                    }
                }
            })
        })
        .collect()
}

fn path_of(call: &Call) -> Option<Path> {
    path_mut(&mut call.clone()).copied()
}

fn path_mut(call: &mut Call) -> Option<&mut Path> {
    match call.innermost_mut() {
        Call::FanotifyMark { path, .. }
        | Call::Open { path, .. }
        | Call::Exec { path }
        | Call::Truncate { path, .. } => Some(path),
        _ => None,
    }
}

/// The word with none of its flags, and without each of them.
fn fewer<F: Flags + Copy>(word: F) -> Vec<F> {
    let each = F::FLAGS.iter().map(|flag| *flag.value()).filter(|flag| !flag.is_empty());
    let set = each.filter(|flag| word.contains(*flag));
    std::iter::once(F::empty()).chain(set.map(|flag| word.difference(flag))).collect()
}

/// Smaller numbers.
fn lower(number: u32) -> Vec<u32> {
    let mut lower = vec![0, number / 2, number.saturating_sub(1)];
    lower.retain(|it| *it < number);
    lower
}

/// A call with each of these values in some place.
fn with<T>(call: &Call, values: impl IntoIterator<Item = T>, set: fn(&mut Call, T)) -> Vec<Call> {
    let made = values.into_iter().map(|value| {
        let mut call = call.clone();
        set(&mut call, value);
        call
    });
    made.collect()
}

/// In how many ways a call can be plainer, its file included.
pub(super) fn ways(call: &Call) -> usize {
    let path = path_of(call)
        .map_or(0, |path| usize::from(path.kind != PathKind::File) + usize::from(path.index != 0));
    plainer(call.innermost()).len() + path
}

/// The call with one argument plainer.
fn plainer(call: &Call) -> Vec<Call> {
    match call {
        Call::FanotifyInit { flags, event_flags } => {
            let content = (*flags - InitFlags::CLASS) | InitFlags::CLASS_CONTENT;
            let flags = std::iter::once(content).chain(fewer(*flags));
            let mut calls = with(call, flags, |call, new| {
                if let Call::FanotifyInit { flags, .. } = call {
                    *flags = new;
                }
            });
            calls.extend(with(call, fewer(*event_flags), |call, new| {
                if let Call::FanotifyInit { event_flags, .. } = call {
                    *event_flags = new;
                }
            }));
            calls
        }
        Call::FanotifyMark { flags, mask, .. } => {
            let mut calls = with(call, fewer(*flags), |call, new| {
                if let Call::FanotifyMark { flags, .. } = call {
                    *flags = new;
                }
            });
            calls.extend(with(call, fewer(*mask), |call, new| {
                if let Call::FanotifyMark { mask, .. } = call {
                    *mask = new;
                }
            }));
            calls
        }
        Call::Open { flags, .. } | Call::SetFl { flags, .. } | Call::Reopen { flags, .. } => {
            with(call, fewer(*flags), |call, new| {
                if let Call::Open { flags, .. }
                | Call::SetFl { flags, .. }
                | Call::Reopen { flags, .. } = call
                {
                    *flags = new;
                }
            })
        }
        Call::SetFd { fd, flags } => {
            fewer(*flags).into_iter().map(|flags| Call::SetFd { fd: *fd, flags }).collect()
        }
        Call::Read { fd, .. } => vec![Call::Read { fd: *fd, size: Call::DEFAULT_READ }],
        Call::Write { fd, event, response, .. } => {
            let whole = Call::Write { fd: *fd, event: *event, response: *response, size: None };
            let mut calls = with(call, fewer(*response), |call, new| {
                if let Call::Write { response, .. } = call {
                    *response = new;
                }
            });
            calls.push(whole);
            calls
        }
        Call::Pread { size, .. }
        | Call::Truncate { size, .. }
        | Call::Ftruncate { size, .. }
        | Call::Fallocate { size, .. }
        | Call::Mmap { size, .. } => with(call, lower(*size), |call, new| {
            if let Call::Pread { size, .. }
            | Call::Truncate { size, .. }
            | Call::Ftruncate { size, .. }
            | Call::Fallocate { size, .. }
            | Call::Mmap { size, .. } = call
            {
                *size = new;
            }
        }),
        Call::Sysctl { name, value } => {
            lower(*value).into_iter().map(|value| Call::Sysctl { name: *name, value }).collect()
        }
        Call::Sleep { ms } => lower(*ms).into_iter().map(|ms| Call::Sleep { ms }).collect(),
        // The first allocation is number 1.
        Call::FailNth { nth } => (1..*nth).map(|nth| Call::FailNth { nth }).collect(),
        Call::Signal { task, .. } => vec![Call::Signal { task: *task, restart: false }],
        Call::OpenQueue32 { control } => vec![Call::OpenQueue { control: *control }],
        Call::Epoll { fd } | Call::Select { fd } => vec![Call::Poll { fd: *fd }],
        _ => Vec::new(),
    }
}

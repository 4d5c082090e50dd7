//! Programs for property tests, of this crate and of others.

use proptest::collection::vec;
use proptest::prelude::*;
use refan_abi::{Errno, EventMask, FdFlags, OpenFlags, PollFlags};

use crate::valid::{Scope, check_name};
use crate::{Bind, EventPattern, Expect, Inode, Program, Task};

/// Any valid program without comments, expectations and chosen names.
pub fn bare_programs() -> impl Strategy<Value = Program> {
    vec(any::<u8>(), 0..400).prop_map(|bytes| Program::decode(&bytes))
}

/// Any valid program.
pub fn programs() -> impl Strategy<Value = Program> {
    let notes = vec(notes(), 0..60);
    (bare_programs(), vec(comment(), 0..3), vec("[a-z][a-z0-9_]{0,31}", 0..60), notes).prop_map(
        |(mut program, header, names, notes)| {
            program.header = header;
            rename(&mut program, names);
            annotate(&mut program, notes);
            program
        },
    )
}

/// Gives new names to what comes first, as far as they are free.
fn rename(program: &mut Program, names: Vec<String>) {
    let places = program.tasks.len() - 1 + program.vars.len();
    for (place, name) in (0..places).zip(names) {
        let taken = program.tasks.contains(&name)
            || program.vars.iter().any(|decl| decl.name == name)
            || check_name(&name).is_err();
        if taken {
            continue;
        }
        match program.tasks.get_mut(place + 1) {
            Some(task) => *task = name,
            None => program.vars[place + 1 - program.tasks.len()].name = name,
        }
    }
}

/// What people add to a step: comments, and expectations of which the first that fits is taken.
type Notes = (Vec<String>, Vec<Expect>);

fn annotate(program: &mut Program, notes: Vec<Notes>) {
    let mut scope = Scope::new();
    let mut tasks = 1;
    for (i, step) in program.steps.iter_mut().enumerate() {
        tasks += usize::from(matches!(step.bind, Bind::Task(_)));
        if let Some((comments, expects)) = notes.get(i).cloned() {
            if i > 0 {
                step.comments = comments;
            }
            let returns = scope.returns(&step.call);
            let mut expects = expects.into_iter().map(|expect| within(expect, tasks));
            step.expect = expects.find(|expect| returns.takes(expect));
        }
        scope.admit(step).expect("a valid step");
    }
}

/// The expectation with its tasks among the first so many.
fn within(mut expect: Expect, tasks: usize) -> Expect {
    if let Expect::Events(events) = &mut expect {
        for task in events.iter_mut().filter_map(|event| event.by.as_mut()) {
            *task = Task(task.0 % tasks as u8);
        }
    }
    expect
}

fn notes() -> impl Strategy<Value = Notes> {
    (vec(comment(), 0..2), vec(expect(), 0..6))
}

fn comment() -> impl Strategy<Value = String> {
    "\\PC{0,30}".prop_map(|text| text.trim_end().to_owned())
}

fn errno() -> impl Strategy<Value = Errno> {
    (1..=4095u16).prop_map(Errno)
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        any::<u32>().prop_map(Expect::Value),
        Just(Expect::Value(0)),
        errno().prop_map(Expect::Errno),
        Just(Expect::Blocked),
        Just(Expect::Killed),
        vec(event(), 1..4).prop_map(Expect::Events),
        (1..=u16::MAX).prop_map(|bits| Expect::Poll(PollFlags::from_bits_retain(bits))),
        any::<u32>().prop_map(|bits| Expect::Open(OpenFlags::from_bits_retain(bits))),
        (1..=u32::MAX).prop_map(|bits| Expect::FdFlags(FdFlags::from_bits_retain(bits))),
        any::<String>().prop_map(Expect::Text),
    ]
}

fn event() -> impl Strategy<Value = EventPattern> {
    let path = proptest::sample::select(Inode::all().collect::<Vec<_>>());
    (
        (1..=u64::MAX).prop_map(EventMask::from_bits_retain),
        proptest::option::of(errno()),
        proptest::option::of(path),
        proptest::option::of(any::<u8>().prop_map(Task)),
    )
        .prop_map(|(mask, error, path, by)| EventPattern { mask, error, path, by })
}

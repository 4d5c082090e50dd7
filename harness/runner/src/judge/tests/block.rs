//! Traces of blocks, written by hand: how they are read and told.

use refan_model::{Moment, Skipped};
use refan_program::{Program, Task, parse};
use refan_wire::{Data, Record, Skip, TaskEnd};

use crate::judge::history;
use crate::judge::trace::Trace;

/// `main` is 0, `d` 1, `b` 2 and `a` 3.
const TEXT: &str = "\
d = fork()
b = spawn read(5)
par {
    d: close(3)              @ 2300ns
    poll(1)
    poll(2)
    a = spawn open(f0, O_RDONLY) @ 16ns
    d: dup(0)
}
a
";

fn program() -> Program {
    parse(TEXT).unwrap_or_else(|error| panic!("{}", error.render("test", TEXT)))
}

fn started(task: u8) -> Record {
    Record::TaskStarted { task, pid: 10 + i32::from(task) }
}

fn enter(step: u16, task: u8, at: u64) -> Record {
    Record::Enter { step, task, at }
}

fn exit(step: u16, task: u8, at: u64, ret: i64) -> Record {
    Record::Exit { step, task, at, ret, data: Data::None }
}

fn quiet(step: u16, blocked: &[u8]) -> Record {
    Record::Quiet { step, at: 90_000, blocked: blocked.to_vec() }
}

fn ended(task: u8) -> Record {
    Record::TaskEnded { task, at: 95_000, end: TaskEnd::Signaled(9) }
}

/// Up to the block: `b` sleeps in its call.
fn before() -> Vec<Record> {
    vec![
        Record::Begin { at: 0 },
        started(0),
        enter(0, 0, 1),
        started(1),
        exit(0, 0, 2, 0),
        quiet(0, &[]),
        started(2),
        enter(1, 2, 3),
        quiet(1, &[2]),
    ]
}

fn block() -> Vec<Record> {
    vec![
        enter(3, 0, 9_000),
        started(3),
        Record::Instant { step: 2, at: 10_000 },
        enter(5, 3, 10_100),
        enter(2, 1, 12_300),
        exit(1, 2, 12_500, 0),
        exit(2, 1, 13_000, 0),
        enter(6, 1, 13_100),
        exit(6, 1, 14_000, -9),
        exit(3, 0, 15_000, 0),
        enter(4, 0, 16_000),
        exit(4, 0, 17_000, 0),
        quiet(6, &[3]),
    ]
}

fn after() -> Vec<Record> {
    vec![
        quiet(7, &[3]),
        ended(0),
        ended(1),
        ended(2),
        ended(3),
        Record::End { at: 99_000 },
        Record::Accounts { leaks: Vec::new() },
    ]
}

fn read(block: &[Record]) -> Trace {
    Trace::read(&program(), &[before(), block.to_vec(), after()].concat())
}

#[test]
fn a_block_is_seen_as_a_whole_and_in_order() {
    let trace = read(&block());
    assert_eq!(trace.fault, None);
    let steps: Vec<_> = trace.parts.iter().map(|part| part.steps.clone()).collect();
    assert_eq!(steps, [0..1, 1..2, 2..7, 7..8]);
    use Moment::{Enter, Return};
    let order = [
        Enter(3),
        Enter(5),
        Enter(2),
        Return(1),
        Return(2),
        Enter(6),
        Return(6),
        Return(3),
        Enter(4),
        Return(4),
    ];
    assert_eq!(trace.parts[2].seen.order, order);
    assert_eq!(trace.parts[2].seen.blocked.iter().collect::<Vec<_>>(), [&Task(3)]);
    assert!(trace.parts[1].seen.order.is_empty() && trace.parts[3].seen.order.is_empty());
}

#[test]
fn steps_that_are_not_made_are_accounted_for() {
    let skip = |step| Record::Skipped { step, why: Skip::Busy };
    let mut records = block();
    records.retain(|record| !matches!(record, Record::Enter { step: 2 | 6, .. }));
    records.retain(|record| !matches!(record, Record::Exit { step: 2 | 6, .. }));
    // Neither made nor skipped.
    assert!(read(&records).fault.is_some());
    // Skipped.
    let skipped = [vec![skip(2), skip(6)], records.clone()].concat();
    let trace = read(&skipped);
    assert_eq!(trace.fault, None);
    assert_eq!(trace.parts[2].seen.skipped, [(2, Skipped::Busy), (6, Skipped::Busy)]);
    // Skipped when calls have begun.
    let late = [vec![enter(3, 0, 9_000), skip(2), skip(6)], records[1..].to_vec()].concat();
    assert!(read(&late).fault.is_some());
    // Killed before its first call.
    let place = records.len() - 1;
    records.insert(place, ended(1));
    let whole = [before(), records, after()].concat();
    let first = whole.iter().position(|record| *record == ended(1)).expect("it ends");
    let mut once = whole.clone();
    let again = whole.iter().rposition(|record| *record == ended(1)).expect("it ends");
    assert_ne!(first, again);
    once.remove(again);
    assert_eq!(Trace::read(&program(), &once).fault, None);
}

#[test]
fn a_branch_that_is_blocked_makes_no_further_steps() {
    let mut records = block();
    records.retain(|record| !matches!(record, Record::Exit { step: 3, .. }));
    // It goes on without having returned.
    assert!(read(&records).fault.is_some());
    records.retain(|record| !matches!(record, Record::Enter { step: 4, .. }));
    records.retain(|record| !matches!(record, Record::Exit { step: 4, .. }));
    *records.last_mut().expect("a record") = quiet(6, &[0, 3]);
    assert_eq!(read(&records).fault, None);
}

#[test]
fn what_comes_out_of_turn_is_refused() {
    let whole = block();
    let records = |change: fn(&mut Vec<Record>)| {
        let mut records = whole.clone();
        change(&mut records);
        read(&records).fault
    };
    for (what, fault) in [
        ("no end", records(|r| drop(r.pop()))),
        ("an early end", records(|r| *r.last_mut().expect("one") = quiet(5, &[3]))),
        ("two ends", records(|r| r.push(quiet(6, &[3])))),
        ("another's call", records(|r| r[0] = enter(3, 1, 9_000))),
        ("a later step first", records(|r| r[0] = enter(4, 0, 9_000))),
        ("a step behind the block", records(|r| r.insert(0, enter(7, 3, 9_000)))),
        ("another block's instant", records(|r| r[2] = Record::Instant { step: 1, at: 0 })),
    ] {
        assert!(fault.is_some(), "{what}");
    }
}

#[test]
fn a_history_tells_who_ran_beside_whom() {
    let text = history(&program(), &[before(), block(), after()].concat());
    let line = |step: &str| {
        let found = text.lines().find(|line| line.contains(step));
        found.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(line("close(3)").ends_with("-> 0           2300 to 3000 ns beside 4, 6"), "{text}");
    assert!(line("poll(1)").ends_with("0 to 5000 ns beside 3, 6, 7"), "{text}");
    assert!(line("poll(2)").ends_with("6000 to 7000 ns beside 6"), "{text}");
    assert!(line("open(f0").ends_with("-> blocked     100 to … ns beside 3, 4, 5, 7"), "{text}");
    assert!(text.contains("step 2 returns 0"), "{text}");
}

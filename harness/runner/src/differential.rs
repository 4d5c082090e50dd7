//! The same program on two kernels (rule I4): without the feature it leaves the same trace.

use std::collections::BTreeMap;

use refan_abi::InitFlags;
use refan_model::Violation;
use refan_program::{Call, Program, Rule, Step, Task};
use refan_wire::{Data, Record};

use crate::judge;

const I4: Rule = Rule::named('I', 4);

/// Whether a run of the program on another kernel can be held against this one: no group of it has
/// the feature, and no timing decides what it sees.
pub fn is_comparable(program: &Program) -> bool {
    !program.is_restartable() && program.steps.iter().all(|step| step.block.is_none())
}

/// What two kernels' traces of one program come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Alike,
    /// They differ, and two kernels that are alike may.
    Undecided,
    /// The first difference between what the kernel under test did and what the reference did.
    Differ(Violation),
}

/// Holds what the kernel under test did against what the reference did.
pub fn compare(program: &Program, tested: &[Record], reference: &[Record]) -> Comparison {
    let ended = |records: &[Record]| normalized(records).into_iter().map(Some).chain([None]);
    let mut step = 0;
    let mut is_decided = groups_decide(program);
    let mut calls = BTreeMap::new();
    for (did, should) in ended(tested).zip(ended(reference)) {
        step = did.as_ref().and_then(step_of).unwrap_or(step);
        if did != should {
            if !is_decided {
                return Comparison::Undecided;
            }
            let mut allowed = words(program, reference, should.as_ref());
            let mut observed = words(program, tested, did.as_ref());
            if allowed == observed {
                (allowed, observed) = (format!("{should:?}"), format!("{did:?}"));
            }
            let history = Vec::new();
            return Comparison::Differ(Violation { rule: I4, step, allowed, observed, history });
        }
        match did {
            Some(Record::Enter { task, step, .. }) => {
                let step = program.steps.get(usize::from(step));
                // What is the executor's own stands under the task `main`, which may be in a call.
                if let Some(step) = step.filter(|step| step.caller().is_some()) {
                    calls.insert(task, step);
                }
            }
            Some(Record::Quiet { blocked, .. }) => {
                let called = blocked.iter().filter_map(|task| calls.get(task));
                is_decided &= called.filter(|step| is_read(step)).count() < 2;
            }
            _ => {}
        }
    }
    Comparison::Alike
}

/// Whether no two groups of one class are asked. Which of them is the first may differ: it is the one
/// at the lower address (`fsnotify_compare_groups` in fs/notify/mark.c).
fn groups_decide(program: &Program) -> bool {
    let mut seen = Vec::new();
    program.steps.iter().all(|step| match step.call.innermost() {
        Call::FanotifyInit { flags, .. } => {
            let class = *flags & InitFlags::CLASS;
            let is_new = !seen.contains(&class);
            seen.push(class);
            is_new
        }
        _ => true,
    })
}

/// Whether the step can take an event. One event wakes all who sleep in such calls
/// (`fsnotify_insert_event` in fs/notify/notification.c), and the scheduler says which of them gets it.
fn is_read(step: &Step) -> bool {
    let call = step.call.innermost();
    matches!(call, Call::Read { .. } | Call::ReadFault { .. } | Call::ReadMissing { .. })
}

/// A record of a trace, or its end.
fn words(program: &Program, records: &[Record], record: Option<&Record>) -> String {
    match record {
        Some(Record::Enter { step, .. }) => format!("step {} begins", step + 1),
        Some(record @ Record::Exit { step, .. }) => {
            let result = judge::result(program, records, usize::from(*step));
            result.map_or_else(
                || format!("{record:?}"),
                |result| format!("step {} returns {result}", step + 1),
            )
        }
        Some(Record::Skipped { step, .. }) => format!("step {} is skipped", step + 1),
        Some(Record::TaskEnded { task, end, .. }) => {
            format!("{} ends: {end:?}", program.task_name(Task(*task)))
        }
        Some(Record::Quiet { blocked, .. }) if blocked.is_empty() => "nobody is blocked".to_owned(),
        Some(Record::Quiet { blocked, .. }) => {
            let names = blocked.iter().map(|task| program.task_name(Task(*task)));
            format!("blocked: {}", names.collect::<Vec<_>>().join(", "))
        }
        Some(record) => format!("{record:?}"),
        None => "the end".to_owned(),
    }
}

fn step_of(record: &Record) -> Option<usize> {
    match record {
        Record::Enter { step, .. }
        | Record::Exit { step, .. }
        | Record::Skipped { step, .. }
        | Record::Quiet { step, .. } => Some(usize::from(*step)),
        _ => None,
    }
}

/// Records without what may differ, and between two moments of quiet in the order of their tasks:
/// which of two tasks that one call sets free comes first is the scheduler's affair. What follows the
/// last one is the executor's clearing up, in which kills and answers race.
fn normalized(records: &[Record]) -> Vec<Record> {
    let quiet = |record: &Record| matches!(record, Record::Quiet { .. });
    let end = records.iter().rposition(quiet).map_or(records.len(), |last| last + 1);
    let mut all: Vec<Record> = records[..end].iter().filter_map(without_chance).collect();
    for period in all.split_mut(quiet) {
        period.sort_by_key(task_of);
    }
    all
}

/// Whose doing a record is; what is nobody's stays ahead.
fn task_of(record: &Record) -> Option<u8> {
    match record {
        Record::TaskStarted { task, .. }
        | Record::Enter { task, .. }
        | Record::Exit { task, .. }
        | Record::TaskEnded { task, .. } => Some(*task),
        _ => None,
    }
}

/// A record without what may differ: times, and the random part of file handles. What the
/// accounting finds is no answer to the program.
fn without_chance(record: &Record) -> Option<Record> {
    let mut record = record.clone();
    match &mut record {
        Record::Begin { at }
        | Record::Enter { at, .. }
        | Record::TaskEnded { at, .. }
        | Record::Quiet { at, .. }
        | Record::End { at } => *at = 0,
        Record::Exit { at, data, .. } => {
            *at = 0;
            if let Data::Text(text) = data {
                *text = text.lines().map(without_handle).collect::<Vec<_>>().join("\n");
            }
        }
        Record::Accounts { .. } => return None,
        _ => {}
    }
    Some(record)
}

/// A line of fdinfo up to the file handle, in which the inode's generation is random
/// (`show_mark_fhandle` in fs/notify/fdinfo.c).
fn without_handle(line: &str) -> &str {
    line.split(" fhandle-bytes:").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_wire::TaskEnd;

    fn parse(text: &str) -> Program {
        refan_program::parse(text).expect("a program")
    }

    fn poll() -> Program {
        parse("poll(0)\n")
    }

    /// The first difference, in a program in which nothing is undecided.
    fn difference(tested: &[Record], reference: &[Record]) -> Option<Violation> {
        match compare(&poll(), tested, reference) {
            Comparison::Alike => None,
            Comparison::Differ(violation) => Some(violation),
            Comparison::Undecided => panic!("undecided"),
        }
    }

    fn exit(at: u64, ret: i64, text: &str) -> Record {
        Record::Exit { step: 3, task: 0, at, ret, data: Data::Text(text.to_owned()) }
    }

    #[test]
    fn times_and_handles_may_differ_and_nothing_else() {
        let one = "fanotify ino:1 sdev:2 mask:3 ignored_mask:0 fhandle-bytes:c f_handle:11";
        let two = "fanotify ino:1 sdev:2 mask:3 ignored_mask:0 fhandle-bytes:c f_handle:22";
        assert_eq!(difference(&[exit(1, 0, one)], &[exit(2, 0, two)]), None);
        let found = difference(&[exit(1, 0, one)], &[exit(1, -22, one)]).expect("a difference");
        assert_eq!((found.rule, found.step), (I4, 3));
        let found = difference(&[exit(1, 0, one)], &[]).expect("a difference");
        assert_eq!(found.allowed, "the end");
    }

    #[test]
    fn a_difference_is_told_in_words() {
        let program = parse("p = fork()\np: poll(0)\n");
        let run = |ret: i64, blocked: &[u8]| {
            [
                Record::Begin { at: 0 },
                Record::TaskStarted { task: 0, pid: 2 },
                Record::Enter { step: 0, task: 0, at: 0 },
                Record::TaskStarted { task: 1, pid: 3 },
                Record::Exit { step: 0, task: 0, at: 0, ret: 0, data: Data::None },
                Record::Quiet { step: 0, at: 0, blocked: Vec::new() },
                Record::Enter { step: 1, task: 1, at: 0 },
                Record::Exit { step: 1, task: 1, at: 0, ret, data: Data::None },
                Record::Quiet { step: 1, at: 0, blocked: blocked.to_vec() },
            ]
        };
        let told =
            |tested: &[Record], reference: &[Record]| match compare(&program, tested, reference) {
                Comparison::Differ(Violation { allowed, observed, .. }) => (allowed, observed),
                other => panic!("{other:?}"),
            };
        let words = |one: &str, two: &str| (one.to_owned(), two.to_owned());
        let right = run(1, &[]);
        assert_eq!(
            told(&run(-22, &[]), &right),
            words("step 2 returns 1", "step 2 returns EINVAL")
        );
        assert_eq!(told(&run(1, &[1]), &right), words("nobody is blocked", "blocked: p"));
    }

    #[test]
    fn tasks_may_come_in_any_order() {
        let ended = |task| Record::TaskEnded { task, at: 0, end: TaskEnd::Exited(0) };
        let quiet = Record::Quiet { step: 0, at: 0, blocked: Vec::new() };
        let one = [ended(1), ended(2), quiet.clone(), ended(3), quiet.clone()];
        let two = [ended(2), ended(1), quiet.clone(), ended(3), quiet.clone()];
        assert_eq!(difference(&one, &two), None);
        let other = [ended(1), quiet.clone(), ended(2), ended(3), quiet];
        assert!(difference(&one, &other).is_some());
    }

    #[test]
    fn the_clearing_up_is_no_part_of_the_program() {
        let quiet = Record::Quiet { step: 0, at: 0, blocked: vec![1] };
        let killed = Record::TaskEnded { task: 1, at: 0, end: TaskEnd::Signaled(9) };
        assert_eq!(
            difference(&[quiet.clone(), exit(1, 0, ""), killed.clone()], &[quiet, killed]),
            None
        );
    }

    #[test]
    fn which_of_two_sleeping_readers_gets_an_event_may_differ() {
        let enter = |step, task| Record::Enter { step, task, at: 0 };
        let exit = |step, task| Record::Exit { step, task, at: 0, ret: 24, data: Data::None };
        let quiet = |blocked: &[u8]| Record::Quiet { step: 0, at: 0, blocked: blocked.to_vec() };
        let run = |read: u16| {
            let blocked = [1, 2].into_iter().filter(|task| u16::from(*task) != read);
            let after: Vec<u8> = blocked.collect();
            vec![
                enter(1, 1),
                quiet(&[1]),
                enter(2, 2),
                quiet(&[1, 2]),
                exit(read, read as u8),
                quiet(&after),
            ]
        };
        let reads =
            "c = fanotify_init(CLASS_CONTENT, O_RDONLY)\na = spawn read(c)\nb = spawn read(c)\n";
        let reads = parse(reads);
        assert_eq!(compare(&reads, &run(1), &run(1)), Comparison::Alike);
        assert_eq!(compare(&reads, &run(1), &run(2)), Comparison::Undecided);
        let one =
            "c = fanotify_init(CLASS_CONTENT, O_RDONLY)\na = spawn read(c)\nb = spawn poll(c)\n";
        assert!(matches!(compare(&parse(one), &run(1), &run(2)), Comparison::Differ(_)));
        // A kill is the executor's, not that of `main`, which sleeps on.
        let killed = parse(
            "c = fanotify_init(CLASS_CONTENT, O_RDONLY)\nb = spawn open(f0, O_RDONLY)\nread(c)\n\
             kill(b)\na = spawn read(c)\n",
        );
        let after = |read: u8| {
            let order = [enter(1, 1), enter(2, 0), quiet(&[0, 1]), enter(3, 0), quiet(&[0])];
            let step = if read == 0 { 2 } else { 4 };
            [
                order.to_vec(),
                vec![enter(4, 2), quiet(&[0, 2]), exit(step, read), quiet(&[2 - read])],
            ]
            .concat()
        };
        assert_eq!(compare(&killed, &after(0), &after(2)), Comparison::Undecided);
        let mut early = run(1);
        early.insert(1, exit(1, 1));
        assert!(matches!(compare(&reads, &early, &run(1)), Comparison::Differ(_)));
    }

    #[test]
    fn restartable_groups_and_blocks_are_not_compared() {
        assert!(is_comparable(&parse("c = fanotify_init(CLASS_CONTENT, O_RDONLY)\n")));
        assert!(!is_comparable(&parse(
            "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n"
        )));
        assert!(!is_comparable(&parse("par {\n    poll(0)\n}\n")));
    }

    #[test]
    fn groups_of_one_class_decide_nothing() {
        let groups = |one: &str, two: &str| {
            let text = format!("fanotify_init({one}, O_RDONLY)\nfanotify_init({two}, O_RDONLY)\n");
            groups_decide(&parse(&text))
        };
        assert!(groups("CLASS_CONTENT", "CLASS_PRE_CONTENT"));
        assert!(!groups("CLASS_CONTENT", "CLASS_CONTENT | NONBLOCK"));
    }
}

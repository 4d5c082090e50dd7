//! The same program on two kernels (rule I4): without the feature it leaves the same trace.

use refan_abi::InitFlags;
use refan_model::Violation;
use refan_program::{Call, Program, Rule};
use refan_wire::{Data, Record};

const I4: Rule = Rule::named('I', 4);

/// Whether a run of the program on another kernel can be held against this one: no group of it has
/// the feature, and no timing decides what it sees.
pub fn is_comparable(program: &Program) -> bool {
    !program.is_restartable() && program.steps.iter().all(|step| step.block.is_none())
}

/// Whether two kernels that are alike cannot differ over it. Which of two groups of one class is
/// asked first they may: the one at the lower address (`fsnotify_compare_groups` in
/// fs/notify/mark.c).
pub fn is_decided(program: &Program) -> bool {
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

/// The first difference between what the kernel under test did and what the reference did.
pub fn difference(tested: &[Record], reference: &[Record]) -> Option<Violation> {
    let (tested, reference) = (normalized(tested), normalized(reference));
    let ended = |records: Vec<Record>| records.into_iter().map(Some).chain([None]);
    let mut step = 0;
    for (tested, reference) in ended(tested).zip(ended(reference)) {
        step = tested.as_ref().and_then(step_of).unwrap_or(step);
        if tested != reference {
            let words = |record: Option<Record>| match record {
                Some(record) => format!("{record:?}"),
                None => "the end".to_owned(),
            };
            let (allowed, observed) = (words(reference), words(tested));
            return Some(Violation { rule: I4, step, allowed, observed, history: Vec::new() });
        }
    }
    None
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
    fn restartable_groups_and_blocks_are_not_compared() {
        let parse = |text| refan_program::parse(text).expect("a program");
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
            is_decided(&refan_program::parse(&text).expect("a program"))
        };
        assert!(groups("CLASS_CONTENT", "CLASS_PRE_CONTENT"));
        assert!(!groups("CLASS_CONTENT", "CLASS_CONTENT | NONBLOCK"));
    }
}

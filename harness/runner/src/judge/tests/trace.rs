//! Traces that no right agent writes are never *held*.

use refan_wire::Record;

use super::{example, judge, rest};
use crate::judge::simulated::API;
use crate::judge::{Judgement, history};

#[test]
fn without_any_one_record_the_run_does_not_hold() {
    let whole = rest(example()).end();
    assert_eq!(whole.judge(), Judgement::Held);
    for number in 0..whole.records.len() {
        let mut records = whole.records.clone();
        let gone = records.remove(number);
        // Files that no step uses are of no account.
        if matches!(&gone, Record::File { path, .. } if path != "f0") {
            continue;
        }
        let judgement = judge(&whole.program, &records, API, true);
        assert_ne!(judgement, Judgement::Held, "without {gone:?}");
        let judgement = judge(&whole.program, &whole.records[..number], API, true);
        assert!(matches!(judgement, Judgement::Unjudgeable(_)), "{judgement:?}");
    }
}

#[test]
fn a_broken_agent_says_nothing_about_the_kernel() {
    let mut tape = example();
    tape.records.push(Record::Broken { what: "mounting".to_owned() });
    let Judgement::Unjudgeable(why) = tape.judge() else { panic!("judged") };
    assert!(why.contains("mounting"), "{why}");
}

#[test]
fn what_does_not_end_breaks_k4() {
    let text = "dup(0)\n";
    let mut tape = super::Tape::of(text).errno("EBADF").end();
    tape.records.pop();
    tape.records.pop();
    tape.records.push(Record::Stuck { tasks: vec![0] });
    let Judgement::Broken(violation) = tape.judge() else { panic!("not broken") };
    assert_eq!(violation.rule.to_string(), "K4");
}

#[test]
fn a_kernel_without_the_feature_is_asked_only_what_it_can_answer() {
    let tape = example();
    let judgement = judge(&tape.program, &tape.records, API, false);
    assert!(matches!(judgement, Judgement::Unsupported(_)));
    let text = "\
# I1: without the feature
fanotify_init(CLASS_NOTIF | RESTARTABLE, O_RDONLY) -> EINVAL
";
    let tape = super::Tape::of(text).errno("EINVAL").end();
    assert_eq!(judge(&tape.program, &tape.records, API, false), Judgement::Held);
    let text = text.replace("-> EINVAL", "-> EMFILE");
    let tape = super::Tape::of(&text).errno("EINVAL").end();
    let judgement = judge(&tape.program, &tape.records, API, false);
    assert!(matches!(judgement, Judgement::Unsupported(_)), "a limit of groups that there are");
}

#[test]
fn a_history_says_what_happened() {
    let text = history(&example().program, &example().ret(0).also(4, 0).looks().end().records);
    assert!(text.contains("open_queue(c)"), "{text}");
    assert!(text.contains("-> EBUSY"), "{text}");
    assert!(text.contains("blocked: a"), "{text}");
    assert!(text.contains("step 5 returns 0"), "{text}");
    assert!(text.contains("the end came before the last step"), "{text}");
}

//! Walks through runs.

use refan_wire::Record;

use super::{example, rest};
use crate::Verdict;
use crate::judge::listing;
use crate::judge::simulated::API;
use crate::kernel_log::Report;

#[test]
fn a_walk_tells_who_sleeps_and_who_wakes() {
    let tape = rest(example()).end();
    let text = listing(&tape.program, &tape.records, API, &Verdict::Held);
    assert!(text.contains("   5   a       a = spawn open(f0, O_RDONLY) = blocked"), "{text}");
    assert!(text.contains("woken     a: step 5 returns 0"), "{text}");
    assert!(!text.contains("expected"), "{text}");
}

#[test]
fn what_was_expected_stands_where_it_was_not_met() {
    let tape = example().ret(0).also(4, 0).looks();
    let text = listing(&tape.program, &tape.records, API, &Verdict::Held);
    let (_, told) = text.split_once("close(q)").expect("the step");
    assert!(told.contains("expected  0; a asleep"), "{text}");
}

#[test]
fn a_report_stands_behind_the_call_that_was_in_flight() {
    let tape = example();
    let (last, earlier) = tape.records.split_last().expect("records");
    assert!(matches!(last, Record::Exit { step: 5, .. }), "{last:?}");
    let text = |records| {
        let report = Report { title: "KASAN".into(), text: String::new(), symbolized: None };
        listing(&tape.program, records, API, &Verdict::Report(report))
    };
    assert!(text(earlier).contains("e = read(q) ... in flight\n"), "{}", text(earlier));
    assert!(text(&tape.records).contains("e = read(q) = OPEN_PERM f0 by a\n"));
    assert!(text(earlier).ends_with("REPORT    in step 6: KASAN\n"));
}

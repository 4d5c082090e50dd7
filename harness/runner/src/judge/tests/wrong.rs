//! One wrong result each in runs of a right kernel, and the rule that it breaks.

use refan_abi::Errno;
use refan_model::Seen;
use refan_program::parse;
use refan_wire::{Data, Leak, Record};

use super::judge;
use super::simulated::simulated;
use super::tape::Tape;
use crate::judge::simulated::{API, trace};
use crate::judge::{Judgement, is_whole, leaked};

const GROUP: &str = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n";
const QUEUE: &str = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nq = open_queue(c)\n";
const WATCH: &str = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
";

/// The last step returns `value` where a right kernel returns something else.
fn last(text: &str, value: i64, rule: &str) {
    returns(text, value, Seen::Nothing, rule);
}

fn last_errno(text: &str, name: &str, rule: &str) {
    let errno: Errno = name.parse().expect("an errno");
    last(text, -i64::from(errno.0), rule);
}

fn last_text(text: &str, seen: &str, rule: &str) {
    returns(text, seen.len() as i64, Seen::Text(seen.to_owned()), rule);
}

fn returns(text: &str, value: i64, data: Seen, rule: &str) {
    let program = parse(text).unwrap_or_else(|error| panic!("{}", error.render("test", text)));
    let mut steps = simulated(&program);
    assert_eq!(judge(&program, &trace(&program, &steps), API, true), Judgement::Held, "{text}");
    let last = steps.len() - 1;
    let back = steps[last].returns.iter_mut().find(|back| back.step == last).expect("a return");
    assert_ne!((back.value, &back.data), (value, &data), "a right kernel does that: {text}");
    (back.value, back.data) = (value, data);
    match judge(&program, &trace(&program, &steps), API, true) {
        Judgement::Broken(violation) => {
            assert_eq!(violation.rule.to_string(), rule, "{text}{violation:?}");
            assert_eq!(violation.step, last, "{text}{violation:?}");
        }
        other => panic!("{other:?} where {rule} is broken: {text}"),
    }
}

#[test]
fn init() {
    last("fanotify_init(CLASS_NOTIF | RESTARTABLE, O_RDONLY)\n", 0, "I1");
    last("setuid(1000)\nfanotify_init(CLASS_NOTIF | RESTARTABLE, O_RDONLY)\n", -22, "I1");
    last_errno("fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n", "EINVAL", "I1");
    last(&format!("{GROUP}getfl(c)\n"), 2, "I2");
    last(&format!("{GROUP}getfd(c)\n"), 1, "I2");
    last(
        &format!("sysctl(max_user_groups, 1)\n{GROUP}fanotify_init(CLASS_NOTIF, O_RDONLY)\n"),
        1,
        "I3",
    );
}

#[test]
fn control() {
    last_errno(&format!("{GROUP}read(c)\n"), "EBADF", "C1");
    last_errno(&format!("{GROUP}pread(c, 24)\n"), "EINVAL", "C1");
    last(&format!("{GROUP}write(c, 3, ALLOW)\n"), 8, "C1");
    last(&format!("{GROUP}poll(c)\n"), 0, "C1");
    last(&format!("{GROUP}epoll(c)\n"), 0, "C1");
    last(&format!("{GROUP}fionread(c)\n"), 0, "C2");
    last(&format!("{QUEUE}open_queue(q)\n"), 2, "C2");
    last("c = fanotify_init(CLASS_CONTENT, O_RDONLY)\nopen_queue(c)\n", 1, "C2");
    last(&format!("{QUEUE}fanotify_mark(q, ADD, OPEN_PERM, f0)\n"), 0, "C3");
    last_text(&format!("{GROUP}readlink(c)\n"), "anon_inode:[fanotify-control]", "C4");
    let flags = "fanotify flags:4 event-flags:8000";
    returns(&format!("{GROUP}fdinfo(c)\n"), 0, Seen::Text(flags.to_owned()), "C4");
    last(&format!("{GROUP}reopen(c)\n"), 1, "C6");
    last(&format!("{QUEUE}reopen(q)\n"), 2, "C6");
}

#[test]
fn marks() {
    last(&format!("{GROUP}fanotify_mark(c, ADD, PRE_ACCESS, ext0)\n"), 0, "M1");
    last_errno(&format!("{GROUP}fanotify_mark(c, ADD, OPEN_PERM | ONDIR, d0)\n"), "EINVAL", "M1");
    last(&format!("{GROUP}fanotify_mark(c, ADD, MODIFY, f0)\n"), 0, "M2");
    last_errno(&format!("{GROUP}fanotify_mark(c, REMOVE, OPEN, f0)\n"), "ENOENT", "M2");
    last_errno(&format!("{GROUP}fanotify_mark(c, FLUSH, 0, f0)\n"), "EINVAL", "M3");
    last(&format!("{GROUP}fanotify_mark(c, ADD | MOUNT | IGNORE, OPEN_PERM, f0)\n"), 0, "M4");
    let mark = "fanotify_mark(c, ADD, OPEN_PERM, f0)\n";
    last(&format!("sysctl(max_user_marks, 0)\n{GROUP}{mark}"), 0, "F2");
}

#[test]
fn queue() {
    last(&format!("{QUEUE}getfl(q)\n"), 0, "Q1");
    last(&format!("{QUEUE}getfd(q)\n"), 1, "Q1");
    last(&format!("{QUEUE}open_queue(c)\n"), 2, "Q2");
    last_text(&format!("{QUEUE}readlink(q)\n"), "anon_inode:[fanotify]", "Q3");
    let flags = "fanotify flags:8004 event-flags:8000";
    returns(&format!("{QUEUE}fdinfo(q)\n"), 0, Seen::Text(flags.to_owned()), "Q3");
    last(&format!("{WATCH}read(q, 23)\n"), 0, "Q4");
    last(&format!("{WATCH}poll(q)\n"), 0, "Q5");
    last(&format!("{WATCH}poll(q)\n"), 0x45, "Q5");
    last(&format!("{WATCH}fionread(q)\n"), 0, "Q5");
    last_errno(&format!("{WATCH}write(q, 1, ALLOW)\n"), "EINVAL", "Q6");
    last(&format!("{WATCH}e = read(q)\nwrite(q, e, ALLOW | DENY)\n"), 8, "Q6");
    last(&format!("{WATCH}e = read(q)\nwrite(q, e, ALLOW, 7)\n"), 7, "Q6");
    last(&format!("{WATCH}rlimit_nofile(0)\nread(q)\n"), 0, "F2");
}

#[test]
fn shutdown() {
    last_errno(&format!("{WATCH}close(c)\nread(q, 1)\n"), "EINVAL", "S2");
    last(&format!("{WATCH}close(c)\npoll(q)\n"), 0x41, "S2");
    last(&format!("{WATCH}close(c)\npoll(q)\n"), 0, "S2");
    last(&format!("{WATCH}close(c)\nwrite(q, 3, ALLOW)\n"), 8, "S2");
    last(&format!("{WATCH}close(c)\nfionread(q)\n"), 24, "S2");
}

#[test]
fn what_is_read_is_no_event() {
    let no_event = |len| Data::Events { bytes: vec![0; len], objects: Vec::new() };
    let watched = |text: &str| Tape::of(&format!("{WATCH}{text}")).ret(0).ret(0).ret(1).blocks();
    for len in [1, 24] {
        watched("read(q)\n").data(len as i64, no_event(len)).breaks("Q4", 5);
    }
    watched("close(c)\nread(q)\n").ret(0).also(3, 0).data(1, no_event(1)).breaks("S2", 6);
}

#[test]
fn an_allocation_that_fails_in_a_release() {
    let text = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nfanotify_mark(c, ADD, OPEN_PERM, f0)\n\
        q = open_queue(c)\nfail_nth(1)\nclose(q)\n";
    let program = parse(text).expect("a program");
    let mut records = trace(&program, &simulated(&program));
    assert_eq!(judge(&program, &records, API, true), Judgement::Held);
    let returns = |record: &Record| matches!(record, Record::Exit { step: 4, .. });
    let at = records.iter().position(returns).expect("the close");
    records.insert(at, Record::Failed { step: 4 });
    match judge(&program, &records, API, true) {
        Judgement::Broken(violation) => assert_eq!(violation.rule.to_string(), "R11"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_behind() {
    let program = parse(WATCH).expect("a program");
    let mut records = trace(&program, &simulated(&program));
    assert!(is_whole(&program, &records));
    let leak = Leak { what: "groups of user 0".to_owned(), before: 0, after: 1 };
    let accounts = records.last_mut().expect("the accounting");
    *accounts = Record::Accounts { leaks: vec![leak] };
    assert!(!is_whole(&program, &records));
    match judge(&program, &records, API, true) {
        Judgement::Broken(violation) => assert_eq!(violation.rule.to_string(), "S3"),
        other => panic!("{other:?}"),
    }
    records.pop();
    let judgement = judge(&program, &records, API, true);
    assert!(matches!(judgement, Judgement::Unjudgeable(_)), "{judgement:?}");
    assert!(!is_whole(&program, &records));
}

/// K4: an event outlives its accessor; S3: it was nobody's death that left it.
#[test]
fn what_a_kill_leaves_behind() {
    let leak = Leak { what: "Tmpfs file systems in use".to_owned(), before: 0, after: 1 };
    for (step, rule) in [("kill(a)", "K4"), ("close(q)", "S3")] {
        let program = parse(&format!("{WATCH}{step}\n"));
        let violation = leaked(&program.expect("a program"), std::slice::from_ref(&leak));
        assert_eq!(violation.map(|violation| violation.rule.to_string()).as_deref(), Some(rule));
    }
}

#[test]
fn order_of_the_classes() {
    let two = "\
c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE, O_RDONLY)
c2 = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(c2, ADD, OPEN_PERM, f0)
q = open_queue(c)
q2 = open_queue(c2)
a = spawn open(f0, O_RDONLY)
";
    last(&format!("{two}fionread(q2)\n"), 24, "A3");
    last(&format!("{two}fionread(q)\n"), 0, "A3");
    last(&format!("{two}poll(q)\n"), 0, "A3");
    last_errno(&format!("{two}read(q)\n"), "EAGAIN", "A3");
}

#[test]
fn length_of_the_records() {
    let pre_access = "\
c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, PRE_ACCESS, ext0)
q = open_queue(c)
file = open(ext0, O_RDONLY)
a = spawn pread(file, 16)
";
    last(&format!("{pre_access}fionread(q)\n"), 24, "Q5");
    last(&format!("{pre_access}fionread(q)\n"), 0, "Q5");
}

#[test]
fn limits_that_are_not_reached() {
    last_errno("fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n", "EMFILE", "I3");
    last_errno(&format!("{GROUP}fanotify_mark(c, ADD, OPEN_PERM, f0)\n"), "ENOSPC", "F2");
}

#[test]
fn what_became_of_the_queue() {
    let reopened = "close(q)\nq2 = open_queue(c)\nfionread(q2)\n";
    last(&format!("{WATCH}e = read(q)\nwrite(q, e, ALLOW)\n{reopened}"), 24, "R3");
    let two = format!("{WATCH}b = spawn open(f0, O_RDONLY)\nread(q)\nclose(q)\nkill(a)\n");
    last(&format!("{two}q2 = open_queue(c)\nfionread(q2)\n"), 0, "R1");
    last(&format!("{two}q2 = open_queue(c)\nfionread(q2)\n"), 48, "K2");
    last(&format!("{WATCH}read(q, 23)\nfionread(q)\n"), 0, "Q4");
}

//! A wrong kernel for each rule, beside the right one.

use super::tape::{Read, Tape};
use super::{EXAMPLE, example, rest};

#[test]
fn the_example_holds() {
    rest(example()).holds();
}

#[test]
fn an_event_dropped_at_release() {
    // Its accessor is let through.
    example().ret(0).also(4, 0).looks().breaks("R1", 7);
    // Or waits for ever.
    example().ret(0).looks().ret(1).blocks().breaks("R1", 10);
}

#[test]
fn a_second_queue() {
    Tape::of(EXAMPLE).ret(0).ret(0).ret(1).ret(2).breaks("Q2", 4);
    Tape::of(EXAMPLE).ret(0).ret(0).ret(1).errno("EEXIST").breaks("Q2", 4);
}

#[test]
fn a_restarted_event_at_the_tail() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(c, ADD, OPEN_PERM, f1)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
read(q)
b = spawn open(f1, O_RDONLY)
close(q)
q2 = open_queue(c)
read(q2, 24)
";
    let tape = || {
        Tape::of(text)
            .ret(0)
            .ret(0)
            .ret(0)
            .ret(1)
            .blocks()
            .event("OPEN_PERM", "f0", 1, 2)
            .blocks()
            .ret(0)
            .ret(1)
    };
    tape().event("OPEN_PERM", "f0", 1, 3).holds();
    tape().event("OPEN_PERM", "f1", 2, 3).breaks("R2", 10);
}

#[test]
fn mixed_masks() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN | OPEN_PERM, f0)
";
    Tape::of(text).ret(0).errno("EINVAL").holds();
    Tape::of(text).ret(0).ret(0).breaks("M2", 2);
}

#[test]
fn a_waiter_left_at_shutdown() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
read(q)
b = spawn open(f0, O_RDONLY)
close(c)
read(q)
";
    let tape =
        || Tape::of(text).ret(0).ret(0).ret(1).blocks().event("OPEN_PERM", "f0", 1, 2).blocks();
    tape().ret(0).also(3, 0).also(5, 0).ret(0).holds();
    tape().ret(0).also(3, 0).breaks("S1", 7);
    tape().ret(0).also(3, 0).also(5, -1).breaks("S1", 7);
    tape().ret(0).also(3, 0).also(5, 0).errno("EAGAIN").breaks("S2", 8);
    tape().ret(0).also(3, 0).also(5, 0).blocks().breaks("S2", 8);
}

#[test]
fn a_reader_wakes_when_an_event_comes() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
r = spawn read(q)
open(f0, O_RDONLY)
";
    let tape = || Tape::of(text).ret(0).ret(0).ret(1).blocks().blocks();
    let event = |by| Read { mask: "OPEN_PERM", path: "f0", by: Some(by), fd: 3, info: Vec::new() };
    // The reader's exit does not release the queue, which main has open.
    tape().also_event(3, event(0)).holds();
    tape().breaks("Q4", 5);
    tape().also_event(3, event(1)).breaks("R9", 5);
    tape().also(3, -4).breaks("Q4", 5);
}

#[test]
fn a_killed_accessors_event_vanishes() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
kill(a)
fionread(q)
poll(q)
";
    let tape = || Tape::of(text).ret(0).ret(0).ret(1).blocks().kills(1);
    tape().ret(0).ret(0).holds();
    tape().ret(24).ret(0).breaks("K2", 6);
    tape().ret(0).ret(0x41).breaks("Q5", 7);
}

#[test]
fn a_canceled_event_takes_an_answer_and_is_not_restarted() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
b = spawn open(f0, O_RDONLY)
e2 = read(q)
kill(a)
kill(b)
write(q, e, ALLOW)
write(q, e, ALLOW)
close(q)
q2 = open_queue(c)
read(q2)
";
    let tape = || {
        Tape::of(text)
            .ret(0)
            .ret(0)
            .ret(1)
            .blocks()
            .event("OPEN_PERM", "f0", 1, 2)
            .blocks()
            .event("OPEN_PERM", "f0", 2, 3)
            .kills(1)
            .kills(2)
            .ret(8)
    };
    tape().errno("ENOENT").ret(0).ret(1).errno("EAGAIN").holds();
    tape().ret(8).ret(0).ret(1).errno("EAGAIN").breaks("R3", 11);
    tape().errno("ENOENT").ret(0).ret(1).event("OPEN_PERM", "f0", 2, 4).breaks("Q4", 14);
}

#[test]
fn an_old_number_answers_nothing() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
close(q)
q2 = open_queue(c)
write(q2, e, ALLOW)
";
    let tape = || {
        Tape::of(text).ret(0).ret(0).ret(1).blocks().event("OPEN_PERM", "f0", 1, 2).ret(0).ret(1)
    };
    tape().errno("ENOENT").holds();
    tape().ret(8).also(3, 0).breaks("R4", 8);
}

#[test]
fn the_queue_overflows_as_in_mainline() {
    let text = "\
sysctl(max_queued_events, 1)
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
b = spawn open(f0, O_RDONLY)
read(q)
d = spawn open(f0, O_RDONLY)
";
    let tape = || Tape::of(text).ret(0).ret(0).ret(0).ret(1).blocks();
    let read = || {
        [
            Read { mask: "OPEN_PERM", path: "f0", by: Some(1), fd: 2, info: Vec::new() },
            Read { mask: "Q_OVERFLOW", path: "f0", by: None, fd: -1, info: Vec::new() },
        ]
    };
    tape().ret(0).events(&read()).blocks().holds();
    tape().blocks().breaks("Q9", 6);
    tape().ret(0).event("OPEN_PERM", "f0", 1, 2).blocks().breaks("Q9", 7);
}

#[test]
fn refusals_carry_their_errno_where_the_class_allows_it() {
    let text = "\
c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
write(q, e, DENY | ERRNO(EBUSY))
";
    let Ok(_) = refan_program::parse(text) else { return };
    let tape = || Tape::of(text).ret(0).ret(0).ret(1).blocks().event("OPEN_PERM", "f0", 1, 2);
    tape().ret(8).also(3, -16).holds();
    tape().ret(8).also(3, -1).breaks("Q6", 6);
    tape().errno("EINVAL").breaks("Q6", 6);
}

#[test]
fn a_read_raises_what_was_watched_at_open() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
f = open(f0, O_RDONLY)
fanotify_mark(c, ADD, ACCESS_PERM, f0)
g = open(f0, O_RDONLY)
read(f, 6)
a = spawn read(g, 6)
";
    let tape = || Tape::of(text).ret(0).ret(1).ret(0).ret(2);
    let bytes = || refan_wire::Data::Bytes(b"refan ".to_vec());
    tape().data(6, bytes()).blocks().holds();
    tape().blocks().breaks("A2", 5);
    tape().data(6, bytes()).data(6, bytes()).breaks("R5", 6);
}

#[test]
fn the_higher_class_is_asked_first() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
p = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(p, ADD, OPEN_PERM, f0)
q = open_queue(c)
r = open_queue(p)
a = spawn open(f0, O_RDONLY)
read(q)
e = read(r)
write(r, e, ALLOW)
read(q)
";
    let tape = || Tape::of(text).ret(0).ret(1).ret(0).ret(0).ret(2).ret(3).blocks();
    tape()
        .errno("EAGAIN")
        .event("OPEN_PERM", "f0", 1, 4)
        .ret(8)
        .event("OPEN_PERM", "f0", 1, 5)
        .holds();
    tape().event("OPEN_PERM", "f0", 1, 4).breaks("Q4", 8);
}

#[test]
fn groups_of_one_class_are_asked_in_any_order_but_both() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
p = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(p, ADD, OPEN_PERM, f0)
q = open_queue(c)
r = open_queue(p)
a = spawn open(f0, O_RDONLY)
read(q)
e = read(r)
write(r, e, ALLOW)
read(q)
";
    let tape = || Tape::of(text).ret(0).ret(1).ret(0).ret(0).ret(2).ret(3).blocks();
    let second = || tape().errno("EAGAIN").event("OPEN_PERM", "f0", 1, 4).ret(8);
    second().event("OPEN_PERM", "f0", 1, 5).holds();
    second().errno("EAGAIN").breaks("R6", 11);
    tape().errno("EAGAIN").errno("EAGAIN").breaks("R6", 9);
}

#[test]
fn an_exec_asks_twice_to_be_opened() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM | OPEN_EXEC_PERM, x0)
q = open_queue(c)
a = spawn exec(x0)
e = read(q)
write(q, e, ALLOW)
e2 = read(q)
write(q, e2, ALLOW)
";
    let tape = || {
        Tape::of(text)
            .ret(0)
            .ret(0)
            .ret(1)
            .blocks()
            .event("OPEN_EXEC_PERM", "x0", 1, 2)
            .ret(8)
            .event("OPEN_PERM", "x0", 1, 3)
    };
    tape().ret(8).also(3, 0).holds();
    tape().ret(8).breaks("Q6", 8);
}

#[test]
fn a_dying_daemon_restarts_its_events() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
close(q)
a = spawn open(f0, O_RDONLY)
d: e = read(q)
open_queue(c)
kill(d)
q2 = open_queue(c)
read(q2)
";
    let tape = || {
        Tape::of(text)
            .ret(0)
            .ret(0)
            .ret(1)
            .ret(0)
            .ret(0)
            .blocks()
            .event("OPEN_PERM", "f0", 2, 2)
            .errno("EBUSY")
            .kills(1)
    };
    tape().ret(1).event("OPEN_PERM", "f0", 2, 2).holds();
    tape().ret(1).errno("EAGAIN").breaks("R8", 11);
}

#[test]
fn a_close_may_wait_for_another_groups_accessor() {
    let text = "\
c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE, O_RDONLY)
p = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(p, ADD, OPEN_PERM, f0)
d = fork()
close(p)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
d: close(p)
write(q, e, ALLOW)
";
    let tape = || {
        Tape::of(text).ret(0).ret(1).ret(0).ret(0).ret(0).ret(0).ret(1).blocks().event(
            "OPEN_PERM",
            "f0",
            2,
            2,
        )
    };
    tape().ret(0).ret(8).also(7, 0).holds();
    tape().blocks().ret(8).also(7, 0).also(9, 0).holds();
    tape().blocks().ret(8).also(7, 0).breaks("S1", 11);
}

#[test]
fn an_expectation_that_fails_breaks_the_scenarios_rule() {
    let text = "\
# C1: for the test
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
read(c) -> EBADF
";
    Tape::of(text).ret(0).errno("EINVAL").breaks("C1", 2);
}

/// Who is let through at once goes on in any order, and a writer that is done keeps nobody off.
#[test]
fn an_executor_and_a_writer_that_are_let_through() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, x0)
a = spawn exec(x0)
b = spawn open(x0, O_RDWR)
close(c)
";
    let closed = || Tape::of(text).ret(0).ret(0).blocks().blocks().ret(0);
    const BUSY: i64 = -26;
    closed().also(3, 0).also(2, 0).holds();
    closed().also(3, 0).also(2, BUSY).holds();
}

//! Wrong kernels, and right ones, with an event in transit.

use super::tape::{Read, Tape};

const EVENT: Read<'static> =
    Read { mask: "OPEN_PERM", path: "f0", by: Some(2), fd: 2, info: Vec::new() };

/// A reader that stalls with the event of `a`, and then this.
fn stalled(rest: &str) -> Tape {
    let begin = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
d: close(c)
a = spawn open(f0, O_RDONLY)
d: e = read_missing(q, 24, 0)
";
    let tape = Tape::of(&format!("{begin}{rest}")).ret(0).ret(0).ret(1).ret(0).ret(0);
    tape.blocks().blocks()
}

#[test]
fn a_killed_accessor_takes_its_answer() {
    let text = "kill(a)\npage_in(d)\nd: write(q, e, DENY)\nd: write(q, e, DENY)\n";
    let tape = || stalled(text).kills(2).ret(0).also_event(6, EVENT);
    tape().ret(8).errno("ENOENT").holds();
    tape().errno("ENOENT").breaks("K3", 10);
    tape().ret(8).ret(8).breaks("R3", 11);
}

#[test]
fn a_killed_reader_denies_what_it_had() {
    let text = "kill(d)\na\n";
    let tape = || stalled(text).kills(1);
    tape().also(5, -1).looks().holds();
    tape().also(5, 0).looks().breaks("Q7", 8);
    tape().looks().breaks("Q7", 8);
}

#[test]
fn nobody_else_sees_it() {
    let text = "fionread(q)\npoll(q)\nwrite(q, 2, ALLOW)\n";
    stalled(text).ret(0).ret(0).errno("ENOENT").holds();
    stalled(text).ret(24).breaks("Q5", 8);
    stalled(text).ret(0).ret(0x41).breaks("Q5", 9);
    stalled(text).ret(0).ret(0).ret(8).breaks("Q6", 10);
}

#[test]
fn the_control_file_waits_for_it_or_does_not() {
    let text = "s = fork()\nclose(c)\ns: close(c)\npage_in(d)\n";
    let tape = || stalled(text).ret(0).ret(0);
    tape().blocks().ret(0).also_event(6, EVENT).also(5, 0).also(9, 0).holds();
    tape().ret(0).also(5, 0).ret(0).also_event(6, EVENT).holds();
    tape().blocks().ret(0).also_event(6, EVENT).also(5, -1).also(9, 0).breaks("S1", 11);
    tape().blocks().ret(0).also_event(6, EVENT).also(9, 0).breaks("S1", 11);
}

#[test]
fn a_reader_stays_where_its_buffer_is_missing() {
    let begin = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
d = fork()
d: e = read_missing(q, 24, 0)
page_in(d)
";
    let event = Read { by: Some(1), ..EVENT };
    let tape = || Tape::of(begin).ret(0).ret(0).ret(1).blocks().ret(0);
    tape().blocks().ret(0).also_event(5, event).holds();
    tape().event("OPEN_PERM", "f0", 1, 2).breaks("Q4", 6);
    tape().blocks().ret(0).breaks("Q4", 7);
}

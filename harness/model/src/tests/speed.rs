//! What judging costs.

use std::fmt::Write as _;

use super::tape::Tape;

/// Twelve accesses at the same time come to one order of the queue or another, which a read shows.
#[test]
fn twelve_accesses_at_the_same_time() {
    let mut text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
par {
"
    .to_owned();
    let names: Vec<String> = (0..12).map(|number| format!("a{number}")).collect();
    for name in &names {
        writeln!(text, "    {name} = spawn open(f0, O_RDONLY)").expect("a line");
    }
    text += "}\nread(q)\n";
    let mut tape = Tape::of(&text).sets_up(3).block();
    for step in 4..16 {
        tape = tape.enter(step);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    tape = tape.quiet(&names);
    let explored = tape.holds();
    assert!(explored < 100, "{explored} states");
    let read: Vec<_> =
        (2..).zip(names.iter().rev()).map(|(fd, name)| ("OPEN_PERM", "f0", *name, fd)).collect();
    tape.reads(&read).holds();
}

/// A group's accessors are released at once onto another group.
#[test]
fn accessors_released_at_once() {
    let mut text = "\
c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE, O_RDONLY)
d = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(d, ADD, OPEN_PERM, f0)
q = open_queue(d)
"
    .to_owned();
    let names: Vec<String> = (0..12).map(|number| format!("a{number}")).collect();
    for name in &names {
        writeln!(text, "{name} = spawn open(f0, O_RDONLY)").expect("a line");
    }
    text += "close(c)\nread(q)\n";
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tape = Tape::of(&text).sets_up(17).ret(0).still();
    let explored = tape.holds();
    assert!(explored < 100, "{explored} states");
    let read: Vec<_> =
        (3..).zip(names.iter().rev()).map(|(fd, name)| ("OPEN_PERM", "f0", *name, fd)).collect();
    tape.reads(&read).holds();
}

/// Two readers that answer what they read, and four accessors, all at the same time.
pub(super) fn readers_and_accessors() -> Tape {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
par {
    e = read(q, 24)
    write(q, e, ALLOW)
    e2 = read(q, 24)
    write(q, e2, ALLOW)
    d: e3 = read(q, 24)
    d: write(q, e3, ALLOW)
    d: e4 = read(q, 24)
    d: write(q, e4, ALLOW)
    a = spawn open(f0, O_RDONLY)
    b = spawn open(f0, O_RDONLY)
    g = spawn open(f0, O_RDONLY)
    h = spawn open(f0, O_RDONLY)
}
";
    let event = |by, fd| [("OPEN_PERM", "f0", by, fd)];
    let mut tape = Tape::of(text).sets_up(4).block();
    for step in [5, 9, 13, 14, 15, 16] {
        tape = tape.enter(step);
    }
    tape.exit_with(5, &event("h", 2))
        .enter(6)
        .exit_with(9, &event("g", 2))
        .enter(10)
        .exit(6, 8)
        .enter(7)
        .exit(10, 8)
        .enter(11)
        .exit_with(11, &event("b", 3))
        .enter(12)
        .exit_with(7, &event("a", 3))
        .enter(8)
        .exit(13, 0)
        .exit(14, 0)
        .exit(8, 8)
        .exit(12, 8)
        .exit(15, 0)
        .exit(16, 0)
        .ended("a", false)
        .ended("b", false)
        .ended("g", false)
        .ended("h", false)
        .quiet(&[])
}

#[test]
fn readers_and_accessors_at_the_same_time() {
    let explored = readers_and_accessors().holds();
    assert!(explored < 300, "{explored} states");
}

//! Calls at the same time, allowed and forbidden.

use super::tape::Tape;
use crate::testing::errno;

const TWO_OPENS: &str = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
d = fork()
par {
    q = open_queue(c)
    d: q2 = open_queue(c)
}
";

/// X1: one of two wins.
#[test]
fn of_two_opens_of_the_queue_one_wins() {
    let tape = || Tape::of(TWO_OPENS).sets_up(2).block().enter(3).enter(4);
    let busy = errno("EBUSY");
    tape().exit(3, 1).exit(4, busy).quiet(&[]).holds();
    tape().exit(3, busy).exit(4, 1).quiet(&[]).holds();
    let violation = tape().exit(4, 1).exit(3, 1).quiet(&[]).breaks("X1", 3);
    assert_eq!(violation.history.len(), 4, "{violation:#?}");
    tape().exit(3, busy).exit(4, busy).quiet(&[]).breaks("X1", 4);
    // One after the other.
    let one = || Tape::of(TWO_OPENS).sets_up(2).block().enter(3);
    one().exit(3, 1).enter(4).exit(4, busy).quiet(&[]).holds();
    one().exit(3, busy).enter(4).exit(4, 1).quiet(&[]).breaks("Q2", 3);
}

const ANSWER_AND_CLOSE: &str = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
par {
    s = spawn write(q, e, ALLOW)
    close(q)
}
q2 = open_queue(c)
read(q2)
";

fn answered() -> Tape {
    let event = [("OPEN_PERM", "f0", "a", 2)];
    Tape::of(ANSWER_AND_CLOSE).sets_up(4).reads(&event).block()
}

/// X2, X3: a write that has begun holds the queue, whoever closes it meanwhile.
#[test]
fn an_answer_that_races_a_release_holds() {
    let again = [("OPEN_PERM", "f0", "a", 3)];
    let race = || answered().enter(6).enter(7).exit(7, 0);
    let ends = |tape: Tape| tape.ended("s", false).exit(4, 0).ended("a", false).quiet(&[]);
    ends(race().exit(6, 8)).ret(1).ret(errno("EAGAIN")).holds();
    ends(race().exit(6, 8)).ret(1).reads(&again).breaks("Q4", 9);
    // Neither: the event is restarted, and the write finds none.
    let neither = race().exit(6, errno("ENOENT")).ended("s", false);
    neither.quiet(&["a"]).breaks("X2", 6);
    // Both: the answer is taken, and the accessor waits on.
    let both = race().exit(6, 8).ended("s", false).quiet(&["a"]);
    both.breaks("X2", 6);
}

/// A write of a task that lives on after another has released the queue.
#[test]
fn two_branches_answer_one_event() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
a = spawn open(f0, O_RDONLY)
e = read(q)
par {
    write(q, e, ALLOW)
    d: write(q, e, DENY)
}
";
    let event = [("OPEN_PERM", "f0", "a", 2)];
    let tape = || Tape::of(text).sets_up(5).reads(&event).block().enter(7).enter(8);
    let gone = errno("ENOENT");
    let ends = |tape: Tape, value| tape.exit(5, value).ended("a", false).quiet(&[]);
    ends(tape().exit(7, 8).exit(8, gone), 0).holds();
    ends(tape().exit(7, gone).exit(8, 8), errno("EPERM")).holds();
    // Once each (Q6).
    ends(tape().exit(7, 8).exit(8, 8), 0).breaks("R3", 8);
    ends(tape().exit(7, gone).exit(8, gone), 0).breaks("Q6", 8);
    // The one that was too late decides.
    assert!(ends(tape().exit(7, 8).exit(8, gone), errno("EPERM")).judge().0.is_err());
}

/// X4: a write before the hand-over of its event is ENOENT, and one behind it is not.
#[test]
fn a_write_beside_the_read_of_its_event() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
a = spawn open(f0, O_RDONLY)
par {
    d: read(q)
    write(q, 2, ALLOW)
    poll(q)
}
";
    let event = [("OPEN_PERM", "f0", "a", 2)];
    let tape = || Tape::of(text).sets_up(5).block().enter(6).enter(7);
    let late = || tape().exit(7, errno("ENOENT")).enter(8);
    // In transit the event is not unread, and not pending either.
    late().exit(8, 0).exit_with(6, &event).quiet(&["a"]).holds();
    late().exit(8, 0x41).exit_with(6, &event).quiet(&["a"]).holds();
    let answered = || tape().exit(7, 8).enter(8);
    answered().exit(8, 0).exit_with(6, &event).exit(5, 0).ended("a", false).quiet(&[]).holds();
    answered()
        .exit(8, 0x41)
        .exit_with(6, &event)
        .exit(5, 0)
        .ended("a", false)
        .quiet(&[])
        .breaks("Q5", 8);
    tape().exit_with(6, &event).exit(7, errno("ENOENT")).enter(8).exit(8, 0).quiet(&["a"]).holds();
    // The read is over when the write begins.
    let one = || Tape::of(text).sets_up(5).block().enter(6).exit_with(6, &event).enter(7);
    one().exit(7, 8).enter(8).exit(8, 0).exit(5, 0).ended("a", false).quiet(&[]).holds();
    one().exit(7, errno("ENOENT")).enter(8).exit(8, 0).quiet(&["a"]).breaks("Q6", 7);
}

/// S1: whom the close lets through opens the file next, for which another group is asked, and that can be while the
/// marks of the first one are still there.
#[test]
fn a_close_can_wait_for_whom_it_lets_through() {
    let program = |other: &str| {
        let rest = "c2 = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                    fanotify_mark(c2, ADD, OPEN_EXEC_PERM, w0)\na = spawn exec(w0)\nclose(c2)\n";
        Tape::of(&format!("c = fanotify_init(CLASS_CONTENT, O_RDONLY)\n{other}{rest}"))
    };
    let asked = || program("fanotify_mark(c, ADD | MOUNT, OPEN_PERM, f0)\n").sets_up(5);
    asked().blocks().holds();
    asked().ret(0).still().holds();
    program("").sets_up(4).blocks().breaks("S1", 5);
}

/// S4: a read beside the release of the control file returns what it has, or 0.
#[test]
fn a_read_beside_the_shutdown() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
par {
    s = spawn read(q)
    close(c)
}
";
    let ends = |tape: Tape| tape.exit(4, 0).ended("a", false).quiet(&[]);
    let tape = || Tape::of(text).sets_up(4).block().enter(5).enter(6);
    let event = [("OPEN_PERM", "f0", "a", 3)];
    ends(tape().exit_with(5, &event).ended("s", false).exit(6, 0)).holds();
    ends(tape().exit(6, 0).exit_with(5, &event).ended("s", false)).holds();
    ends(tape().exit(5, 0).ended("s", false).exit(6, 0)).holds();
    // The accessor is not left behind.
    let left = || tape().exit_with(5, &event).ended("s", false).exit(6, 0);
    left().quiet(&["a"]).breaks("S4", 5);
    ends(tape().exit(6, 0).exit(5, errno("EBADF")).ended("s", false)).breaks("X4", 5);
    // A reader that is left asleep.
    assert!(tape().exit(6, 0).exit(4, 0).ended("a", false).quiet(&["s"]).judge().0.is_err());
}

/// A read that begins when the close has returned finds the end.
#[test]
fn a_read_behind_the_shutdown() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
d: close(c)
a = spawn open(f0, O_RDONLY)
par {
    d: read(q)
    close(c)
}
";
    let event = [("OPEN_PERM", "f0", "a", 2)];
    let tape = || Tape::of(text).sets_up(6).block().enter(8).exit(8, 0).enter(7);
    let ends = |tape: Tape| tape.exit(6, 0).ended("a", false).quiet(&[]);
    ends(tape().exit(7, 0)).holds();
    ends(tape().exit_with(7, &event)).breaks("S4", 7);
}

const KILL: &str = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
a = spawn open(f0, O_RDONLY)
par {
    kill(a)
    d: read(q)
}
read(q)
";

/// K2, K3: a killed accessor's event vanishes, or is canceled if it was taken before.
#[test]
fn a_kill_beside_a_read() {
    let tape = || Tape::of(KILL).sets_up(5).block().enter(6).enter(7);
    let event = [("OPEN_PERM", "f0", "a", 2)];
    let empty = errno("EAGAIN");
    tape().exit(6, 0).exit_with(7, &event).ended("a", true).quiet(&[]).ret(empty).holds();
    tape().exit(6, 0).exit(7, empty).ended("a", true).quiet(&[]).ret(empty).holds();
    tape().exit(7, empty).exit(6, 0).ended("a", true).quiet(&[]).ret(empty).holds();
    // It is gone when it is reaped.
    let gone = || Tape::of(KILL).sets_up(5).block().enter(6).exit(6, 0).ended("a", true).enter(7);
    gone().exit(7, empty).quiet(&[]).ret(empty).holds();
    assert!(gone().exit_with(7, &event).quiet(&[]).judge().0.is_err());
    // It does not live on.
    assert!(tape().exit(6, 0).exit_with(7, &event).quiet(&["a"]).judge().0.is_err());
}

/// Q4: a reader that was killed in its sleep takes what comes before it dies.
#[test]
fn a_killed_reader_takes_what_it_is_woken_by() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
s = spawn read(q, 24)
par {
    kill(s)
    r = spawn read(q, 24)
    a = spawn open(f0, O_RDONLY)
}
";
    let tape = || Tape::of(text).sets_up(3).blocks().block().enter(5).exit(5, 0);
    let both = || tape().enter(7).enter(6);
    both().ended("s", true).quiet(&["r", "a"]).holds();
    // It had died before.
    let gone = tape().ended("s", true).enter(7).enter(6);
    gone.quiet(&["r", "a"]).breaks("Q4", 5);
}

/// What a call that was not seen to return would have named is named or not.
#[test]
fn a_task_killed_in_its_call_may_have_named_what_it_opened() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
d = fork()
file = open(f0, O_RDONLY)
par {
    kill(d)
    d: q = open_queue(c)
    q2 = open_queue(c)
}
close(q)
";
    let busy = errno("EBUSY");
    let block = || Tape::of(text).sets_up(2).ret(1).block().enter(4).enter(5).enter(6);
    let killed = || block().exit(4, 0).exit(6, busy).ended("d", true).quiet(&[]);
    killed().ret(errno("EBADF")).holds();
    killed().ret(0).holds();
    killed().ret(errno("EINVAL")).breaks("I4", 7);
}

/// R8, Q2: a daemon that is killed lets go of its queue some time before it is reaped.
#[test]
fn a_killed_daemon_beside_its_successor() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE | NONBLOCK, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
d = fork()
d: q = open_queue(c)
a = spawn open(f0, O_RDONLY)
d: e = read(q)
par {
    kill(d)
    q2 = open_queue(c)
    q3 = open_queue(c)
}
read(q3)
";
    let event = |fd| [("OPEN_PERM", "f0", "a", fd)];
    let busy = errno("EBUSY");
    let tape =
        || Tape::of(text).sets_up(3).ret(1).blocks().reads(&event(2)).block().enter(7).exit(7, 0);
    tape()
        .enter(8)
        .exit(8, busy)
        .enter(9)
        .exit(9, 1)
        .ended("d", true)
        .quiet(&["a"])
        .reads(&event(2))
        .holds();
    let open = || tape().enter(8).exit(8, 1).enter(9).exit(9, busy).ended("d", true).quiet(&["a"]);
    open().holds();
    let late = || tape().ended("d", true).enter(8);
    late().exit(8, 1).enter(9).exit(9, busy).quiet(&["a"]).holds();
    late().exit(8, busy).enter(9).exit(9, 1).quiet(&["a"]).breaks("Q2", 8);
}

/// R2: what concurrent readers took is restarted in the order of queueing; X4: no two take one event.
#[test]
fn what_two_readers_took_is_restarted_in_order() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
b = spawn open(f0, O_RDONLY)
d = fork()
par {
    read(q, 24)
    d: read(q, 24)
}
close(q)
d: close(q)
q2 = open_queue(c)
read(q2)
";
    let event = |by, fd| ("OPEN_PERM", "f0", by, fd);
    let tape = || Tape::of(text).sets_up(6).block().enter(7).enter(8);
    let ends = |tape: Tape| {
        tape.exit_with(7, &[event("b", 2)]).quiet(&["a", "b"]).ret(0).still().ret(0).still()
    };
    let taken = || ends(tape().exit_with(8, &[event("a", 2)])).ret(1).still();
    taken().reads(&[event("a", 3), event("b", 4)]).holds();
    taken().reads(&[event("b", 3), event("a", 4)]).breaks("R2", 12);
    tape()
        .exit_with(8, &[event("a", 2)])
        .exit_with(7, &[event("a", 2)])
        .quiet(&["a", "b"])
        .breaks("X4", 7);
}

/// Q5: a queue can be seen to have an event before a sleeping reader takes it, who then sleeps for its buffer.
#[test]
fn a_reader_that_will_sleep_for_its_buffer_takes_what_others_see() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
d = fork()
d: read_missing(q, 24, 0)
par {
    a = spawn open(f0, O_RDONLY)
    poll(q)
}
";
    let tape = || Tape::of(text).sets_up(4).blocks().block().enter(6).enter(7);
    let (readable, nothing) = (0x41, 0);
    tape().exit(7, readable).quiet(&["a", "d"]).holds();
    tape().exit(7, nothing).quiet(&["a", "d"]).holds();
    let early = || Tape::of(text).sets_up(4).blocks().block().enter(7);
    early().exit(7, readable).enter(6).quiet(&["a", "d"]).breaks("Q5", 7);
}

/// A1: a file is being written to while it is truncated by its path, and nobody can run it meanwhile.
#[test]
fn a_truncation_keeps_off_who_would_run_the_file() {
    let text = "\
par {
    truncate(x0, 0)
    a = spawn exec(x0)
}
";
    let tape = || Tape::of(text).block().enter(1).enter(2);
    let ended = |tape: Tape| tape.ended("a", false).quiet(&[]);
    ended(tape().exit(2, errno("ETXTBSY")).exit(1, 0)).holds();
    ended(tape().exit(1, 0).exit(2, errno("ENOEXEC"))).holds();
    let later = || Tape::of(text).block().enter(1).exit(1, 0).enter(2);
    ended(later().exit(2, errno("ETXTBSY"))).breaks("A1", 2);
}

/// Q4, Q7: two readers are woken for one event. The one for whose buffer it is too long leaves it to the one that
/// denies it by a buffer that is not there, or comes too late.
#[test]
fn a_reader_that_will_fail_takes_what_others_look_at() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn read_fault(q, 24, 12)
b = spawn read(q, 23)
o = spawn open(f0, O_RDONLY)
";
    let (too_long, not_there) = (errno("EINVAL"), errno("EFAULT"));
    let woken = || Tape::of(text).sets_up(5).block();
    let left = || woken().exit(5, too_long).exit(4, not_there).exit(6, errno("EPERM"));
    left().ended("b", false).ended("a", false).ended("o", false).quiet(&[]).holds();
    let late = || woken().exit(4, not_there).exit(6, errno("EPERM"));
    late().ended("a", false).ended("o", false).quiet(&["b"]).holds();
    woken().exit(5, too_long).ended("b", false).quiet(&["a", "o"]).breaks("Q7", 6);
}

/// K1, S1: an accessor that is killed and let through at the same time has read or has not.
#[test]
fn a_killed_accessor_that_is_let_through_may_have_read() {
    let text = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, ACCESS_PERM, f0)
file = open(f0, O_RDONLY)
a = spawn read(file, 5)
par {
    kill(a)
    close(c)
}
fionread(file)
";
    let block = || Tape::of(text).sets_up(4).block().enter(5).exit(5, 0).enter(6);
    let (read, did_not) = (4, 9);
    let late = || block().exit(6, 0).ended("a", true).quiet(&[]);
    late().ret(read).holds();
    late().ret(did_not).holds();
    late().ret(5).breaks("I4", 7);
    // It had died before.
    let dead = Tape::of(text).sets_up(4).block().enter(5).exit(5, 0).ended("a", true).enter(6);
    dead.exit(6, 0).quiet(&[]).ret(read).breaks("I4", 7);
}

/// A1: what is mapped is read when the call is over, while somebody may write.
#[test]
fn a_mapping_is_read_beside_a_write() {
    let text = |other: &str| {
        format!(
            "c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE, O_RDONLY)\n\
             fanotify_mark(c, ADD, PRE_ACCESS, ext1)\n\
             file = open(ext1, O_RDWR)\n\
             a = spawn mmap(file, 4096)\n\
             b = spawn {other}\n\
             close(c)\n"
        )
    };
    let ends = |tape: Tape| tape.ended("a", false).ended("b", false).quiet(&[]);
    // The old length, and other bytes than those of the file.
    let run = |other: &str, value| {
        let tape = Tape::of(&text(other)).sets_up(5).block();
        ends(tape.exit(4, 11).exit(5, value).exit(6, 0))
    };
    run("pwrite(file, \"hello hello\\n\\n\")", 13).holds();
    run("fallocate(file, 11)", 0).holds();
    run("mmap(file, 4096)", 11).breaks("S1", 6);
}

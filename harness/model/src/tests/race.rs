//! Calls at the same time, allowed and forbidden.

use super::tape::{Tape, errno};

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
    tape().exit(3, busy).exit(4, busy).quiet(&[]).breaks("X1", 3);
    // One after the other.
    let one = || Tape::of(TWO_OPENS).sets_up(2).block().enter(3);
    one().exit(3, 1).enter(4).exit(4, busy).quiet(&[]).holds();
    one().exit(3, busy).enter(4).exit(4, 1).quiet(&[]).breaks("Q2", 3);
}

//! Traces of right and wrong kernels, written by hand.

mod block;
mod listing;
mod property;
mod rules;
mod simulated;
mod tape;
mod trace;
mod transit;
mod wrong;

use refan_abi::ApiValues;
use refan_program::Program;
use refan_wire::Record;

use super::Judgement;
use tape::Tape;

fn judge(program: &Program, records: &[Record], api: ApiValues, restartable: bool) -> Judgement {
    super::judge(program, records, api, restartable).0
}

/// The example of the design, up to the second open of the queue.
const EXAMPLE: &str = "\
# Q2, R1: a second queue is refused; what the first one left pending goes to its successor.
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
open_queue(c) -> EBUSY
a = spawn open(f0, O_RDONLY)
e = read(q) -> OPEN_PERM f0 by a
close(q)
a -> blocked
q2 = open_queue(c)
e2 = read(q2) -> OPEN_PERM f0 by a
write(q2, e2, ALLOW)
a -> 0
";

/// How a right kernel begins the example, up to the step in which the queue is closed.
fn example() -> Tape {
    Tape::of(EXAMPLE).ret(0).ret(0).ret(1).errno("EBUSY").blocks().event("OPEN_PERM", "f0", 1, 2)
}

/// What goes on after the close of that queue, on a right kernel.
fn rest(tape: Tape) -> Tape {
    tape.ret(0).looks().ret(1).event("OPEN_PERM", "f0", 1, 3).ret(8).also(4, 0).looks()
}

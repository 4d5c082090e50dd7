//! The smallest program that still fails: what is left out or made plainer is steps, tasks, blocks and
//! arguments, and each candidate is a valid program.

mod plainer;

use std::collections::HashSet;

use crate::mutate::draft::Draft;
use crate::{Bind, Call, Program, Step, Task};

/// How much there is to a program: the fewer steps, and then the fewer names of what is closed, the fewer
/// steps in blocks, the fewer tasks, the plainer the calls and the shorter its text, the simpler it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    steps: usize,
    closed_fds: usize,
    in_blocks: usize,
    tasks: usize,
    /// In how many ways calls can be plainer.
    calls: usize,
    text: (usize, String),
}

impl Size {
    fn of(program: &Program) -> Self {
        let text = program.to_string();
        Self {
            steps: program.steps.len(),
            closed_fds: plainer::closed_fds(program),
            in_blocks: program.steps.iter().filter(|step| step.block.is_some()).count(),
            tasks: program.tasks.len(),
            calls: program.steps.iter().map(|step| plainer::ways(&step.call)).sum(),
            text: (text.len(), text),
        }
    }
}

/// The candidates of one kind that a program has, those first that spare the most.
type Pass = fn(&Program) -> Vec<Program>;

/// From what spares the most to what spares the least.
const PASSES: [Pass; 5] =
    [fewer_steps, fewer_tasks, plainer::flattened, plainer::calls, plainer::files];

/// Makes a program that fails simpler for as long as it fails.
///
/// `failing` is asked which of some candidates fails, and answers with the first one that does, or
/// with what it has made of that one; none if all hold.
///
/// # Errors
/// Those of `failing`.
pub fn reduce<E>(
    program: &Program,
    mut failing: impl FnMut(&[Program]) -> Result<Option<Program>, E>,
) -> Result<Program, E> {
    let mut least = program.bare();
    let mut tried = HashSet::from([least.encode()]);
    loop {
        let before = Size::of(&least);
        for pass in PASSES {
            // Behind a place where something was spared; what stands before it did not help just now.
            let mut from = 0;
            loop {
                let size = Size::of(&least);
                let simpler = |candidate: &Program| Size::of(candidate) < size;
                let mut candidates = pass(&least);
                let len = candidates.len().max(1);
                candidates.rotate_left(from % len);
                let places: Vec<Vec<u8>> = candidates.iter().map(Program::encode).collect();
                candidates.retain(|it| simpler(it) && tried.insert(it.encode()));
                match failing(&candidates)? {
                    Some(found) => {
                        let at = candidates.iter().position(|it| it.encode() == found.encode());
                        let place = places.iter().position(|it| *it == found.encode());
                        from = (from + place.unwrap_or(0)) % len;
                        // Those behind it were not asked about.
                        for later in candidates.drain(at.map_or(0, |at| at + 1)..) {
                            tried.remove(&later.encode());
                        }
                        least = found.bare();
                    }
                    None => break,
                }
            }
        }
        if Size::of(&least) >= before {
            return Ok(least);
        }
    }
}

/// Without neighbouring steps: half of them, a quarter, and so on, the last ones first, since nothing
/// stands on those.
fn fewer_steps(program: &Program) -> Vec<Program> {
    let len = program.steps.len();
    let mut candidates = Vec::new();
    let mut most = len.div_ceil(2);
    while most > 0 {
        let mut end = len;
        while end > 0 {
            let range = end.saturating_sub(most)..end;
            candidates.push(changed(program, |steps| drop(steps.drain(range.clone()))));
            end = range.start;
        }
        most /= 2;
    }
    candidates
}

/// With the steps of a task made by `main`, or left out.
fn fewer_tasks(program: &Program) -> Vec<Program> {
    let tasks = (1..program.tasks.len()).rev().map(|task| Task(task as u8));
    tasks
        .flat_map(|task| {
            let makes = |step: &Step| step.bind == Bind::Task(task);
            let left_out = changed(program, |steps| {
                steps.retain(|step| step.task != task && !makes(step));
            });
            let by_main = changed(program, |steps| {
                steps.retain(|step| !makes(step));
                for step in steps.iter_mut().filter(|step| step.task == task) {
                    step.task = Task::MAIN;
                }
            });
            // What a spawned task does alone `main` can do as well.
            let unspawned = changed(program, |steps| {
                for step in steps.iter_mut().filter(|step| makes(step)) {
                    if let Call::Spawn { call } = &step.call {
                        (step.call, step.bind) = ((**call).clone(), Bind::None);
                    }
                }
            });
            [left_out, by_main, unspawned]
        })
        .collect()
}

/// A program with other steps: what they refer to that is not there is mended or left out.
fn changed(program: &Program, change: impl FnOnce(&mut Vec<Step>)) -> Program {
    let mut draft = Draft::of(program);
    change(&mut draft.steps);
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// The first candidate whose text has all of these.
    fn having<'a>(
        words: &'a [&'a str],
    ) -> impl FnMut(&[Program]) -> Result<Option<Program>, Infallible> + 'a {
        move |candidates| {
            let fails = |it: &&Program| words.iter().all(|word| it.to_string().contains(word));
            Ok(candidates.iter().find(fails).cloned())
        }
    }

    fn reduced(text: &str, words: &[&str]) -> String {
        let program = crate::parse(text).expect("a program");
        reduce(&program, having(words)).expect("nothing fails").to_string()
    }

    const LONG: &str = "c = fanotify_init(CLASS_PRE_CONTENT | RESTARTABLE | NONBLOCK, O_RDWR)\n\
        fanotify_mark(c, ADD, OPEN_PERM | ACCESS_PERM, d1/f)\nq = open_queue(c)\nd = fork()\n\
        a = spawn open(d1/f, O_RDONLY)\ne = read(q, 512)\npar {\n    write(q, e, DENY)\n    \
        d: close(q)              @ 2300ns prio 2\n}\nkill(a)\npoll(c)\n";

    #[test]
    fn what_is_not_needed_is_left_out() {
        let least = "c = fanotify_init(CLASS_NOTIF, O_RDONLY)\nclose(c)\n";
        assert_eq!(reduced(LONG, &["close("]), least);
    }

    #[test]
    fn what_stands_at_the_same_time_is_kept_where_it_is_needed() {
        let least = reduced(LONG, &["par {", "close(", "write("]);
        assert!(least.contains("par {"), "{least}");
        assert!(!least.contains("fanotify_mark") && !least.contains("prio"), "{least}");
        let flat = reduced(LONG, &["close(", "write("]);
        assert!(!flat.contains("par {") && !flat.contains("fork"), "{flat}");
    }

    #[test]
    fn arguments_become_plain() {
        let least = reduced(LONG, &["fanotify_mark", "spawn open"]);
        assert!(!least.contains("NONBLOCK") && !least.contains("d1"), "{least}");
    }

    /// The second close is that of the other control fd, which got the queue's number.
    #[test]
    fn fds_go_by_their_own_names() {
        let text = "c = fanotify_init(CLASS_CONTENT, O_RDONLY)\nq = open_queue(c)\nclose(q)\n\
                    c2 = fanotify_init(CLASS_CONTENT, O_RDONLY)\npoll(c2)\nclose(q)\n";
        let program = crate::parse(text).expect("a program");
        let ends = |program: &&Program| {
            let closes_one = match &program.steps[..] {
                [.., last] => matches!(last.call, Call::Close { .. }),
                [] => false,
            };
            closes_one && program.to_string().contains("poll(c")
        };
        let failing = |all: &[Program]| Ok::<_, Infallible>(all.iter().find(ends).cloned());
        let least = reduce(&program, failing).expect("no error").to_string();
        assert_eq!(least, "c = fanotify_init(CLASS_NOTIF, O_RDONLY)\npoll(c)\nclose(c)\n");
    }

    #[test]
    fn what_holds_stays() {
        let program = crate::parse(LONG).expect("a program");
        let none = |_: &[Program]| Ok::<_, Infallible>(None);
        assert_eq!(reduce(&program, none).expect("no error"), program.bare());
    }
}

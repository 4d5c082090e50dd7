//! What a right kernel can be seen to do: the model asked before anything was seen.

use std::collections::BTreeSet;
use std::ops::Range;

use refan_program::{Bind, Call, Program, Task};

use crate::model::obstacle;
use crate::state::{Life, State};
use crate::{End, Model, Moment, Observation, Return, Seen, Stop};

/// Pid of the task `main` of a run that nobody has seen; a task's pid is this and its number.
pub const MAIN_PID: i32 = 10;

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;

/// More ways in which a step or block can go than anybody would write down.
const MOST: usize = 256;
/// More events in one read than anybody wants to see in every order.
const MOST_IN_ORDERS: usize = 4;

impl<'a> Model<'a> {
    /// Everything that a right kernel can be seen to do in the next step or block, each with the model
    /// behind it. What is seen of a block has no order of returns: calls whose order nobody sees.
    ///
    /// # Errors
    /// Where the model cannot tell, or there are too many ways.
    pub fn outcomes(&self, steps: Range<usize>) -> Result<Vec<(Observation, Self)>, Stop> {
        self.outcomes_of(steps, |_| None)
    }

    /// The same where the pids of tasks that are made in these steps are known.
    ///
    /// # Errors
    /// As of [`Model::outcomes`].
    pub fn outcomes_of(
        &self,
        steps: Range<usize>,
        pid: impl Fn(Task) -> Option<i32>,
    ) -> Result<Vec<(Observation, Self)>, Stop> {
        let before = self.states[0].clone();
        let mut beginning = self.beginning_of(&steps);
        for (task, number) in &mut beginning.started {
            *number = pid(*task).unwrap_or(*number);
        }
        let mut left = vec![beginning];
        let mut known = left.clone();
        let mut outcomes: Vec<(Observation, Self)> = Vec::new();
        let mut broken = None;
        while let Some(seen) = left.pop() {
            let mut model = self.clone();
            model.foresees = true;
            let more = match model.explain(&steps, &seen) {
                Ok(()) => {
                    model.foresees = self.foresees;
                    let orders = in_other_orders(&seen);
                    let mut seen = seen;
                    seen.ended = model.ended_since(&before, &steps, &seen);
                    outcomes.push((seen, model));
                    orders
                }
                Err(Stop::Broken(violation)) => {
                    broken.get_or_insert(violation);
                    further(&seen, &model)
                }
                Err(stop) => return Err(stop),
            };
            for one in more.into_iter().rev() {
                if !known.contains(&one) {
                    known.push(one.clone());
                    left.push(one);
                }
            }
            if known.len() > MOST {
                return Err(crate::explore::too_many());
            }
        }
        match broken {
            Some(violation) if outcomes.is_empty() => Err(Stop::Broken(violation)),
            _ => Ok(outcomes),
        }
    }

    /// The program that it judges.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// What is seen of a step or block before any call of it has come to anything.
    pub(crate) fn beginning_of(&self, steps: &Range<usize>) -> Observation {
        let mut seen = Observation::default();
        for step in steps.clone() {
            if let Some(why) = obstacle(&self.states[0], &self.program.steps[step]) {
                seen.skipped.push((step, why));
                continue;
            }
            if let Bind::Task(task) = &self.program.steps[step].bind {
                seen.started.push((*task, MAIN_PID + i32::from(task.0)));
            }
            if self.is_block(steps) {
                seen.order.push(Moment::Enter(step));
            }
        }
        seen
    }

    /// The tasks that have ended since a state, in these steps.
    pub(crate) fn ended_since(
        &self,
        before: &State,
        steps: &Range<usize>,
        seen: &Observation,
    ) -> Vec<(Task, End)> {
        let mut ended = Vec::new();
        for (number, (old, new)) in (0u8..).zip(before.tasks.iter().zip(&self.states[0].tasks)) {
            let task = Task(number);
            let was_there = old.life != Life::Ended || old.call.is_some();
            if !was_there || new.life != Life::Ended || new.call.is_some() {
                continue;
            }
            // A signal with a handler ends programs that were executed, whose call never returns.
            let of = old.call.as_ref().map(|call| call.step);
            let unreturned = !seen.returns.iter().any(|back| Some(back.step) == of);
            let calls = || self.program.steps[steps.clone()].iter().map(|step| &step.call);
            let killed = calls().any(|call| matches!(call, Call::Kill { task: it } if *it == task));
            let signaled =
                calls().any(|call| matches!(call, Call::Signal { task: it, .. } if *it == task));
            let end = if killed {
                End::Signaled(SIGKILL)
            } else if (signaled || old.signaled) && unreturned {
                End::Signaled(SIGUSR1)
            } else {
                End::Exited(0)
            };
            ended.push((task, end));
        }
        ended
    }
}

/// What was seen with each of the things that some way lacked.
fn further(seen: &Observation, model: &Model<'_>) -> Vec<Observation> {
    let caller = |step: usize| model.program.steps.get(step).and_then(|step| step.caller());
    // In no block a task does not return from one call and sleep in the next.
    let wakes = |asleep: &BTreeSet<Task>| {
        let mut back = seen.returns.iter().filter_map(|back| caller(back.step));
        seen.order.is_empty() && back.any(|task| asleep.contains(&task))
    };
    let backs = model.foreseen.backs.iter().map(|back| {
        let mut more = seen.clone();
        if let Some(task) = caller(back.step) {
            more.blocked.remove(&task);
        }
        more.returns.push(back.clone());
        more.returns.sort_by_key(|back| back.step);
        more
    });
    let asleep =
        model.foreseen.asleep.iter().filter(|asleep| **asleep != seen.blocked && !wakes(asleep));
    let asleep = asleep
        .map(|asleep: &BTreeSet<Task>| Observation { blocked: asleep.clone(), ..seen.clone() });
    backs.chain(asleep).collect()
}

/// The same with two neighbours of the events of a read exchanged: what the contract orders it will not
/// explain.
fn in_other_orders(seen: &Observation) -> Vec<Observation> {
    let mut others = Vec::new();
    for (at, Return { data, .. }) in seen.returns.iter().enumerate() {
        let Seen::Events(events) = data else { continue };
        if events.len() > MOST_IN_ORDERS {
            continue;
        }
        for first in 1..events.len() {
            let mut events = events.clone();
            events.swap(first - 1, first);
            // Numbers are given out in the order of the read.
            let fd = events[first].event.fd;
            events[first].event.fd = events[first - 1].event.fd;
            events[first - 1].event.fd = fd;
            let mut other = seen.clone();
            other.returns[at].data = Seen::Events(events);
            others.push(other);
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kernel;

    /// What the last step or block of a program can come to: of each of its calls the value, `-` for
    /// one that does not return.
    fn last(text: &str) -> Vec<String> {
        let program = refan_program::parse(text).expect("a program");
        let kernel = kernel();
        let mut models = vec![Model::new(&kernel, &program, MAIN_PID)];
        let mut at = 0;
        loop {
            let part = program.block_of(at);
            at = part.end;
            let outcomes: Vec<_> = models
                .iter()
                .flat_map(|model| model.outcomes(part.clone()).expect("outcomes"))
                .collect();
            if at == program.steps.len() {
                let value = |seen: &Observation, step| {
                    let back = seen.returns.iter().find(|back| back.step == step);
                    back.map_or_else(|| "-".to_owned(), |back| back.value.to_string())
                };
                let text = |seen| part.clone().map(|step| value(seen, step)).collect::<Vec<_>>();
                let mut all: Vec<String> =
                    outcomes.iter().map(|(seen, _)| text(seen).join(" ")).collect();
                all.sort();
                all.dedup();
                return all;
            }
            models = outcomes.into_iter().map(|(_, model)| model).collect();
        }
    }

    const BEGINNING: &str = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
";

    #[test]
    fn a_step_has_one_outcome_where_the_contract_leaves_no_choice() {
        assert_eq!(last(&format!("{BEGINNING}open_queue(c)\n")), ["-16"]);
        assert_eq!(last(&format!("{BEGINNING}e = read(q)\n")), ["24"]);
        assert_eq!(last(&format!("{BEGINNING}a\n")), ["-"]);
    }

    #[test]
    fn a_block_has_those_of_all_orders() {
        let text = "e = read(q)\npar {\n    b = spawn write(q, e, ALLOW)\n    close(q)\n}\n";
        assert_eq!(last(&format!("{BEGINNING}{text}")), ["8 0"]);
        let text = "par {\n    d: open_queue(c)\n    open_queue(c)\n}\n";
        let beginning = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nd = fork()\n";
        assert_eq!(last(&format!("{beginning}{text}")), ["-16 1", "1 -16"]);
    }

    #[test]
    fn either_of_two_readers_gets_the_event() {
        let text = "d = fork()\npar {\n    e = read(q)\n    d: e2 = read(q)\n}\n";
        assert_eq!(last(&format!("{BEGINNING}{text}")), ["- 24", "24 -"]);
    }

    #[test]
    fn events_that_came_at_the_same_time_come_in_any_order() {
        let text = "par {\n    b = spawn open(f0, O_RDONLY)\n    d = spawn open(f0, O_RDONLY)\n}\n";
        let program = format!("{BEGINNING}{text}e, e2, e3 = read(q)\n");
        let program = refan_program::parse(&program).expect("a program");
        let kernel = kernel();
        let mut models = vec![Model::new(&kernel, &program, MAIN_PID)];
        for part in [0..1, 1..2, 2..3, 3..4, 4..6] {
            models = models
                .iter()
                .flat_map(|model| model.outcomes(part.clone()).expect("outcomes"))
                .map(|(_, model)| model)
                .collect();
        }
        let mut orders: Vec<Vec<i32>> = models
            .iter()
            .flat_map(|model| model.outcomes(6..7).expect("outcomes"))
            .map(|(seen, _)| match &seen.returns[0].data {
                Seen::Events(events) => events.iter().map(|seen| seen.event.pid).collect(),
                data => panic!("{data:?}"),
            })
            .collect();
        orders.sort();
        assert_eq!(orders, [[11, 12, 13], [11, 13, 12]]);
    }
}

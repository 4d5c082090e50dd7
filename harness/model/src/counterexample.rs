//! The shortest part of a block's history that has no explanation.

use std::collections::BTreeSet;
use std::ops::Range;

use refan_abi::Errno;
use refan_program::{Call, Program, Rule, Task};

use crate::history::History;
use crate::model::{Model, explore, open};
use crate::rules::{Q2, Q4, Q6, R1, R3, R4, R6, S1, S2, S4, X1, X2, X3, X4};
use crate::state::State;
use crate::violation::{mask_text, returned};
use crate::{Moment, Object, Observation, Return, Seen, SeenEvent, Stop, Violation};

impl Model<'_> {
    /// Why a block's history has no explanation: of its beginnings the shortest that has none, and
    /// what would have been allowed at its end. `at_end` is what is broken where every beginning
    /// has an explanation and only what was seen at the end of the block does not fit.
    pub(crate) fn counter_example(
        &self,
        steps: &Range<usize>,
        seen: &Observation,
        at_end: Violation,
    ) -> Result<Violation, Stop> {
        let whole = History::new(self.program, seen, None);
        for bound in 1..=whole.returns.len() {
            let history = History::new(self.program, seen, Some(bound));
            let beginning = beginning(seen, &history.returns);
            let scene = self.scene(steps.start, &beginning, history);
            let explored =
                explore(&scene, &self.states, |state, cx| open(state, cx, steps.clone()))?;
            if explored.settled.is_empty() {
                let failed = &explored.failed;
                // Where the last call fits whatever comes before, the others do not.
                let of =
                    if failed.of_last.is_empty() { &failed.of_others } else { &failed.of_last };
                return Ok(self.unexplained(&scene.history, seen, of));
            }
        }
        let rules = BTreeSet::from([at_end.rule]);
        let rule = self.rule(&whole, None, &rules);
        Ok(Violation { rule, history: self.lines(seen, usize::MAX), ..at_end })
    }

    /// The violation that the last return of the history is.
    fn unexplained(
        &self,
        history: &History,
        seen: &Observation,
        failures: &[Violation],
    ) -> Violation {
        let last = history.returns.last().copied();
        let back = seen.returns.iter().find(|back| Some(back.step) == last);
        let rules: BTreeSet<Rule> = failures.iter().map(|failure| failure.rule).collect();
        let mut allowed: Vec<&str> = Vec::new();
        for failure in failures {
            if !allowed.contains(&failure.allowed.as_str()) {
                allowed.push(&failure.allowed);
            }
        }
        let allowed = match allowed[..] {
            [] => "no order of the actions in which it returns".to_owned(),
            _ => allowed.join(", or "),
        };
        let name = |step| self.program.steps.get(step).map(|step| self.program.step_text(step));
        let call = last.and_then(name).unwrap_or_default();
        let result = back.map(|back| self.result(seen, back)).unwrap_or_default();
        Violation {
            rule: self.rule(history, back, &rules),
            step: last.unwrap_or_default(),
            allowed,
            observed: format!("`{call}` returned {result}"),
            history: self.lines(seen, history.returns.len()),
        }
    }

    /// The rule that is broken if all explanations fail for these: the one that speaks of calls at
    /// the same time, if there is one.
    fn rule(&self, history: &History, back: Option<&Return>, rules: &BTreeSet<Rule>) -> Rule {
        let [rule] = rules.iter().copied().collect::<Vec<_>>()[..] else { return X4 };
        let made = history.made();
        let calls = || made.iter().filter_map(|step| self.program.steps.get(*step));
        let count =
            |of: fn(&Call) -> bool| calls().filter(|step| of(step.call.innermost())).count();
        let releases =
            count(|call| matches!(call, Call::Close { .. } | Call::Exit | Call::Kill { .. })) > 0;
        let opens = count(|call| matches!(call, Call::OpenQueue { .. }));
        let writes = count(|call| matches!(call, Call::Write { .. }));
        let readers = count(|call| matches!(call, Call::Read { .. }));
        let last = back.and_then(|back| self.program.steps.get(back.step));
        let reads = matches!(last.map(|step| step.call.innermost()), Some(Call::Read { .. }));
        let again = back.is_some_and(|back| back.is(Errno::EAGAIN));
        if rule == Q2 && opens > 1 {
            X1
        } else if [S1, S2].contains(&rule) {
            S4
        } else if releases
            && reads
            && rule == Q4
            && back.is_some_and(|back| back.value <= 0)
            && !again
        {
            X3
        } else if reads && readers > 1 && rule == R6 {
            // Two reads take one event: a take is one action.
            X4
        } else if releases && writes > 0 && [Q6, R1, R3, R4, R6].contains(&rule) {
            X2
        } else {
            rule
        }
    }

    /// What was seen of the block up to the return of this number, a line a moment.
    fn lines(&self, seen: &Observation, returns: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut left = returns;
        for moment in &seen.order {
            lines.push(match *moment {
                Moment::Enter(step) => {
                    let text =
                        self.program.steps.get(step).map(|step| self.program.step_text(step));
                    format!("step {} begins: {}", step + 1, text.unwrap_or_default())
                }
                Moment::Return(step) => {
                    left -= 1;
                    let back = seen.returns.iter().find(|back| back.step == step);
                    let result = back.map(|back| self.result(seen, back)).unwrap_or_default();
                    format!("step {} returns {result}", step + 1)
                }
                Moment::Ended(task) => format!("{} has ended", self.program.task_name(task)),
            });
            if left == 0 {
                break;
            }
        }
        lines
    }

    fn result(&self, seen: &Observation, back: &Return) -> String {
        match &back.data {
            Seen::Events(events) if !events.is_empty() => {
                let text = |one| event_text(self.program, self.states.first(), seen, one);
                events.iter().map(text).collect::<Vec<_>>().join(", ")
            }
            _ => match Errno::from_return(back.value) {
                Some(_) => returned(back.value),
                None => back.value.to_string(),
            },
        }
    }
}

/// What had been seen when these calls had returned.
fn beginning(seen: &Observation, returned: &[usize]) -> Observation {
    let mut beginning = seen.clone();
    beginning.returns.retain(|back| returned.contains(&back.step));
    let last = returned.last().map(|step| Moment::Return(*step));
    let end = beginning.order.iter().position(|moment| Some(*moment) == last);
    beginning.order.truncate(end.map_or(0, |end| end + 1));
    let order = &beginning.order;
    beginning.ended.retain(|(task, _)| order.contains(&Moment::Ended(*task)));
    beginning
}

/// An event in words.
fn event_text(
    program: &Program,
    state: Option<&State>,
    seen: &Observation,
    event: &SeenEvent,
) -> String {
    let pid = event.event.pid;
    let earlier = state.and_then(|state| {
        (0u8..).zip(&state.tasks).find(|(_, task)| task.pid == pid).map(|(number, _)| Task(number))
    });
    let new = seen.started.iter().find(|(_, of)| *of == pid).map(|(task, _)| *task);
    let mut text = mask_text(event.event.mask);
    if let Object::File(inode) = event.object {
        text += &format!(" {inode}");
    }
    match new.or(earlier) {
        Some(task) => text + " by " + program.task_name(task),
        None => text + &format!(" by pid {pid}"),
    }
}

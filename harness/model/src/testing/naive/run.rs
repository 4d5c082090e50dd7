//! Running a program on the naive kernel, in an order that a seed decides.

use std::collections::BTreeSet;
use std::ops::Range;

use refan_program::{Bind, Call, Program, Task};

use super::random::Random;
use super::{Life, Move, Naive, Shown};
use crate::testing::MAIN_PID;
use crate::{End, Moment, Observation, Return, Skipped};

/// The parts of a program: steps in no block, and blocks.
pub(super) fn parts(program: &Program) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < program.steps.len() {
        let part = program.block_of(at);
        at = part.end;
        parts.push(part);
    }
    parts
}

/// The calls that each task is to make in a part.
pub(super) type Plan = Vec<(Task, Vec<usize>)>;

impl Naive<'_> {
    /// A part begins: who cannot make its steps skips them, tasks that are spawned are there. The
    /// plan is what the others do.
    pub(super) fn begin(&mut self, part: &Range<usize>, seen: &mut Observation) -> Plan {
        let before = self.clone();
        let mut plan = Plan::new();
        for number in part.clone() {
            let step = &self.program.steps[number];
            let alone = step.block.is_none();
            let whose = match &step.call {
                Call::Await { .. } => continue,
                Call::Kill { task } if alone => *task,
                _ => step.task,
            };
            let actor = before.actor(whose);
            let kills = alone && matches!(step.call, Call::Kill { .. });
            if matches!(actor.life, Life::Unborn | Life::Dead) {
                seen.skipped.push((number, Skipped::Gone));
                continue;
            }
            if actor.doing.is_some() && !kills {
                seen.skipped.push((number, Skipped::Busy));
                continue;
            }
            if let Bind::Task(task) = step.bind {
                seen.started.push((task, MAIN_PID + i32::from(task.0)));
                if let Call::Spawn { call } = &step.call {
                    self.make(step.task, task, call);
                }
            }
            match step.caller() {
                None => self.actor_mut(whose).kill(),
                Some(caller) => match plan.iter_mut().find(|(task, _)| *task == caller) {
                    Some((_, steps)) => steps.push(number),
                    None => plan.push((caller, vec![number])),
                },
            }
        }
        plan
    }

    /// Everything that can happen next.
    pub(super) fn moves(&self, plan: &Plan) -> Vec<Move> {
        let mut moves = Vec::new();
        for task in self.tasks() {
            let actor = self.actor(task);
            let next = plan.iter().find(|(of, _)| *of == task).and_then(|(_, steps)| steps.first());
            if let (Some(step), None) = (next, &actor.doing)
                && matches!(actor.life, Life::Steps | Life::Once)
                && !actor.killed
            {
                moves.push(Move::Enter(task, *step));
            }
            moves.extend((0..self.ways(task)).map(|way| Move::Act(task, way)));
            if matches!(actor.doing.as_ref().map(|doing| &doing.at), Some(super::At::Done(..)))
                && (!actor.killed || actor.may_return)
            {
                moves.push(Move::Return(task));
            }
            if self.can_die(task) {
                moves.push(Move::Die(task));
            }
        }
        moves
    }

    /// The tasks that are inside a call.
    pub(super) fn blocked(&self) -> BTreeSet<Task> {
        self.tasks().filter(|task| self.actor(*task).doing.is_some()).collect()
    }

    /// Takes a call off the plan that has been entered.
    pub(super) fn strike(plan: &mut Plan, what: Move) {
        if let Move::Enter(task, _) = what
            && let Some((_, steps)) = plan.iter_mut().find(|(of, _)| *of == task)
        {
            steps.remove(0);
        }
    }

    fn part(&mut self, part: &Range<usize>, random: &mut Random) -> Observation {
        let mut seen = Observation::default();
        let mut plan = self.begin(part, &mut seen);
        let in_block = self.program.steps[part.start].block.is_some();
        loop {
            let moves = self.moves(&plan);
            if moves.is_empty() {
                break;
            }
            let what = moves[random.below(moves.len())];
            Self::strike(&mut plan, what);
            let shown = self.apply(what, &|_, _| None).expect("the lowest number is free");
            let moment = match shown {
                Shown::Nothing => continue,
                Shown::Enter(step) => Moment::Enter(step),
                Shown::Return(step, value, data) => {
                    seen.returns.push(Return { step, value, data });
                    Moment::Return(step)
                }
                Shown::Ended(task) => {
                    let killed = self.actor(task).killed;
                    seen.ended.push((task, if killed { End::Signaled(9) } else { End::Exited(0) }));
                    Moment::Ended(task)
                }
            };
            if in_block {
                seen.order.push(moment);
            }
        }
        seen.blocked = self.blocked();
        seen
    }
}

/// What is seen of a run.
pub(super) fn run(program: &Program, random: &mut Random) -> Vec<Observation> {
    let mut kernel = Naive::new(program);
    parts(program).iter().map(|part| kernel.part(part, random)).collect()
}

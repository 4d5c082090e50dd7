//! Every way in which things can go on, up to where nothing goes on any more.
//!
//! What is independent is taken in one order only: where a set of tasks does nothing next that what
//! the other tasks will ever do depends on, or that depends on it, it is enough to let these tasks
//! go on first (persistent sets). Where one task alone is such a set for the rest of its call, it
//! takes all actions of the call in one go.

use std::cell::{LazyCell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

use refan_program::{Call, Program, Task};

use crate::action::{can_die, can_go_on};
use crate::agree::{agrees, stays};
use crate::context::{Context, Foreseen};
use crate::footprint::{Footprint, Footprints};
use crate::history::History;
use crate::state::{Life, State};
use crate::{Kernel, Observation, Stop, Violation};

/// More states than any step or block of a reasonable kind reaches.
const MAX_STATES: usize = 1 << 13;
/// The same of choices within one action.
const MAX_CHOICES: usize = 4096;

/// What is explored: a step or block, and what was seen of it.
pub(crate) struct Scene<'a> {
    pub kernel: &'a Kernel,
    pub program: &'a Program,
    /// Its first step.
    pub step: usize,
    pub seen: &'a Observation,
    /// The calls of a block.
    pub history: History,
    /// Whether it is asked what could have been seen, so that a call that was not seen to return may have.
    pub foresees: bool,
}

impl Scene<'_> {
    /// How long it took, in milliseconds: what a step sleeps for at least.
    pub(crate) fn took(&self) -> u32 {
        let sleeps = match self.program.steps.get(self.step).map(|step| &step.call) {
            Some(Call::Sleep { ms }) => *ms,
            _ => 0,
        };
        self.seen.took.max(sleeps)
    }
}

/// A state on the way, and how many calls each branch has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    state: State,
    begun: Vec<u8>,
}

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// The task begins its branch's next call.
    Begin(usize),
    /// It goes on with the call that it is in.
    GoOn,
    /// It dies, as it was killed.
    Die,
}

/// What exploring came to.
#[derive(Default)]
pub(crate) struct Explored {
    /// The states in which nothing goes on and which agree with what was seen.
    pub settled: Vec<State>,
    /// The ways that did not fit.
    pub failed: Failed,
    /// What they lacked.
    pub foreseen: RefCell<Foreseen>,
    /// How many states there were on the way.
    pub states: usize,
}

impl Explored {
    /// Keeps what a way lacked.
    pub(crate) fn note(&self, cx: &Context<'_>) {
        self.foreseen.borrow_mut().add(cx.foreseen.take());
    }
}

/// Ways that did not fit what was seen.
#[derive(Default)]
pub(crate) struct Failed {
    /// The way that explains most, and how much it explains.
    best: Option<(usize, Violation)>,
    unjudgeable: Option<String>,
    /// What was broken where the call of [`History::last`] could not have gone on.
    pub of_last: Vec<Violation>,
    /// The same of the other calls.
    pub of_others: Vec<Violation>,
}

impl Failed {
    pub(crate) fn add(&mut self, explained: usize, stop: Stop) {
        match stop {
            Stop::Broken(violation) => {
                if self.best.as_ref().is_none_or(|(most, _)| explained > *most) {
                    self.best = Some((explained, violation));
                }
            }
            Stop::Unjudgeable(why) => {
                self.unjudgeable.get_or_insert(why);
            }
        }
    }

    /// What it comes to that these ways failed, where others did not or all did.
    pub(crate) fn unless(self, some_fit: bool) -> Result<(), Stop> {
        if let Some(why) = self.unjudgeable {
            return Err(Stop::Unjudgeable(why));
        }
        match self.best {
            _ if some_fit => Ok(()),
            Some((_, violation)) => Err(Stop::Broken(violation)),
            None => Err(Stop::Unjudgeable("the model has no state left".to_owned())),
        }
    }
}

pub(crate) fn too_many() -> Stop {
    Stop::Unjudgeable("there are too many ways in which the step can have gone".to_owned())
}

impl<'a> Scene<'a> {
    pub(crate) fn context(&self) -> Context<'a> {
        let mut cx = Context::new(self.kernel, self.program, self.step, self.seen);
        cx.open_ended = self.history.bound.is_some();
        cx
    }

    /// Follows every way from a state. With a bound to the history, up to the first one that
    /// explains its last return.
    pub(crate) fn explore(&self, from: State, into: &mut Explored) -> Result<(), Stop> {
        let start = from.clone();
        let footprints = LazyCell::new(|| Footprints::new(self, &start));
        let begun = vec![0; self.history.branches.len()];
        let mut known: HashSet<Rc<Node>> = HashSet::new();
        let mut left = vec![Rc::new(Node { state: from, begun })];
        while let Some(node) = left.pop() {
            if self.history.is_explained(&node.state) {
                into.settled.push(node.state.clone());
                return Ok(());
            }
            let next = self.follow(&node, || &*footprints, into)?;
            for mut node in next.into_iter().rev() {
                node.state.normalize();
                let node = Rc::new(node);
                if known.insert(Rc::clone(&node)) {
                    into.states += 1;
                    left.push(node);
                }
            }
            if into.states > MAX_STATES {
                return Err(too_many());
            }
        }
        Ok(())
    }

    /// The next nodes. At the end of a way it is held against what was seen.
    fn follow<'f>(
        &self,
        node: &Node,
        footprints: impl Fn() -> &'f Footprints<'f>,
        into: &mut Explored,
    ) -> Result<Vec<Node>, Stop> {
        let cx = self.context();
        let moves: Vec<(Task, Move)> = self.moves(node, &cx);
        let Some(&(first, _)) = moves.first() else {
            if self.history.bound.is_some() {
                into.failed.of_last.extend(stays(&node.state, &cx, self.history.last()));
            } else if let Err(stop) = agrees(&node.state, &cx) {
                into.failed.add(node.state.matched.len() + 1, stop);
                into.note(&cx);
            } else {
                into.settled.push(node.state.clone());
            }
            return Ok(Vec::new());
        };
        let alone = moves.iter().all(|(task, _)| *task == first);
        let (tasks, in_one_go) = if alone && self.history.branches.is_empty() {
            (vec![first], true)
        } else {
            self.persistent(node, &moves, footprints())
        };
        let mut next = Vec::new();
        for (task, what) in moves {
            if tasks.contains(&task) {
                self.make(node, task, what, in_one_go, into, &mut next)?;
            }
        }
        Ok(next)
    }

    /// What can happen next.
    fn moves(&self, node: &Node, cx: &Context<'_>) -> Vec<(Task, Move)> {
        let state = &node.state;
        let mut moves = Vec::new();
        for task in (0u8..).zip(&state.tasks).map(|(number, _)| Task(number)) {
            if can_go_on(state, cx, task) {
                moves.push((task, Move::GoOn));
            }
            if let Some(branch) = self.next_begin(node, task)
                && self.history.may_begin(self.next_step(node, branch), state)
            {
                moves.push((task, Move::Begin(branch)));
            }
            if can_die(state, task) {
                moves.push((task, Move::Die));
            }
        }
        moves
    }

    /// The branch of a task that is between two calls and has not made all of them.
    fn next_begin(&self, node: &Node, task: Task) -> Option<usize> {
        let alive = matches!(node.state.task(task).life, Life::Lives | Life::OneCall);
        let branch = self.history.branch_of(task)?;
        let left = usize::from(node.begun[branch]) < self.history.branches[branch].steps.len();
        (alive && left && node.state.is_idle(task)).then_some(branch)
    }

    fn next_step(&self, node: &Node, branch: usize) -> usize {
        self.history.branches[branch].steps[usize::from(node.begun[branch])]
    }

    /// Makes a move with every choice that it has.
    fn make(
        &self,
        node: &Node,
        task: Task,
        what: Move,
        in_one_go: bool,
        into: &mut Explored,
        next: &mut Vec<Node>,
    ) -> Result<(), Stop> {
        let mut begun = node.begun.clone();
        let step = match what {
            Move::Begin(branch) => {
                begun[branch] += 1;
                Some(self.next_step(node, branch))
            }
            Move::GoOn | Move::Die => node.state.step_of(task),
        };
        let mut failures = Vec::new();
        let mut states = Vec::new();
        self.try_all(&node.state, into, &mut states, &mut failures, |state, cx| {
            cx.in_one_go = in_one_go;
            match (what, step) {
                (Move::Begin(_), Some(step)) => {
                    let call = self.program.steps[step].call.innermost();
                    state.begin(cx, task, step, call)
                }
                (Move::Die, _) => state.die(cx, task),
                _ => state.go_on(cx, task),
            }
        })?;
        if self.history.bound.is_some() {
            let last = step == self.history.last();
            let failed = &mut into.failed;
            let of = if last { &mut failed.of_last } else { &mut failed.of_others };
            for failure in failures {
                if !of.contains(&failure) {
                    of.push(failure);
                }
            }
        }
        next.extend(states.into_iter().map(|state| Node { state, begun: begun.clone() }));
        Ok(())
    }

    /// The states that a transition leads to, whatever choices it has.
    pub(crate) fn choose(
        &self,
        from: &State,
        into: &mut Explored,
        next: &mut Vec<State>,
        transition: impl Fn(&mut State, &mut Context<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.try_all(from, into, next, &mut Vec::new(), transition)
    }

    fn try_all(
        &self,
        from: &State,
        into: &mut Explored,
        next: &mut Vec<State>,
        failures: &mut Vec<Violation>,
        transition: impl Fn(&mut State, &mut Context<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut cx = self.context();
        for _ in 0..MAX_CHOICES {
            let mut state = from.clone();
            match transition(&mut state, &mut cx) {
                Ok(()) => next.push(state),
                Err(stop) => {
                    if let Stop::Broken(violation) = &stop {
                        failures.push(violation.clone());
                    }
                    into.failed.add(state.matched.len(), stop);
                }
            }
            if !cx.next_script() {
                into.note(&cx);
                return Ok(());
            }
        }
        Err(too_many())
    }

    /// A smallest set of tasks that it is enough to let go on, and whether it is one task that can
    /// do so to the end of its call.
    fn persistent(
        &self,
        node: &Node,
        moves: &[(Task, Move)],
        footprints: &Footprints<'_>,
    ) -> (Vec<Task>, bool) {
        let state = &node.state;
        let all: Vec<Task> = (0u8..).zip(&state.tasks).map(|(number, _)| Task(number)).collect();
        let futures: Vec<Footprint> = all
            .iter()
            .map(|task| {
                let left = self.next_steps(node, *task);
                footprints.future(state, *task, left)
            })
            .collect();
        let print = |task: Task, what: Move| match what {
            Move::Begin(branch) => footprints.first(state, task, self.next_step(node, branch)),
            Move::GoOn => footprints.next(state, task),
            Move::Die => footprints.death(state, task),
        };
        let mut best: Option<Vec<Task>> = None;
        let mut tried: Vec<Task> = Vec::new();
        for &(start, _) in moves {
            if tried.contains(&start) {
                continue;
            }
            tried.push(start);
            let mut set = vec![start];
            let mut at = 0;
            while let Some(&task) = set.get(at) {
                at += 1;
                let own: Vec<Move> =
                    moves.iter().filter(|(of, _)| *of == task).map(|(_, what)| *what).collect();
                let mut touches = Footprint::default();
                // One that is killed in its sleep can still be woken by what it sleeps for.
                if own.iter().all(|what| *what == Move::Die) {
                    match self.waits_for(node, task).filter(|_| own.is_empty()) {
                        Some(other) => {
                            if !set.contains(&other) {
                                set.push(other);
                            }
                            continue;
                        }
                        None => touches.join(footprints.wake(state, task)),
                    }
                }
                for what in own {
                    touches.join(print(task, what));
                }
                for &other in &all {
                    if !set.contains(&other) && touches.conflicts(futures[usize::from(other.0)]) {
                        set.push(other);
                    }
                }
            }
            let active = |set: &[Task]| active(moves, set);
            if best.as_ref().is_none_or(|best| active(&set) < active(best)) {
                best = Some(set);
            }
            if best.as_ref().is_some_and(|best| active(best) == 1) {
                break;
            }
        }
        let set = best.unwrap_or_default();
        let active: Vec<Task> =
            set.into_iter().filter(|task| moves.iter().any(|(of, _)| of == task)).collect();
        let in_one_go = match active[..] {
            [task] if !state.task(task).killed => {
                let whole = match moves.iter().find(|(of, _)| *of == task) {
                    Some((_, Move::Begin(branch))) => {
                        footprints.in_one_go(state, task, Some(self.next_step(node, *branch)))
                    }
                    _ => footprints.in_one_go(state, task, None),
                };
                all.iter()
                    .filter(|other| **other != task)
                    .all(|other| !whole.conflicts(futures[usize::from(other.0)]))
            }
            _ => false,
        };
        (active, in_one_go)
    }

    /// The calls that a task has still to make.
    fn next_steps(&self, node: &Node, task: Task) -> &[usize] {
        match self.history.branch_of(task) {
            Some(branch) if node.state.task(task).life != Life::Ended => {
                &self.history.branches[branch].steps[usize::from(node.begun[branch])..]
            }
            _ => &[],
        }
    }

    /// The task whose call has to be over before this one's next call can begin.
    fn waits_for(&self, node: &Node, task: Task) -> Option<Task> {
        let branch = self.next_begin(node, task)?;
        self.history.unfinished_before(self.next_step(node, branch), &node.state, self.program)
    }
}

/// How many tasks of the set can go on.
fn active(moves: &[(Task, Move)], set: &[Task]) -> usize {
    set.iter().filter(|task| moves.iter().any(|(of, _)| of == *task)).count()
}

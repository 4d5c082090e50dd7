//! The model as a whole: every state that the kernel can be in, step after step.

use std::collections::BTreeSet;
use std::ops::Range;

use refan_program::{Bind, Call, Program, Step, Task};

use crate::context::{Context, Foreseen};
use crate::explore::{Explored, Scene};
use crate::feature;
use crate::history::History;
use crate::observe::Skipped;
use crate::reached::{Traversed, between};
use crate::rules::K4;
use crate::state::{Life, State};
use crate::{Kernel, Observation, Stop, Violation};

/// More states between two steps than any program of a reasonable kind reaches.
const MAX_STATES: usize = 4096;

/// The contract, applied to one run of one program.
///
/// Where the contract leaves the kernel a choice the model follows every one of them and drops
/// those that do not fit what is observed. So a choice excuses only what it explains from its
/// first consequence to its last.
#[derive(Clone)]
pub struct Model<'a> {
    kernel: &'a Kernel,
    pub(crate) program: &'a Program,
    pub(crate) states: Vec<State>,
    /// What the ways that did not fit lacked.
    pub(crate) foreseen: Foreseen,
    /// Whether that is what is asked for ([`Scene::foresees`]).
    pub(crate) foresees: bool,
    /// States on the way from the last step's beginning to its end.
    pub(crate) explored: usize,
    traversed: Traversed,
}

impl<'a> Model<'a> {
    /// The model before the first step. `main` is the pid of the task `main`.
    pub fn new(kernel: &'a Kernel, program: &'a Program, main: i32) -> Self {
        let mut state = State::new(program.tasks.len(), program.vars.len());
        state.tasks[0].pid = main;
        let foreseen = Foreseen::default();
        let traversed = Traversed::default();
        Self {
            kernel,
            program,
            states: vec![state],
            foreseen,
            foresees: false,
            explored: 0,
            traversed,
        }
    }

    /// What the run has come to so far.
    pub fn traversed(&self) -> &Traversed {
        &self.traversed
    }

    /// Judges one step, or the steps of one block. After an error the model is of no further use.
    pub fn step(&mut self, steps: Range<usize>, seen: &Observation) -> Result<(), Stop> {
        let before = self.states.clone();
        match self.explain(&steps, seen) {
            Err(Stop::Broken(violation)) if self.is_block(&steps) => {
                self.states = before;
                Err(Stop::Broken(self.counter_example(&steps, seen, violation)?))
            }
            result => result,
        }
    }

    /// The same, but of a block's history that has no explanation it is not looked for where it goes
    /// wrong.
    pub(crate) fn explain(&mut self, steps: &Range<usize>, seen: &Observation) -> Result<(), Stop> {
        if !self.is_block(steps) {
            let scene = self.scene(steps.start, seen, History::default());
            return self.follow(&scene, begin);
        }
        let scene = self.scene(steps.start, seen, History::new(self.program, seen, None));
        let opened = |state: &mut State, cx: &mut Context<'_>| open(state, cx, steps.clone());
        self.follow(&scene, opened)
    }

    pub(crate) fn is_block(&self, steps: &Range<usize>) -> bool {
        self.program.steps.get(steps.start).is_some_and(|step| step.block.is_some())
    }

    pub(crate) fn scene<'s>(
        &self,
        step: usize,
        seen: &'s Observation,
        history: History,
    ) -> Scene<'s>
    where
        'a: 's,
    {
        let foresees = self.foresees;
        Scene { kernel: self.kernel, program: self.program, step, seen, history, foresees }
    }

    /// Follows every way from the states that there are, which begin so.
    fn follow(
        &mut self,
        scene: &Scene<'_>,
        begin: impl Fn(&mut State, &mut Context<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let explored = explore(scene, &self.states, begin);
        let explored = explored?;
        self.foreseen = explored.foreseen.take();
        self.explored = explored.states;
        let mut settled: Vec<State> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for state in explored.settled {
            if known.insert(state.clone()) {
                settled.push(state);
            }
        }
        if settled.len() > MAX_STATES {
            return Err(crate::explore::too_many());
        }
        if let (Some(before), Some(after)) = (self.states.first(), settled.first()) {
            self.traversed.reached.extend(between(before, after, scene.seen));
            let features = feature::of_step(before, after, self.program, scene.step, scene.seen);
            self.traversed.features.extend(features);
        }
        self.states = settled;
        explored.failed.unless(!self.states.is_empty())
    }

    /// Judges the end of the run: after the last step every task was killed; these did not end.
    pub fn end(&self, stuck: &BTreeSet<Task>) -> Result<(), Stop> {
        if stuck.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = stuck.iter().map(|task| self.program.task_name(*task)).collect();
        Err(Stop::Broken(Violation {
            rule: K4,
            step: self.program.steps.len().saturating_sub(1),
            allowed: "every task ends when it is killed".to_owned(),
            observed: format!("{} did not", names.join(", ")),
            history: Vec::new(),
        }))
    }
}

/// Every way from any of these states, which begin so.
pub(crate) fn explore(
    scene: &Scene<'_>,
    from: &[State],
    begin: impl Fn(&mut State, &mut Context<'_>) -> Result<(), Stop>,
) -> Result<Explored, Stop> {
    let mut explored = Explored::default();
    for state in from {
        let mut state = state.clone();
        state.matched.clear();
        state.time_passes(scene.took());
        for group in &mut state.groups {
            group.unordered = false;
        }
        let mut begun = Vec::new();
        scene.choose(&state, &mut explored, &mut begun, &begin)?;
        for state in begun {
            scene.explore(state, &mut explored)?;
        }
    }
    Ok(explored)
}

/// Why a step cannot be made.
pub(crate) fn obstacle(state: &State, step: &Step) -> Option<Skipped> {
    let of = state.tasks.get(usize::from(actor(step).0))?;
    match (&step.call, of.life) {
        (Call::Await { .. } | Call::Sleep { .. } | Call::KernelLog, _) => None,
        (_, Life::NotMade | Life::Ended) => Some(Skipped::Gone),
        (Call::Kill { .. }, _) if step.block.is_none() => None,
        _ => of.call.as_ref().map(|_| Skipped::Busy),
    }
}

/// Whose state decides whether a step can be made.
fn actor(step: &Step) -> Task {
    match &step.call {
        Call::Await { task } => *task,
        Call::Kill { task } if step.block.is_none() => *task,
        _ => step.task,
    }
}

/// Whether the step is made; the executor has to see that as the model does.
fn is_made(state: &State, cx: &Context<'_>, step: usize) -> Result<bool, Stop> {
    let Some(made) = cx.program.steps.get(step) else {
        return Err(Stop::Unjudgeable(format!("there is no step {}", step + 1)));
    };
    let actor = actor(made);
    let Some(of) = state.tasks.get(usize::from(actor.0)) else {
        return Err(Stop::Unjudgeable("a step names no task of the program".to_owned()));
    };
    let due = obstacle(state, made);
    // A task that has ended may still be on its way to be reaped, asleep in its exit.
    let reaped = of.call.is_none() || of.life != Life::Ended;
    let skipped = cx.seen.skipped(step);
    if skipped != due && reaped {
        return Err(Stop::Unjudgeable(format!(
            "the agent says {skipped:?} of {} where the model says {due:?}",
            cx.name(actor)
        )));
    }
    Ok(due.is_none() && skipped.is_none())
}

/// The step begins: its task makes the call, or cannot.
fn begin(state: &mut State, cx: &mut Context<'_>) -> Result<(), Stop> {
    let number = cx.step;
    if !is_made(state, cx, number)? {
        return Ok(());
    }
    let step = &cx.program.steps[number];
    match (&step.call, &step.bind) {
        (Call::Kill { task }, _) => state.kill(cx, *task),
        (Call::Await { .. } | Call::Sleep { .. }, _) => Ok(()),
        (Call::KernelLog, _) => state.watchdog_has_named(cx, number),
        (Call::Spawn { call }, Bind::Task(child)) => {
            state.make(cx, step.task, *child, call)?;
            state.begin(cx, *child, number, call)
        }
        (call, _) => state.begin(cx, step.task, number, call),
    }
}

/// The block begins: the tasks of its branches are there.
pub(crate) fn open(
    state: &mut State,
    cx: &mut Context<'_>,
    steps: Range<usize>,
) -> Result<(), Stop> {
    let before = state.clone();
    for number in steps {
        if !is_made(&before, cx, number)? {
            continue;
        }
        let step = &cx.program.steps[number];
        if let (Call::Spawn { call }, Bind::Task(child)) = (&step.call, &step.bind) {
            state.make(cx, step.task, *child, call)?;
        }
    }
    Ok(())
}

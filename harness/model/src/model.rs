//! The model as a whole: every state that the kernel can be in, step after step.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use refan_program::{Call, Program, Step, Task};

use crate::context::{Context, Foreseen};
use crate::observe::{End, Skipped};
use crate::rules::{A1, K1, K4, MAINLINE, Q4, R6, S1};
use crate::state::{At, FileKind, Life, State};
use crate::violation::returned;
use crate::{Kernel, Observation, Seen, Stop, Violation};

/// More states than any program of a reasonable kind reaches.
const MAX_STATES: usize = 4096;
/// The same of ways to get from one state to the next ones.
const MAX_WAYS: usize = 4096;

/// The contract, applied to one run of one program.
///
/// Where the contract leaves the kernel a choice the model follows every one of them and drops
/// those that do not fit what is observed. So a choice excuses only what it explains from its
/// first consequence to its last.
pub struct Model<'a> {
    kernel: &'a Kernel,
    program: &'a Program,
    pub(crate) states: Vec<State>,
    /// What the first way that did not fit lacked.
    pub(crate) foreseen: RefCell<Foreseen>,
}

/// States in the order in which they were reached, each once.
#[derive(Default)]
struct Distinct {
    order: Vec<State>,
    known: HashSet<State>,
}

impl Distinct {
    fn insert(&mut self, state: State) -> bool {
        let new = self.known.insert(state.clone());
        if new {
            self.order.push(state);
        }
        new
    }
}

impl<'a> Model<'a> {
    /// The model before the first step. `main` is the pid of the task `main`.
    pub fn new(kernel: &'a Kernel, program: &'a Program, main: i32) -> Self {
        let mut state = State::new(program.tasks.len(), program.vars.len());
        state.tasks[0].pid = main;
        Self { kernel, program, states: vec![state], foreseen: RefCell::default() }
    }

    /// Judges one step, or the steps of one block. After an error the model is of no further use.
    pub fn step(&mut self, steps: Range<usize>, seen: &Observation) -> Result<(), Stop> {
        let step = steps.start;
        if self.program.steps.get(step).is_some_and(|step| step.block.is_some()) {
            return Err(Stop::Unjudgeable("the model does not judge blocks".to_owned()));
        }
        self.foreseen.take();
        let mut failed = Failed::default();
        let mut reached = Distinct::default();
        for state in &self.states {
            let mut fresh = state.clone();
            fresh.matched.clear();
            self.explore(&fresh, step, seen, &mut failed, &mut reached, begin)?;
        }
        let mut settled = Distinct::default();
        let mut at = 0;
        while let Some(state) = reached.order.get(at).cloned() {
            at += 1;
            let Some(next) = self.advance(&state, step, seen, &mut failed)? else {
                let cx = Context::new(self.kernel, self.program, step, seen);
                match agrees(&state, &cx) {
                    Ok(()) => {
                        settled.insert(state);
                    }
                    Err(stop) => failed.add(state.matched.len() + 1, stop),
                }
                self.note(&cx);
                continue;
            };
            for state in next.order {
                reached.insert(state);
            }
            if reached.order.len() > MAX_STATES {
                return Err(too_many());
            }
        }
        self.states = settled.order;
        failed.unless(!self.states.is_empty())
    }

    /// Lets one task go on in every way it can. None when no task can: the state is quiet.
    fn advance(
        &self,
        state: &State,
        step: usize,
        seen: &Observation,
        failed: &mut Failed,
    ) -> Result<Option<Distinct>, Stop> {
        let cx = Context::new(self.kernel, self.program, step, seen);
        let ready: Vec<Task> = (0u8..)
            .zip(&state.tasks)
            .map(|(number, _)| Task(number))
            .filter(|task| can_go_on(state, &cx, *task))
            .collect();
        if ready.is_empty() {
            return Ok(None);
        }
        let mut all = Distinct::default();
        for task in ready {
            let mut next = Distinct::default();
            let mut start = state.clone();
            start.touched = false;
            let mut failed_here = Failed::default();
            self.explore(&start, step, seen, &mut failed_here, &mut next, |state, cx| {
                go_on(state, cx, task)
            })?;
            // What one task does on its own comes to the same before and after what others do.
            let alone = next.order.len() <= 1 && next.order.iter().all(|state| !state.touched);
            failed.join(failed_here);
            if alone {
                return Ok(Some(next));
            }
            for state in next.order {
                all.insert(state);
            }
        }
        Ok(Some(all))
    }

    /// Runs a transition with every choice that it has.
    fn explore(
        &self,
        state: &State,
        step: usize,
        seen: &Observation,
        failed: &mut Failed,
        into: &mut Distinct,
        transition: impl Fn(&mut State, &mut Context<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut cx = Context::new(self.kernel, self.program, step, seen);
        for _ in 0..MAX_WAYS {
            let mut next = state.clone();
            match transition(&mut next, &mut cx) {
                Ok(()) => {
                    into.insert(next);
                }
                Err(stop) => failed.add(next.matched.len(), stop),
            }
            if !cx.next_script() {
                self.note(&cx);
                return Ok(());
            }
        }
        Err(too_many())
    }

    /// Keeps what a way lacked, if it is the first.
    fn note(&self, cx: &Context<'_>) {
        let found = cx.foreseen.take();
        let mut foreseen = self.foreseen.borrow_mut();
        foreseen.back = foreseen.back.take().or(found.back);
        foreseen.asleep = foreseen.asleep.take().or(found.asleep);
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
        }))
    }
}

fn too_many() -> Stop {
    Stop::Unjudgeable("there are too many ways in which the step can have gone".to_owned())
}

/// Ways that did not fit what was seen.
#[derive(Default)]
struct Failed {
    /// The way that explains most, and how much it explains.
    best: Option<(usize, Violation)>,
    unjudgeable: Option<String>,
}

impl Failed {
    fn add(&mut self, explained: usize, stop: Stop) {
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

    fn join(&mut self, other: Self) {
        if let Some((explained, violation)) = other.best {
            self.add(explained, Stop::Broken(violation));
        }
        if let Some(why) = other.unjudgeable {
            self.unjudgeable.get_or_insert(why);
        }
    }

    /// What it comes to that these ways failed, where others did not or all did.
    fn unless(self, some_fit: bool) -> Result<(), Stop> {
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

/// Whose state decides whether a step can be made.
fn actor(step: &Step) -> Task {
    match &step.call {
        Call::Kill { task } | Call::Await { task } => *task,
        _ => step.task,
    }
}

/// Why a step cannot be made.
pub(crate) fn obstacle(state: &State, step: &Step) -> Option<Skipped> {
    let of = state.tasks.get(usize::from(actor(step).0))?;
    match (&step.call, of.life) {
        (Call::Await { .. }, _) => None,
        (_, Life::NotMade | Life::Ended) => Some(Skipped::Gone),
        (Call::Kill { .. }, _) => None,
        _ => of.call.as_ref().map(|_| Skipped::Busy),
    }
}

/// The step begins: its task makes the call, or cannot.
fn begin(state: &mut State, cx: &mut Context<'_>) -> Result<(), Stop> {
    let Some(step) = cx.program.steps.get(cx.step) else {
        return Err(Stop::Unjudgeable(format!("there is no step {}", cx.step + 1)));
    };
    let actor = actor(step);
    let Some(of) = state.tasks.get(usize::from(actor.0)) else {
        return Err(Stop::Unjudgeable("a step names no task of the program".to_owned()));
    };
    let due = obstacle(state, step);
    // A task that has ended may still be on its way to be reaped, asleep in its exit.
    let reaped = of.call.is_none() || of.life != Life::Ended;
    let skipped = cx.seen.skipped(cx.step);
    if skipped != due && reaped {
        return Err(Stop::Unjudgeable(format!(
            "the agent says {skipped:?} of {} where the model says {due:?}",
            cx.name(actor)
        )));
    }
    if due.is_some() || skipped.is_some() {
        return Ok(());
    }
    match &step.call {
        Call::Kill { task } => state.kill(cx, *task),
        Call::Await { .. } => Ok(()),
        Call::Spawn { call } => match step.bind {
            refan_program::Bind::Task(child) => state.spawn(cx, step.task, child, call),
            _ => Err(Stop::Unjudgeable("a spawn names no task".to_owned())),
        },
        call => state.begin(cx, step.task, call),
    }
}

/// Whether the task is in a call that does not sleep.
fn can_go_on(state: &State, cx: &Context<'_>, task: Task) -> bool {
    let Some(call) = &state.task(task).call else { return false };
    match &call.at {
        At::Work => false,
        At::Asking { event, .. } => {
            state.events.get(event).is_none_or(|event| event.answer.is_some())
        }
        At::Reading { file, .. } => match state.files.get(file).and_then(|file| file.group()) {
            Some(group) => {
                let group = state.group(group);
                !group.unread.is_empty() || (group.restartable && group.down)
            }
            None => true,
        },
        // Marks of the group may be pinned or not, so the close may sleep or not (S1).
        At::Closing { group } => !state.is_pinned(*group) || cx.peek(call.step).is_some(),
        At::Exiting { group } => {
            !state.is_pinned(*group) || cx.seen.ended.iter().any(|(ended, _)| *ended == task)
        }
        At::Position { file, .. } => !state.position_is_held(*file),
    }
}

/// The task goes on until it sleeps again or its call is over.
fn go_on(state: &mut State, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
    let Some(call) = state.task(task).call.clone() else { return Ok(()) };
    match call.at {
        At::Work => Ok(()),
        At::Asking { .. } => state.answered(cx, task),
        At::Reading { file, size } => match state.files.get(&file).and_then(|file| file.group()) {
            Some(group) => state.read_queue(cx, task, group, file, size),
            None => Err(Stop::Unjudgeable("a read from what is gone".to_owned())),
        },
        At::Closing { .. } => {
            state.finish(cx, task, call.rule, &[crate::violation::Allowed::Value(0)])
        }
        At::Exiting { .. } => {
            state.task_mut(task).call = None;
            Ok(())
        }
        At::Position { then, .. } => match *then {
            crate::access::Then::AccessPerm(transfer) => state.pre_access(cx, task, transfer),
            _ => Err(Stop::Unjudgeable("a position is waited for by what has none".to_owned())),
        },
    }
}

/// Whether the quiet state is the one that was seen.
fn agrees(state: &State, cx: &Context<'_>) -> Result<(), Stop> {
    let asleep = state.sleeping();
    for &task in &asleep {
        let Some(call) = &state.task(task).call else { continue };
        if matches!(call.at, At::Exiting { .. }) {
            continue;
        }
        if cx.seen.blocked.contains(&task) && cx.peek(call.step).is_none() {
            continue;
        }
        let mut foreseen = cx.foreseen.borrow_mut();
        foreseen.asleep.get_or_insert_with(|| asleep.clone());
        let observed = match cx.peek(call.step) {
            Some(back) => format!("{} returned: {}", cx.name(task), returned(back.value)),
            None => cx.seen_instead(task),
        };
        let (rule, why) = why_asleep(state, cx, task);
        return Err(cx.broken(rule, format!("{} stays blocked{why}", cx.name(task)), observed));
    }
    if let Some(back) = cx.seen.returns.iter().find(|back| !state.matched.contains(&back.step)) {
        let fits = cx
            .program
            .steps
            .get(back.step)
            .is_some_and(|step| matches!(step.call, Call::Kill { .. } | Call::Await { .. }));
        if !fits {
            return Err(Stop::Unjudgeable(format!(
                "the call of step {} returned, which was not going on",
                back.step + 1
            )));
        }
    }
    for &task in &cx.seen.blocked {
        if asleep.contains(&task) {
            continue;
        }
        if state.tasks.get(usize::from(task.0)).is_none() {
            return Err(Stop::Unjudgeable("a task that is none is blocked".to_owned()));
        }
        if state.task(task).life == Life::Ended {
            return Err(cx.broken(
                if state.groups.iter().any(|group| group.down) { S1 } else { K4 },
                format!("{} ends", cx.name(task)),
                format!("{} is blocked in its exit", cx.name(task)),
            ));
        }
        return Err(Stop::Unjudgeable(format!(
            "{} is said to be blocked and to have returned",
            cx.name(task)
        )));
    }
    for (task, end) in &cx.seen.ended {
        let life = state.tasks.get(usize::from(task.0)).map(|task| task.life);
        if life != Some(Life::Ended) {
            let how = match end {
                End::Exited(status) => format!("exited with status {status}"),
                End::Signaled(signal) => format!("was ended by signal {signal}"),
            };
            let name = cx.name(*task);
            return Err(cx.broken(K1, format!("{name} lives on"), format!("{name} {how}")));
        }
    }
    Ok(())
}

/// The rule by which a task sleeps on, and why in words.
fn why_asleep(state: &State, cx: &Context<'_>, task: Task) -> (refan_program::Rule, String) {
    let Some(call) = &state.task(task).call else { return (A1, String::new()) };
    match &call.at {
        At::Asking { event, walk, .. } => {
            let rule = state.rule_of_wait(*event);
            let what = crate::violation::mask_text(walk.mask);
            (rule, format!(": nobody has answered its {what} on {}", walk.path))
        }
        At::Reading { file, .. } => {
            let restartable =
                state.files.get(file).is_some_and(|file| matches!(file.kind, FileKind::Queue(_)));
            let events = matches!(
                cx.peek(call.step).map(|back| &back.data),
                Some(Seen::Events(events)) if !events.is_empty()
            );
            let rule = match (restartable, events) {
                (false, _) => MAINLINE,
                (true, true) => R6,
                (true, false) => Q4,
            };
            (rule, ": no event is unread".to_owned())
        }
        At::Position { .. } => {
            (MAINLINE, ": another transfer holds the file's position".to_owned())
        }
        _ => (call.rule, String::new()),
    }
}

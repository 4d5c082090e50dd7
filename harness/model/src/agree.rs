//! Whether a state in which nothing goes on is the one that was seen.

use refan_program::{Call, Rule, Task};

use crate::context::Context;
use crate::observe::End;
use crate::rules::{A1, K1, K4, MAINLINE, Q4, Q6, R6, S1, X3};
use crate::state::{At, Closed, FileKind, Life, State};
use crate::violation::{mask_text, returned};
use crate::{Seen, Stop, Violation};

/// Whether the quiet state is the one that was seen.
pub(crate) fn agrees(state: &State, cx: &Context<'_>) -> Result<(), Stop> {
    let asleep = state.sleeping();
    for &task in &asleep {
        let Some(call) = &state.task(task).call else { continue };
        if matches!(call.at, At::Closing { then: Closed::Exit, .. }) {
            continue;
        }
        if cx.seen.blocked.contains(&task) && cx.peek(call.step).is_none() {
            continue;
        }
        cx.foreseen.borrow_mut().add_asleep(asleep.clone());
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
            // An exit that was blocked in its releases returns when it is over.
            .is_some_and(|step| {
                matches!(step.call, Call::Kill { .. } | Call::Await { .. } | Call::Exit)
            });
        let caller = cx.program.steps.get(back.step).and_then(|step| step.caller());
        if let Some(task) = caller.filter(|task| !fits && state.task(*task).life == Life::Ended) {
            return Err(cx.broken(
                K1,
                format!("{} ends before its call of step {}", cx.name(task), back.step + 1),
                returned(back.value),
            ));
        }
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
            let down = state.groups.iter().any(|group| group.down);
            return Err(cx.broken(
                if down { S1 } else { state.task(task).ends_by.or(K4) },
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
fn why_asleep(state: &State, cx: &Context<'_>, task: Task) -> (Rule, String) {
    let Some(call) = &state.task(task).call else { return (A1, String::new()) };
    match &call.at {
        At::Asking { event, walk, .. } => {
            let rule = match cx.program.steps.get(cx.step).map(|step| &step.call) {
                Some(Call::Signal { task: to, .. }) if *to == task => K1,
                // An answer to another event ends it.
                Some(Call::Write { .. }) if state.is_pending(*event) => Q6,
                _ => state.rule_of_wait(*event),
            };
            let what = mask_text(walk.mask);
            (rule, format!(": nobody has answered its {what} on {}", walk.path))
        }
        At::Reading(reading) => {
            let file = state.files.get(&reading.file);
            let restartable = file.is_some_and(|file| matches!(file.kind, FileKind::Queue(_)));
            let alone = state.is_kept_by_call(task, reading.file);
            let events = matches!(
                cx.peek(call.step).map(|back| &back.data),
                Some(Seen::Events(events)) if !events.is_empty()
            );
            let rule = match (restartable, events) {
                (false, _) => MAINLINE,
                (true, _) if alone => X3,
                (true, true) => R6,
                (true, false) => Q4,
            };
            (rule, ": no event is unread".to_owned())
        }
        At::CopyingOut(_) => (call.rule, ": its buffer is missing".to_owned()),
        At::Position { .. } => {
            (MAINLINE, ": another transfer holds the file's position".to_owned())
        }
        _ => (call.rule, String::new()),
    }
}

/// What keeps the call of a step from returning, if it sleeps.
pub(crate) fn stays(state: &State, cx: &Context<'_>, step: Option<usize>) -> Option<Violation> {
    let step = step?;
    let task = (0u8..)
        .map(Task)
        .take(state.tasks.len())
        .find(|task| state.step_of(*task) == Some(step))?;
    let (rule, why) = why_asleep(state, cx, task);
    let back = cx.peek(step)?;
    match cx.broken(rule, format!("{} stays blocked{why}", cx.name(task)), returned(back.value)) {
        Stop::Broken(violation) => Some(violation),
        Stop::Unjudgeable(_) => None,
    }
}

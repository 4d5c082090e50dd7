//! What a run has brought about: says how deep programs go that nobody wrote.

use std::collections::BTreeSet;

use refan_program::Task;

use crate::Observation;
use crate::observe::End;
use crate::state::{At, EventNo, State};

/// Something that a run can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reached {
    /// A restartable group has a mark.
    Mark,
    /// An event of such a group is pending.
    Pending,
    /// One that was pending has become unread again.
    Restart,
    /// One that was restarted is pending again.
    PendingAgain,
    /// An accessor that waited for such a group was killed.
    KilledAccessor,
    /// The control file was released while accessors waited.
    ShutdownWithWaiters,
}

impl Reached {
    /// Everything.
    pub const ALL: [Self; 6] = [
        Self::Mark,
        Self::Pending,
        Self::Restart,
        Self::PendingAgain,
        Self::KilledAccessor,
        Self::ShutdownWithWaiters,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mark => "a mark",
            Self::Pending => "a pending event",
            Self::Restart => "a restart",
            Self::PendingAgain => "pending again",
            Self::KilledAccessor => "a killed accessor",
            Self::ShutdownWithWaiters => "a shutdown with waiters",
        }
    }
}

/// What a run has come to and gone through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traversed {
    /// What it has reached.
    pub reached: BTreeSet<Reached>,
    /// By what a fuzzer tells it from others: abstract states of the kernel, what calls came to in
    /// them, and orders of calls at the same time. The numbers mean the same in every run.
    pub features: BTreeSet<u32>,
}

/// What a step has brought about, as one way of explaining it has it.
pub(crate) fn between(before: &State, after: &State, seen: &Observation) -> BTreeSet<Reached> {
    let mut reached = BTreeSet::new();
    let mut note = |what: Reached, is_there: bool| {
        if is_there {
            reached.insert(what);
        }
    };
    let groups = || after.groups.iter().filter(|group| group.restartable);
    let event = |number: &EventNo| after.events.get(number);
    note(Reached::Mark, groups().any(|group| !group.marks.is_empty()));
    note(Reached::Pending, groups().any(|group| !group.pending.is_empty()));
    note(Reached::Restart, after.events.values().any(|event| event.restarted));
    let mut pending = groups().flat_map(|group| &group.pending);
    let again = pending.any(|pending| event(&pending.event).is_some_and(|event| event.restarted));
    note(Reached::PendingAgain, again);
    let killed = seen.ended.iter().filter(|(_, end)| matches!(end, End::Signaled(_)));
    let mut killed = killed.map(|(task, _)| *task);
    note(Reached::KilledAccessor, killed.any(|task| waits(before, task)));
    let went = (0..before.groups.len())
        .filter(|number| !before.groups[*number].down && after.groups[*number].down);
    let waited = |number: usize| {
        before.groups[number].restartable
            && before.events.values().any(|event| event.group.0 == number && !event.canceled)
    };
    note(Reached::ShutdownWithWaiters, went.into_iter().any(waited));
    reached
}

/// Whether the task waits for the answer of a restartable group.
fn waits(state: &State, task: Task) -> bool {
    let Some(At::Asking { event, .. }) =
        state.tasks.get(usize::from(task.0)).and_then(|of| of.call.as_ref()).map(|call| &call.at)
    else {
        return false;
    };
    state.events.get(event).is_some_and(|event| state.group(event.group).restartable)
}

//! What a fuzzer can tell runs apart by beside the code that they reach: abstract states of the
//! kernel, what calls come to in them, and orders in which calls at the same time happen.
//!
//! A feature is a number that stays the same over runs, builds and machines.

use refan_program::{Program, Step};

use crate::group::Unread;
use crate::state::{At, Event, FileKind, OpenFile, State};
use crate::{Moment, Observation, Return, Seen};

/// A number out of bytes (FNV-1a).
struct Hash(u32);

impl Hash {
    fn new(kind: u8) -> Self {
        Self(0x811c_9dc5).byte(kind)
    }

    fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    fn word(self, word: u32) -> Self {
        word.to_le_bytes().into_iter().fold(self, Self::byte)
    }

    fn text(self, text: &str) -> Self {
        text.bytes().fold(self, Self::byte).byte(0)
    }
}

const STATE: u8 = 1;
const TRANSITION: u8 = 2;
const ORDER: u8 = 3;

/// None, one, two, many.
fn few(count: usize) -> u8 {
    count.min(3) as u8
}

/// The state as far as a fuzzer is to tell states apart: of the groups with the feature under test
/// how many events stand where, and what is there besides. What is told too finely makes every
/// program a new one.
fn abstracted(state: &State) -> u32 {
    let groups = || state.groups.iter().filter(|group| group.restartable);
    let live = || groups().filter(|group| !group.down);
    let event = |is: &dyn Fn(&Event) -> bool| {
        let mut events = state.events.values().filter(|event| state.group(event.group).restartable);
        events.any(is)
    };
    let calls = |is: &dyn Fn(&At) -> bool| {
        let calls = state.tasks.iter().filter_map(|task| task.call.as_ref());
        calls.filter(|call| is(&call.at)).count()
    };
    let file = |is: &dyn Fn(&OpenFile) -> bool| state.files.values().any(is);
    let is_shared = |file: &OpenFile| matches!(file.kind, FileKind::Queue(_)) && file.refs > 1;
    let outlives =
        |file: &OpenFile| matches!(file.kind, FileKind::Queue(group) if state.group(group).down);
    let counts = [
        live().count().min(2),
        groups().map(|group| group.unread.len()).sum(),
        groups().map(|group| group.pending.len()).sum(),
        calls(&|at| matches!(at, At::CopyingOut(_))).min(1),
        calls(&|at| matches!(at, At::Reading(_))).min(1),
        calls(&|at| matches!(at, At::Closing { .. })).min(1),
    ];
    let facts = [
        live().any(|group| !group.marks.is_empty()),
        live().any(|group| group.queue.is_some()),
        event(&|event| event.restarted),
        event(&|event| event.canceled),
        groups().any(|group| group.unread.contains(&Unread::Overflow)),
        file(&is_shared),
        file(&outlives),
        // Classic groups beside them, and their events.
        state.groups.iter().any(|group| !group.restartable && !group.down),
        state.events.values().any(|event| !state.group(event.group).restartable),
    ];
    let hash = counts.into_iter().fold(Hash::new(STATE), |hash, count| hash.byte(few(count)));
    facts.into_iter().fold(hash, |hash, fact| hash.byte(fact.into())).0
}

/// What a call came to, without numbers that say nothing.
fn result(back: &Return) -> u32 {
    match &back.data {
        _ if back.value < 0 => back.value as u32,
        Seen::Events(events) => {
            let failed = events.iter().any(|seen| seen.event.fd < 0);
            0x100 + 4 * u32::from(failed) + u32::from(few(events.len()))
        }
        _ => u32::from(back.value > 0),
    }
}

/// A step's call, by its name; of a spawned task, as another call.
fn kind(step: &Step) -> (&'static str, bool) {
    let call = step.call.innermost();
    (call.name().unwrap_or("await"), *call != step.call)
}

const SKIPPED: u32 = 0x200;
const BLOCKED: u32 = 0x201;

/// What one step, or one block, has shown: the state that it led to, and what its calls and those
/// that were under way came to in the state before.
pub(crate) fn of_step<'s>(
    before: &State,
    after: &State,
    program: &'s Program,
    step: usize,
    seen: &'s Observation,
) -> impl Iterator<Item = u32> + use<'s> {
    let (from, to) = (abstracted(before), abstracted(after));
    let transition = move |number: usize, result: u32| {
        let step = program.steps.get(number)?;
        let (name, spawned) = kind(step);
        let hash = Hash::new(TRANSITION).word(from).text(name).byte(spawned.into());
        Some(hash.word(result).0)
    };
    let block = program.block_of(step);
    let stands = block.clone().filter_map(move |number| {
        if seen.skipped(number).is_some() {
            Some((number, SKIPPED))
        } else if seen.returns.iter().any(|back| back.step == number) {
            None
        } else {
            Some((number, BLOCKED))
        }
    });
    let returns = seen.returns.iter().map(|back| (back.step, result(back)));
    let transitions = stands.chain(returns).filter_map(move |(step, came)| transition(step, came));
    std::iter::once(to).chain(transitions).chain(orders(program, seen))
}

/// Of each two calls of a block by different tasks, which was there first and whether they met.
fn orders<'s>(program: &'s Program, seen: &'s Observation) -> impl Iterator<Item = u32> + use<'s> {
    let calls: Vec<Met> = seen
        .order
        .iter()
        .enumerate()
        .filter_map(|(at, moment)| match moment {
            Moment::Enter(step) => Met::new(program, seen, *step, at),
            _ => None,
        })
        .collect();
    let pairs: Vec<u32> = calls
        .iter()
        .enumerate()
        .flat_map(|(at, one)| calls[at + 1..].iter().map(move |other| (one, other)))
        .filter(|(one, other)| one.step.caller() != other.step.caller())
        .map(|(one, other)| one.before(other))
        .collect();
    pairs.into_iter()
}

/// A call of a block.
struct Met<'s> {
    step: &'s Step,
    result: u32,
    /// When it returned, in moments.
    returned: usize,
    entered: usize,
}

impl<'s> Met<'s> {
    fn new(program: &'s Program, seen: &Observation, step: usize, entered: usize) -> Option<Self> {
        let back = seen.returns.iter().find(|back| back.step == step);
        let returned = seen.order.iter().position(|moment| *moment == Moment::Return(step));
        Some(Self {
            step: program.steps.get(step)?,
            result: back.map_or(BLOCKED, result),
            returned: returned.unwrap_or(usize::MAX),
            entered,
        })
    }

    /// This one was entered first.
    fn before(&self, other: &Self) -> u32 {
        let met = match () {
            () if self.returned < other.entered => 0,
            () if self.returned < other.returned => 1,
            () => 2,
        };
        let call = |hash: Hash, of: &Self| {
            let (name, spawned) = kind(of.step);
            hash.text(name).byte(spawned.into()).word(of.result)
        };
        call(call(Hash::new(ORDER), self), other).byte(met).0
    }
}

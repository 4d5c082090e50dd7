//! Structure-aware mutation: what a fuzzer changes is a program's steps, and what comes of it is
//! always a valid program in binary form.
//!
//! The same program, the same seed: the same mutation.

pub(crate) mod draft;
mod events;
mod fields;
mod limits;
mod places;
mod prelude;
mod races;
mod steps;
#[cfg(test)]
mod tests;

use fastrand::Rng;

use crate::Program;
use draft::Draft;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutation {
    /// Steps are put somewhere that are likely to be of use there.
    Insert,
    /// The same, at the end.
    Append,
    /// A few neighbouring steps are left out.
    Remove,
    /// A few neighbouring steps are made once more somewhere.
    Duplicate,
    /// A step is made earlier or later.
    Move,
    /// A call names another fd, event or task of the same kind.
    Retarget,
    /// A call is made with other arguments altogether.
    Renew,
    /// A flag is set or cleared, a number is another one.
    Tweak,
    /// Another task makes a step.
    Reassign,
    /// A few neighbouring steps are made at the same time, in a block of their own or in the next one.
    IntoBlock,
    /// A step is taken out of its block, or all steps are.
    OutOfBlock,
    /// A branch begins a little or much earlier or later, has another priority, or is swept.
    Shift,
    /// An accessor or another task is killed.
    Kill,
    /// Who has the queue lets it go or dies, and most often another one follows.
    DaemonDeath,
    /// An allocation fails in a call.
    FailNth,
    /// There is no more of what a call takes: groups, marks, room in a queue, fds.
    Limit,
    /// A group with a mark and a queue is made, of which something is asked.
    Prelude,
    /// Two tasks use a queue at the same time.
    Race,
}

impl Mutation {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Insert,
        Self::Append,
        Self::Remove,
        Self::Duplicate,
        Self::Move,
        Self::Retarget,
        Self::Renew,
        Self::Tweak,
        Self::Reassign,
        Self::IntoBlock,
        Self::OutOfBlock,
        Self::Shift,
        Self::Kill,
        Self::DaemonDeath,
        Self::FailNth,
        Self::Limit,
        Self::Prelude,
        Self::Race,
    ];

    /// How often it is tried, beside the others: `len` is the number of steps.
    fn weight(self, len: usize) -> usize {
        match self {
            Self::Append => 24,
            Self::Insert => 12,
            Self::DaemonDeath => 10,
            Self::Retarget | Self::Tweak => 8,
            Self::Move
            | Self::Renew
            | Self::Shift
            | Self::IntoBlock
            | Self::Kill
            | Self::Race
            | Self::FailNth => 6,
            Self::Remove => 4 + len / 4,
            Self::Duplicate | Self::Reassign => 4,
            Self::Limit => 3,
            Self::OutOfBlock => 2,
            Self::Prelude if len == 0 => 24,
            Self::Prelude => 2,
        }
    }

    fn any(len: usize, rng: &mut Rng) -> Self {
        let mut at = rng.usize(..Self::ALL.iter().map(|one| one.weight(len)).sum::<usize>());
        let chosen = Self::ALL.into_iter().find(|one| match at.checked_sub(one.weight(len)) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        chosen.unwrap_or(Self::Append)
    }

    /// Changes a valid program in this way; none if it has nothing to be changed so.
    pub fn apply(self, program: &Program, rng: &mut Rng) -> Option<Program> {
        let mut draft = Draft::of(program);
        let done = match self {
            Self::Insert => steps::insert(&mut draft, rng),
            Self::Append => steps::append(&mut draft, rng),
            Self::Remove => steps::remove(&mut draft, rng),
            Self::Duplicate => steps::duplicate(&mut draft, rng),
            Self::Move => steps::shift_step(&mut draft, rng),
            Self::Retarget => fields::retarget(&mut draft, rng),
            Self::Renew => fields::renew(&mut draft, rng),
            Self::Tweak => fields::tweak(&mut draft, rng),
            Self::Reassign => places::reassign(&mut draft, rng),
            Self::IntoBlock => places::into_block(&mut draft, rng),
            Self::OutOfBlock => places::out_of_block(&mut draft, rng),
            Self::Shift => places::shift(&mut draft, rng),
            Self::Kill => events::kill(&mut draft, rng),
            Self::DaemonDeath => events::daemon_death(&mut draft, rng),
            Self::FailNth => events::fail_nth(&mut draft, rng),
            Self::Limit => limits::limit(&mut draft, rng),
            Self::Prelude => prelude::prelude(&mut draft, rng),
            Self::Race => races::race(&mut draft, rng),
        };
        done?;
        let changed = draft.finish();
        (changed != program.bare()).then_some(changed)
    }
}

/// How many kinds are tried until one changes something.
const TRIES: usize = 20;

/// A program that differs from this one by a few changes.
pub fn mutated(program: &Program, rng: &mut Rng) -> Program {
    let mut program = program.bare();
    // Mostly one; a change that needs a second one at once is rarer by half each.
    loop {
        for _ in 0..TRIES {
            let kind = Mutation::any(program.steps.len(), rng);
            if let Some(changed) = kind.apply(&program, rng) {
                program = changed;
                break;
            }
        }
        if rng.bool() {
            return program;
        }
    }
}

/// A program of steps of both: a beginning of the one, and behind it or instead of what follows a part
/// of the other.
pub fn crossed(one: &Program, other: &Program, rng: &mut Rng) -> Program {
    let mut draft = Draft::of(one);
    steps::splice(&mut draft, &Draft::of(other), rng);
    draft.finish()
}

/// One in so many mutations is a program of its own. Of what random bytes are read as a quarter restarts an event;
/// of what comes of one change after another, a few in a hundred.
const FRESH: u8 = 3;

/// Bytes that a program at random is read from: few make no deep state, many make a long run.
const BYTES: std::ops::Range<usize> = 40..400;

/// A program that random bytes are read as.
pub fn random(rng: &mut Rng) -> Program {
    let bytes: Vec<u8> = (0..rng.usize(BYTES)).map(|_| rng.u8(..)).collect();
    Program::decode(&bytes)
}

/// libFuzzer's custom mutator: the first `size` bytes of `data` are a program, and so is what stands
/// there afterwards, in at most `max_size` bytes. Returns how many those are.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    let changed = match rng.u8(..FRESH) {
        0 => random(&mut rng),
        _ => mutated(&Program::decode(&data[..size.min(data.len())]), &mut rng),
    };
    put(changed, &mut data[..], max_size)
}

/// libFuzzer's custom crossover: puts a program of parts of both into `out` and returns its length.
pub fn crossover(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    let crossed = crossed(&Program::decode(one), &Program::decode(other), &mut rng);
    let room = out.len();
    put(crossed, out, room)
}

/// Writes as much of a program as there is room for.
fn put(mut program: Program, out: &mut [u8], max_size: usize) -> usize {
    let room = max_size.min(out.len());
    loop {
        let form = program.encode();
        if let Some(place) = out[..room].get_mut(..form.len()) {
            place.copy_from_slice(&form);
            return form.len();
        }
        // The binary form of no steps is one byte, and no room at all is no program.
        if program.steps.is_empty() {
            return 0;
        }
        let fewer = program.steps.len() * 3 / 4;
        program = Program::of_steps(program.steps.drain(..fewer));
    }
}

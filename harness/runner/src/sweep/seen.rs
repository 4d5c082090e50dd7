//! What one run of a sweep shows beside its verdict.

use refan_program::{Program, Task};
use refan_wire::{Moment, Place, Record};

use super::search::{At, Pass, When};

/// Of the block in which a branch is swept. Times are nanoseconds from the instant at which the
/// block's branches begin.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Where the base was when the swept branch began, if it was watched.
    pub at: Option<At>,
    /// When the base's last call had returned.
    pub returned: Option<u64>,
    /// When all who could run had come to rest.
    pub rested: Option<u64>,
    /// Whether the base is a spawned task: its exit releases files, and is not watched.
    pub exits: bool,
    /// Whether the swept branch began while a call of another branch was under way and not asleep.
    pub raced: bool,
}

impl Seen {
    /// Reads the records of a run in which the branch that begins with step `swept` was swept.
    pub fn of(program: &Program, swept: usize, records: &[Record]) -> Self {
        let block = program.block_of(swept);
        let steps = &program.steps[block.clone()];
        let swept_task = program.steps[swept].caller();
        let caller = |step: usize| program.steps.get(step).and_then(|step| step.caller());
        let starts = |task: Option<Task>| {
            let first = steps.iter().find(|step| step.caller() == task);
            first.is_some_and(|step| step.start.is_some())
        };
        let base = steps.iter().map(|step| step.caller()).find(|task| !starts(*task));
        let mut seen = Self::default();
        let (mut instant, mut began, mut under_way) = (0, false, 0);
        let (mut count, mut asleep) = (None, false);
        for record in records {
            match record {
                Record::Instant { step, at } if usize::from(*step) == block.start => instant = *at,
                Record::Rested { step, at } if usize::from(*step) == block.start => {
                    seen.rested = Some(at.saturating_sub(instant));
                }
                Record::Preempts { step, places } if usize::from(*step) == swept => {
                    count = Some(*places as usize);
                    asleep = seen.rested.is_some();
                }
                Record::Path { step, places } if block.contains(&usize::from(*step)) => {
                    if let Some(count) = count {
                        // What the base passes behind its last call is no place of the block, and what
                        // it passes once the swept branch has woken it is none to be preempted at.
                        let passes = |places: &[Place]| {
                            places.iter().map(|place| pass(*place, instant)).collect()
                        };
                        seen.at = Some(match places.get(..count) {
                            _ if count == 0 => At::Begin,
                            Some(passed) if asleep => At::End(passes(passed)),
                            Some(passed) if count < places.len() => At::Place(passes(passed)),
                            _ => At::End(passes(places)),
                        });
                        seen.raced = matches!(seen.at, Some(At::Place(_)));
                    }
                }
                Record::Enter { step, .. } if usize::from(*step) == swept => {
                    began = true;
                    seen.raced = under_way > 0 && seen.rested.is_none();
                }
                Record::Enter { step, .. } if block.contains(&usize::from(*step)) => {
                    under_way += i32::from(caller(usize::from(*step)) != swept_task);
                }
                Record::Exit { step, at, .. } if block.contains(&usize::from(*step)) => {
                    let task = caller(usize::from(*step));
                    under_way -= i32::from(task != swept_task && !began);
                    if Some(task) == base {
                        seen.returned = Some(at.saturating_sub(instant));
                    }
                }
                _ => {}
            }
        }
        seen.exits = base.flatten().is_some_and(|base| {
            steps.iter().any(|step| {
                step.caller() == Some(base)
                    && matches!(step.call, refan_program::Call::Spawn { .. })
            })
        });
        seen
    }
}

/// What a base has passed in a block that began at the instant.
fn pass(Place { address, moment }: Place, instant: u64) -> Pass {
    let when = match moment {
        None => When::Untold,
        Some(Moment { preemptible: false, .. }) => When::Masked,
        // Calls of a block are over long before the 31 bits of a moment begin anew.
        Some(Moment { at, .. }) => When::At(at.wrapping_sub(instant as u32) & (u32::MAX >> 1)),
    };
    Pass { place: address, when }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACE: &str = "\
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
q = open_queue(c)
d = fork()
par {
    read(q)
    d: close(c)          @ sweep
}
";

    /// The kernel tells that the second one is passed with preemption off.
    fn place(address: u32) -> Place {
        let at = 1_000 + address;
        Place { address, moment: Some(Moment { at, preemptible: address != 11 }) }
    }

    /// The records of a run in which the swept branch began when the base had passed two places.
    fn seen(rested: bool) -> Seen {
        let program = refan_program::parse(RACE).expect("a program");
        let mut records = vec![
            Record::Instant { step: 3, at: 1_000 },
            Record::Enter { step: 3, task: 0, at: 1_000 },
            Record::Preempts { step: 4, places: 2 },
            Record::Enter { step: 4, task: 1, at: 3_000 },
            Record::Path { step: 3, places: [10, 11, 12].map(place).to_vec() },
        ];
        if rested {
            records.insert(2, Record::Rested { step: 3, at: 2_000 });
        }
        Seen::of(&program, 4, &records)
    }

    #[test]
    fn a_base_that_is_woken_was_not_preempted() {
        let passed =
            vec![Pass { place: 10, when: When::At(10) }, Pass { place: 11, when: When::Masked }];
        let preempted = seen(false);
        assert_eq!((preempted.at, preempted.raced), (Some(At::Place(passed.clone())), true));
        let woken = seen(true);
        assert_eq!((woken.at, woken.raced), (Some(At::End(passed)), false));
        assert_eq!(woken.rested, Some(1_000));
    }
}

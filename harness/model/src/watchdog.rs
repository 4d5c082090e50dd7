//! Whom fanotify's watchdog names (R10): `perm_group_watchdog` in fs/notify/fanotify/fanotify_user.c.
//!
//! It looks at the pending events of all groups once every `watchdog_timeout` seconds, and names the
//! reader of an event that it sees for the second time, once. So an event is named when it has been
//! pending for one to two such times. What it has seen together of one reader it may name but once.

use refan_program::Task;

use crate::context::Context;
use crate::rules::R10;
use crate::state::State;
use crate::violation::returned;
use crate::{Seen, Stop};

/// Milliseconds that timers end late at most.
const SLACK: u32 = 200;

/// What is known of pending events and their times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    pub timed: Vec<Timed>,
    /// How many were timed.
    pub made: u32,
    /// How long the part takes that is being judged, in milliseconds.
    took: u32,
}

/// An event while it is pending, and after that until the log is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timed {
    /// Which one.
    pub number: u32,
    reader: Task,
    /// Seconds of the timeout.
    timeout: u32,
    /// Milliseconds for which it has been pending, at least and at most.
    least: u32,
    most: u32,
    /// Whether it was pending as the part began that is being judged.
    was_pending: bool,
    told: Told,
}

/// Whether its reader has been named for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    No,
    Maybe,
    Yes,
}

impl Timed {
    fn can_be_told(&self) -> bool {
        self.told != Told::Yes
            && self.most.saturating_add(SLACK) >= self.timeout.saturating_mul(1000)
    }

    fn must_be_told(&self) -> bool {
        self.told == Told::No
            && self.least >= self.timeout.saturating_mul(2000).saturating_add(SLACK)
    }
}

impl State {
    /// An event becomes pending: the number under which it is timed.
    pub(crate) fn time_event(&mut self, reader: Task, timeout: u32) -> Option<u32> {
        if timeout == 0 {
            return None;
        }
        let number = self.watch.made;
        self.watch.made += 1;
        // It can be pending from the beginning of the part on, or from its end.
        let (least, most) = (0, self.watch.took);
        let told = Told::No;
        let timed = Timed { number, reader, timeout, least, most, was_pending: false, told };
        self.watch.timed.push(timed);
        Some(number)
    }

    /// The numbers under which what is pending is timed.
    fn timed_now(&self) -> Vec<u32> {
        let pending = self.groups.iter().flat_map(|group| &group.pending);
        pending.filter_map(|pending| pending.timed).collect()
    }

    /// A part begins, which takes so many milliseconds.
    pub(crate) fn time_passes(&mut self, took: u32) {
        let pending = self.timed_now();
        let before = std::mem::replace(&mut self.watch.took, took);
        for timed in self.watch.timed.iter_mut().filter(|it| pending.contains(&it.number)) {
            // What was pending as the last part began and still is was so throughout.
            if timed.was_pending {
                timed.least = timed.least.saturating_add(before);
            }
            timed.was_pending = true;
            timed.most = timed.most.saturating_add(took);
        }
    }

    /// The kernel's log was looked at.
    pub(crate) fn watchdog_has_named(
        &mut self,
        cx: &mut Context<'_>,
        step: usize,
    ) -> Result<(), Stop> {
        let mut readers: Vec<Task> = self.watch.timed.iter().map(|timed| timed.reader).collect();
        readers.sort_unstable();
        readers.dedup();
        let due: Vec<&str> = readers
            .iter()
            .filter(|reader| self.timed_of(**reader).any(Timed::must_be_told))
            .map(|reader| cx.name(*reader))
            .collect();
        let text = due.join(", ");
        let Some(back) = cx.peek(step) else {
            cx.foresee(step, text.len() as i64, Seen::Text(text));
            return Err(Stop::Unjudgeable("the kernel's log was not looked at".to_owned()));
        };
        self.matched.insert(step);
        let Seen::Text(seen) = &back.data else {
            return Err(Stop::Unjudgeable(format!("the kernel's log: {}", returned(back.value))));
        };
        let named: Vec<&str> = seen.split(", ").filter(|name| !name.is_empty()).collect();
        let known = |name: &&str| readers.iter().any(|reader| cx.name(*reader) == *name);
        if let Some(stranger) = named.iter().find(|name| !known(name)) {
            return Err(cx.broken(R10, "nobody named but who lets events wait", *stranger));
        }
        for reader in readers {
            let name = cx.name(reader);
            let count = named.iter().filter(|one| **one == name).count();
            let most = self.timed_of(reader).filter(|timed| timed.can_be_told()).count();
            let must = self.timed_of(reader).any(Timed::must_be_told);
            if count > most {
                let allowed = format!("{name} named at most {most} times");
                return Err(cx.broken(R10, allowed, format!("it is named {count} times")));
            }
            if must && count == 0 {
                let allowed = format!("{name} named: its events wait for too long");
                return Err(cx.broken(R10, allowed, "it is not"));
            }
            for timed in self.watch.timed.iter_mut().filter(|timed| timed.reader == reader) {
                if timed.can_be_told() {
                    let all = count == most || timed.must_be_told();
                    timed.told = match (all, count) {
                        (true, _) => Told::Yes,
                        (false, 0) => timed.told,
                        (false, _) => Told::Maybe,
                    };
                }
            }
        }
        let pending = self.timed_now();
        self.watch.timed.retain(|timed| pending.contains(&timed.number));
        Ok(())
    }

    fn timed_of(&self, reader: Task) -> impl Iterator<Item = &Timed> {
        self.watch.timed.iter().filter(move |timed| timed.reader == reader)
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::tape::Tape;

    /// R10: time passes in every step, not in those that sleep only.
    #[test]
    fn what_steps_take_counts() {
        let text = "sysctl(watchdog_timeout, 1)\nc = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                    fanotify_mark(c, ADD, OPEN_PERM, f0)\nq = open_queue(c)\n\
                    a = spawn open(f0, O_RDONLY)\ne = read(q)\npoll(-1)\nkernel_log()\n";
        let read =
            |took| Tape::of(text).sets_up(5).reads(&[("OPEN_PERM", "f0", "a", 2)]).took(took);
        let after = |took| read(0).ret(0).still().took(took);
        after(100).logged("").holds();
        after(100).logged("main").breaks("R10", 8);
        for named in ["", "main"] {
            after(1500).logged(named).holds();
            // It can have become pending at the end of the read.
            read(3000).ret(0).still().logged(named).holds();
        }
        after(2500).logged("main").holds();
        after(2500).logged("").breaks("R10", 8);
    }
}

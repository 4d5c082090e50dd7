//! What the branches of a block begin by: an instant that all of them know.
//!
//! A branch is *armed* when all that is left before its first call is to wait for its time. Once all
//! are, the coordinator publishes the common instant, far enough ahead for each to fall asleep again:
//! a branch with a start until its offset behind the instant, so that the timer's interrupt puts it in
//! place of whoever runs; one without until shortly before the instant, and then it turns on the
//! clock, so that it enters its call at the instant itself.
//!
//! Where a branch has a start all branches are tasks of `SCHED_FIFO`, those without a start of the
//! lowest priority: so nobody else preempts them, not even the coordinator, which under the ordinary
//! policy gets a share in spite of `SCHED_IDLE`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use refan_program::{Block, Offset, Start};

use crate::futex;
use crate::sys::{self, sys};

/// How long before the instant a branch without a start wakes: more than a wake-up takes on the
/// slowest kernel (1 ms with KASAN and lockdep), with the slack of its timer (50 us,
/// `PR_SET_TIMERSLACK` of `prctl(2)`).
const BEFORE: u64 = 3_000_000;

/// The instant of a block, and who waits for it.
#[derive(Default)]
pub struct Gate {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    instant: AtomicU64,
    /// Branches that wait, or did.
    armed: AtomicU32,
    /// Branches whose time has come.
    begun: AtomicU32,
    /// Blocks whose instant is published.
    published: AtomicU32,
    /// One more than the number of the block that is being made; 0 is none.
    open: AtomicU32,
}

impl Gate {
    /// Makes ready, as the coordinator, for the branches of a block.
    pub fn open(&self, block: Block) {
        self.armed.store(0, Ordering::Release);
        self.begun.store(0, Ordering::Release);
        self.open.store(u32::from(block.0) + 1, Ordering::Release);
    }

    /// Ends the block: what a branch has not begun by now it does not make any more.
    pub fn close(&self) {
        self.open.store(0, Ordering::Release);
    }

    /// Whether this is the block that is being made.
    pub fn is_open(&self, block: Option<Block>) -> bool {
        block.is_some_and(|block| self.open.load(Ordering::Acquire) == u32::from(block.0) + 1)
    }

    /// How many branches are armed.
    pub fn armed(&self) -> u32 {
        self.armed.load(Ordering::Acquire)
    }

    /// How many branches have waited for their time.
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    /// Publishes the instant.
    pub fn publish(&self, instant: u64) {
        self.instant.store(instant, Ordering::Release);
        self.published.fetch_add(1, Ordering::AcqRel);
        futex::wake(&self.published);
    }

    /// Waits, as a branch that is armed by this, for its time to come.
    pub fn wait(&self, start: Option<Start>) {
        let before = self.published.load(Ordering::Acquire);
        self.armed.fetch_add(1, Ordering::AcqRel);
        while self.published.load(Ordering::Acquire) == before {
            futex::wait(&self.published, before, None);
        }
        let instant = self.instant.load(Ordering::Acquire);
        match start {
            Some(start) => sleep_until(instant + offset(start)),
            None => {
                sleep_until(instant.saturating_sub(BEFORE));
                while sys::now() < instant {
                    std::hint::spin_loop();
                }
            }
        }
        self.begun.fetch_add(1, Ordering::AcqRel);
    }
}

/// How long after the instant a branch begins. What is still to be swept begins with it.
pub fn offset(start: Start) -> u64 {
    match start.at {
        Offset::Nanoseconds(offset) => offset.into(),
        Offset::Sweep => 0,
    }
}

/// Sleeps until a time of `CLOCK_MONOTONIC` (`clock_nanosleep(2)`).
pub fn sleep_until(time: u64) {
    let time = libc::timespec {
        tv_sec: (time / 1_000_000_000) as i64,
        tv_nsec: (time % 1_000_000_000) as i64,
    };
    let (clock, absolute) = (libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME);
    // SAFETY: the time lives through the call. No signal but a deadly one arrives.
    unsafe { sys!(libc::SYS_clock_nanosleep, clock, absolute, &raw const time, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_wait_for_the_instant() {
        let gate = &Gate::default();
        gate.open(Block(0));
        assert!(gate.is_open(Some(Block(0))) && !gate.is_open(Some(Block(1))));
        let start = |ns| Some(Start { at: Offset::Nanoseconds(ns), priority: 1 });
        std::thread::scope(|scope| {
            let branches = [None, start(0), start(2_000_000)].map(|start| {
                (
                    start,
                    scope.spawn(move || {
                        gate.wait(start);
                        sys::now()
                    }),
                )
            });
            while gate.armed() < 3 {
                std::thread::yield_now();
            }
            let instant = sys::now() + 20_000_000;
            gate.publish(instant);
            gate.close();
            assert!(!gate.is_open(Some(Block(0))));
            for (start, branch) in branches {
                let begun = branch.join().expect("no panic");
                assert!(begun >= instant + start.map_or(0, offset), "{start:?}");
            }
            assert_eq!(gate.begun(), 3);
        });
    }
}

//! Commands: what the host brings along and has run, beside programs.

mod child;
mod files;
mod spawn;
mod tasks;
mod terminal;

use std::time::{Duration, Instant};

use refan_wire::{Command, CommandEnd, GuestRegion, Input, Job, Peer, Record};

use crate::arena::ARENA;
use crate::door::Doorbell;
use child::{Child, Pause};
use terminal::Terminal;

pub use files::{furnish, place};

/// Runs a command to its end. Whenever it has written or can read, the host is told; the last record is
/// its end, or says why there is none. That record's job is not answered yet.
pub fn run(region: &GuestRegion, doorbell: &Doorbell, command: &Command) -> Record {
    let deadline = command.limit_ms.map(|limit| Instant::now() + Duration::from_millis(limit));
    let terminal = match command.speaks_to {
        Peer::Pipes => None,
        Peer::Terminal(window) => match Terminal::open(window) {
            Ok(terminal) => Some(terminal),
            Err(error) => return Record::Broken { what: format!("{error:#}") },
        },
    };
    let mut child = match Child::start(command, terminal) {
        Ok(child) => child,
        Err(errno) => {
            return Record::Over { end: CommandEnd::NotStarted { errno: errno.raw_os_error() } };
        }
    };
    let mark = ARENA.mark();
    loop {
        let next = match child.run(region, deadline) {
            Ok(Pause::Over(end)) => return Record::Over { end },
            Ok(Pause::Goes { takes_input, idle }) => {
                stop(region, doorbell, &Record::Paused { takes_input, idle })
            }
            Err(what) => return Record::Broken { what },
        };
        let given = match next {
            Ok(Job::GoOn { input: Input::None }) => Ok(()),
            Ok(Job::GoOn { input: Input::Bytes(bytes) }) => child.give(&bytes),
            Ok(Job::GoOn { input: Input::Window(window) }) => child.resize(window),
            Ok(Job::GoOn { input: Input::End }) => {
                child.end_input();
                Ok(())
            }
            Ok(other) => Err(format!("a command runs, and the job is {other:?}")),
            Err(what) => Err(what),
        };
        if let Err(what) = given {
            return Record::Broken { what };
        }
        // SAFETY: the child holds nothing that is allocated, all else of this round is gone, and
        // commands do not share PID 1's memory.
        unsafe { ARENA.reset(mark) };
    }
}

/// Answers the job with this last record and waits for the next one.
fn stop(region: &GuestRegion, doorbell: &Doorbell, last: &Record) -> Result<Job, String> {
    region.record(last).map_err(|error| error.to_string())?;
    let number = region.job_number();
    region.answer(number);
    while region.job_number() == number {
        doorbell.ring();
    }
    region.job().map_err(|error| error.to_string())
}

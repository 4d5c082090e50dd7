//! Commands in the guest: what the user has, a test in C for instance, on the kernel under test.

mod binary;
mod files;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refan_wire::{Job, Record};

use crate::guest::{Guest, Run};
use crate::kernel_log::Report;
use crate::prepared::{PATIENCE, Prepared};
use crate::run;
use crate::verdict::Verdict;

pub use binary::{Binary, BinaryError};
pub use files::{Files, FilesError};
pub use refan_wire::{Command, CommandEnd, Input, Peer, Stream, TaskEnd, Window};

/// How much longer than the command's limit the host waits: the guest is to say first that it is reached.
const GRACE: Duration = Duration::from_secs(10);
/// How long a command that has nothing to do but to read waits for the host's input at a time. On a
/// machine whose time is that of its instructions, time would rush on otherwise.
const MOMENT: Duration = Duration::from_millis(20);

/// What a command reads and where it writes, on the host.
pub trait Streams {
    /// Takes what the command has written.
    fn wrote(&mut self, stream: Stream, bytes: &[u8]);
    /// What there is to read, which is waited for no longer than this.
    fn input(&mut self, wait: Duration) -> Input;
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    /// How it ended, if the guest could still say so.
    pub end: Option<CommandEnd>,
    /// What the kernel reported meanwhile, or how it died.
    pub report: Option<Report>,
}

/// The same machine with room for these files.
///
/// # Errors
/// When they are too large for any.
pub fn with_room(prepared: &Prepared, files: &Files) -> Result<Prepared> {
    let memory = prepared.spec()?.profile.memory_mib;
    let needed = files.memory_mib(memory)?;
    Ok(if needed == memory { prepared.clone() } else { prepared.with_memory(needed) })
}

/// Runs a command on a freshly started machine.
///
/// # Errors
/// When the machine does not start, the files cannot be put there, or the guest does not keep to the
/// protocol: then nothing is known about the kernel.
pub fn run(
    prepared: &Prepared,
    files: &Files,
    command: &Command,
    streams: &mut dyn Streams,
) -> Result<Ran> {
    let waits = prepared.spec()?.profile.virtual_time.is_some();
    let mut guest = Guest::start(prepared)?;
    guest.furnish()?;
    files.place(&mut guest)?;
    let limit = command.limit_ms.map(|limit| Instant::now() + Duration::from_millis(limit) + GRACE);
    let mut console = String::new();
    let mut job = Job::Exec(command.clone());
    let (end, failure) = loop {
        // At a terminal, where there need not be a limit, the guest speaks up again and again.
        let deadline = limit.unwrap_or_else(|| Instant::now() + PATIENCE);
        let Run { records, console: printed, failure } = guest.job_by(&job, deadline)?;
        console += &printed;
        let records = match records {
            Ok(records) => records,
            Err(_) if failure.is_some() => Vec::new(),
            Err(error) => return Err(error).context("the guest's answer"),
        };
        let mut next = None;
        for record in records {
            match record {
                Record::Wrote { stream, bytes } => streams.wrote(stream, &bytes),
                Record::Paused { .. } | Record::Over { .. } => next = Some(record),
                Record::Broken { what } => bail!("{what}"),
                other => bail!("a command's run was answered with {other:?}"),
            }
        }
        if failure.is_some() {
            break (None, failure);
        }
        job = match next {
            Some(Record::Over { end }) => break (Some(end), None),
            Some(Record::Paused { takes_input, idle }) => {
                let wait = if idle && waits { MOMENT } else { Duration::ZERO };
                let input = match command.speaks_to {
                    _ if takes_input => streams.input(wait),
                    Peer::Pipes => Input::None,
                    Peer::Terminal(_) => {
                        std::thread::sleep(wait);
                        Input::None
                    }
                };
                Job::GoOn { input }
            }
            _ => bail!("a command's run was answered without a last word"),
        };
    };
    match run::trace_of(Run { records: Ok(Vec::new()), console, failure }, &[]) {
        Ok(_) => Ok(Ran { end, report: None }),
        Err(Verdict::Report(mut report)) => {
            let symbols = prepared.symbols_if_readable();
            report.symbolized = symbols.map(|symbols| symbols.annotate(&report.text));
            Ok(Ran { end, report: Some(report) })
        }
        Err(verdict) => bail!("{verdict}"),
    }
}

//! How a machine can fail, told apart by what was seen.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// What went wrong with a machine.
///
/// Each variant is an observation: none is guessed from a missing answer alone.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// QEMU could not be run, or ended before its monitor answered.
    #[error("QEMU did not start: {why}{}", indented("its messages", .stderr))]
    NeverStarted {
        /// What was tried and what came of it.
        why: String,
        /// The end of what QEMU wrote to its standard error.
        stderr: String,
    },
    /// QEMU ended although neither guest nor host asked for it.
    #[error("QEMU died ({status}){}", indented("its messages", .stderr))]
    Died {
        /// How the process ended.
        status: ExitStatus,
        /// The end of what QEMU wrote to its standard error.
        stderr: String,
    },
    /// The guest kernel panicked: its console says so.
    #[error("the guest kernel panicked: {title}{}", indented("console", .console))]
    Panicked {
        /// The console line that reports the panic.
        title: String,
        /// The end of the console.
        console: String,
    },
    /// The guest reset itself without a panic message.
    #[error("the guest reset itself{}", indented("console", .console))]
    Reset {
        /// The end of the console.
        console: String,
    },
    /// The guest powered itself off.
    #[error("the guest powered itself off{}", indented("console", .console))]
    PoweredOff {
        /// The end of the console.
        console: String,
    },
    /// The machine ran, and the deadline passed.
    #[error("no sign within {waited:.1?} while waiting for {awaited}{}", indented("console", .console))]
    Hung {
        /// What was waited for.
        awaited: &'static str,
        /// How long the wait was.
        waited: Duration,
        /// The end of the console.
        console: String,
    },
    /// QEMU refused a request, or its answer makes no sense.
    #[error("QEMU did not {request}: {answer}")]
    Refused {
        /// What was asked for.
        request: String,
        /// What QEMU said.
        answer: String,
    },
    /// A system call of the host failed: memory, file descriptors, disk.
    #[error("cannot {doing}: {source}")]
    Host {
        /// What was being done, on what.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl MachineError {
    pub(crate) fn host<S: Into<String>>(doing: S) -> impl FnOnce(io::Error) -> MachineError {
        let doing = doing.into();
        move |source| MachineError::Host { doing, source }
    }
}

fn indented(label: &str, text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let mut block = format!("\n  {label}:");
    for line in text.trim_end().lines() {
        block.push_str("\n    ");
        block.push_str(line);
    }
    block
}

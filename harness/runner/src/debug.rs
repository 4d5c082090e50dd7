//! A run that stops at a place of the program, for gdb.
//!
//! The machine is restored with QEMU's gdbstub on a socket and run to the first breakpoint, or to a step from
//! breakpoint to breakpoint, until the guest's own trace says that the call of the step is the next one. Then
//! the socket is left to gdb.
//!
//! Up to the first stop it is the same run as without gdb. Each stop at a breakpoint moves virtual time on to
//! the next timer: QEMU's main loop finds the virtual CPU idle before it has marked the machine as stopped, and
//! with `-icount sleep=off` it has time jump then (`icount_start_warp_timer` in softmmu/icount.c). Who compares
//! is told so.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refan_program::Program;
use refan_vm::{Gdb, SharedMemory};
use refan_wire::Record;

use crate::Prepared;
use crate::guest::Guest;
use crate::kernel_log::Symbols;
use crate::run::{self, SeenRun};

/// Where every system call of 64-bit tasks enters.
const SYSTEM_CALL: &str = "do_syscall_64";
/// Where kernel reports begin: warnings, faults, KASAN, lockdep, UBSAN, and the end of it all.
///
/// `kasan_report` is entered for what is not reported, too: where the allocator looks at what it keeps in freed
/// objects (mm/kasan/report.c, `report_suppressed_sw`).
const REPORTS: [&str; 7] = [
    "__warn",
    "die",
    "kasan_complete_mode_report_info",
    "debug_locks_off",
    "refcount_warn_saturate",
    "ubsan_prologue",
    "panic",
];
/// How long QEMU may take to an answer, and the machine from one breakpoint to the next.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a run stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the call of this step enters the kernel.
    Step(usize),
    /// Where this function of the kernel is entered first.
    Function(String),
    /// Where the kernel's first report begins.
    Report,
}

/// Runs a program on a freshly restored machine up to a place, calls `reached` there, and leaves the
/// machine to who connects to the socket. Returns what was seen once the program is over.
///
/// # Errors
/// The machine does not start, its kernel has no such function, or the place is never reached.
pub fn run_to(
    prepared: &Prepared,
    symbols: &Symbols,
    program: &Program,
    place: &Place,
    socket: &Path,
    reached: impl FnOnce() + Send,
) -> Result<SeenRun> {
    let functions = match place {
        Place::Step(_) => &[SYSTEM_CALL][..],
        Place::Function(name) => &[name.as_str()],
        Place::Report => &REPORTS,
    };
    let addresses: Vec<u64> = functions.iter().filter_map(|name| symbols.start_of(name)).collect();
    if addresses.is_empty() {
        bail!(
            "the kernel has no function {} of its own: it does not exist, or the compiler has put it into those \
             that call it",
            functions.join(" or ")
        );
    }
    let mut guest = Guest::load_for_gdb(prepared, socket)?;
    let shared = guest.shared().map_again().context("cannot map the shared memory again")?;
    let mut stub = Stub { gdb: connect(socket)?, addresses };
    stub.set()?;
    let pid = guest.pid();
    std::thread::scope(|scope| {
        let stopped = scope.spawn(move || {
            let stopped = stub.run_to(place, &shared);
            match &stopped {
                Ok(()) => reached(),
                // Nobody else would let it run.
                Err(_) => kill(pid),
            }
            stopped
        });
        let run = guest.begin(prepared.mutant).and_then(|()| guest.run(program));
        // Whoever waits for it to stop does not any more.
        drop(guest);
        let stopped = stopped.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        stopped.context("the place was not reached")?;
        let run = run?;
        let records = run.records.clone().unwrap_or_default();
        let console = run.console.clone();
        let (verdict, _) = run::verdict(program, run, prepared, true);
        Ok(SeenRun { verdict, records, console })
    })
}

fn connect(socket: &Path) -> Result<Gdb> {
    Gdb::connect(socket, Instant::now() + PATIENCE).context("connecting to QEMU's gdbstub")
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may be gone already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

struct Stub {
    gdb: Gdb,
    addresses: Vec<u64>,
}

impl Stub {
    fn set(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for address in &self.addresses {
            self.gdb.set_breakpoint(*address, deadline).context("setting a breakpoint")?;
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for address in &self.addresses {
            self.gdb.clear_breakpoint(*address, deadline).context("clearing a breakpoint")?;
        }
        Ok(())
    }

    /// Lets the machine run up to the place, and takes the breakpoints away.
    fn run_to(&mut self, place: &Place, shared: &SharedMemory) -> Result<()> {
        loop {
            self.gdb.run_to_breakpoint(Instant::now() + PATIENCE)?;
            let is_there = is_there(place, shared)?;
            self.clear()?;
            if is_there {
                return Ok(());
            }
            // Past the instruction at which it would stop again.
            self.gdb.step(Instant::now() + PATIENCE)?;
            self.set()?;
        }
    }
}

/// Whether the next thing to happen is what is waited for.
fn is_there(place: &Place, shared: &SharedMemory) -> Result<bool> {
    let Place::Step(step) = place else { return Ok(true) };
    let records = refan_wire::decode_trace(&refan_wire::take_trace(shared)?)?;
    Ok(records.iter().any(|record| {
        matches!(record, Record::Enter { step: entered, .. } if usize::from(*entered) == *step)
    }))
}

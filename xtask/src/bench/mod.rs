//! `bench`: the figures of the project, each beside its limit, both measured in the same run.

mod command;
mod edit;
mod figure;
mod fuzz;
mod minimize;
mod search;
mod table;

pub use fuzz::fuzz;
pub use minimize::minimize;
pub use table::table;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_vm::bench::{boot_to_ring, restore_to_ring};
use refan_vm::{MachineError, MachineSpec, SharedMemory, pvh};

use crate::cli;
use crate::exit::Exit;
use crate::prepare;
use crate::steps::Steps;
use figure::Figure;

/// How long one start may take at most.
const DEADLINE: Duration = Duration::from_secs(60);

/// Boot to agent-ready. Its limit is a bare static init that prints a line, with the same kernel on
/// the same machine.
pub fn boot(repository: &Path, measure: &cli::Measure) -> Result<Exit> {
    boots(repository, measure)?.print(measure.json);
    Ok(Exit::Held)
}

fn boots(repository: &Path, measure: &cli::Measure) -> Result<Figure> {
    let steps = Steps::new();
    let ready = prepare::prepare(repository, &measure.machine, &steps)?;
    let agent = ready.prepared.spec()?;
    let bare = MachineSpec { initramfs: Some(ready.bare_initramfs(repository)?), ..agent.clone() };
    steps.done();
    let (name, limit) = ("boot to agent-ready", "boot of a bare init");
    let (mut times, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..measure.runs {
        times.push(time(&agent, name, |shared, end| boot_to_ring(&agent, shared, end))?);
        limits.push(time(&bare, limit, |shared, end| boot_to_ring(&bare, shared, end))?);
    }
    Ok(Figure::times(name, &times, limit, &limits))
}

/// Restore to agent-ready, beside what any boot takes at least: QEMU, its firmware and a guest of a few
/// instructions.
pub fn restore(repository: &Path, measure: &cli::Measure) -> Result<Exit> {
    restores(repository, measure)?.print(measure.json);
    Ok(Exit::Held)
}

fn restores(repository: &Path, measure: &cli::Measure) -> Result<Figure> {
    let steps = Steps::new();
    let ready = prepare::prepare(repository, &measure.machine, &steps)?;
    let agent = ready.prepared.spec()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let guest = folder.path().join("guest");
    std::fs::write(&guest, pvh::image(&ringing_code())).context("cannot write a guest")?;
    let least = MachineSpec { kernel: guest, initramfs: None, ..agent.clone() };
    let snapshot = ready.prepared.open_snapshot()?.context("there is no snapshot to restore")?;
    steps.done();
    let (name, limit) = ("restore to agent-ready", "boot of a guest of a few instructions");
    let (mut times, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..measure.runs {
        let restore = |shared, end| restore_to_ring(&agent, &snapshot, shared, end);
        times.push(time(&agent, name, restore)?);
        limits.push(time(&least, limit, |shared, end| boot_to_ring(&least, shared, end))?);
    }
    Ok(Figure::times(name, &times, limit, &limits))
}

/// Machine code that rings the doorbell and halts.
fn ringing_code() -> Vec<u8> {
    let [low, high] = refan_wire::RING_PORT.to_le_bytes();
    // mov dx, RING_PORT; out dx, al; hlt; jmp to the hlt
    vec![0x66, 0xba, low, high, 0xee, 0xf4, 0xeb, 0xfd]
}

/// Times one start with shared memory of its own.
fn time(
    spec: &MachineSpec,
    what: &'static str,
    start: impl FnOnce(SharedMemory, Instant) -> Result<Duration, MachineError>,
) -> Result<Duration> {
    let shared =
        SharedMemory::new(spec.profile.shared_bytes()).context("cannot make the shared memory")?;
    start(shared, Instant::now() + DEADLINE).context(what)
}

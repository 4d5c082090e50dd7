//! How long machines take to be ready, QEMU's own start included.

use std::time::{Duration, Instant};

use crate::error::MachineError;
use crate::machine::{Machine, MachineSpec};
use crate::shared::SharedMemory;
use crate::snapshot::Snapshot;

/// From power-on to the guest's first ring.
///
/// # Errors
/// As [`Machine::boot`].
pub fn boot_to_ring(
    spec: &MachineSpec,
    shared: SharedMemory,
    deadline: Instant,
) -> Result<Duration, MachineError> {
    let began = Instant::now();
    let machine = Machine::boot(spec, shared, deadline)?;
    let took = began.elapsed();
    machine.kill();
    Ok(took)
}

/// From nothing to the ring of a restored guest.
///
/// # Errors
/// As [`Machine::restore`].
pub fn restore_to_ring(
    spec: &MachineSpec,
    snapshot: &Snapshot,
    shared: SharedMemory,
    deadline: Instant,
) -> Result<Duration, MachineError> {
    let began = Instant::now();
    let machine = Machine::restore(spec, snapshot, shared, deadline)?;
    let took = began.elapsed();
    machine.kill();
    Ok(took)
}

//! QEMU from outside: machine profiles, boot, snapshot, restore, the synchronous stop, console.
//!
//! A machine runs a guest that stops itself (see [`Machine::wait_ring`]), and exchanges opaque
//! bytes with it through [`SharedMemory`]. Nothing here knows what the bytes mean.

mod accel;
pub mod bench;
mod capture;
mod command;
mod doorbell;
mod error;
mod gdb;
pub mod initramfs;
mod machine;
mod monitor;
mod process;
mod profile;
pub mod pvh;
mod qemu;
mod shared;
mod snapshot;
mod tsc;

pub use accel::{Accel, AccelError, AccelRequest};
pub use capture::Capture;
pub use error::MachineError;
pub use gdb::Gdb;
pub use machine::{Machine, MachineSpec, SHARED_BASE};
pub use process::poll_readable;
pub use profile::{CpuModels, Kind, Profile, ProfileError, VirtualTime};
pub use qemu::{MINIMUM, Qemu, QemuError, Version};
pub use shared::{OutOfBounds, SharedMemory};
pub use snapshot::{Snapshot, SnapshotError, snapshot_key};

//! Snapshots: a machine at its gate, on disk, to start from without a boot.
//!
//! A snapshot is a folder of three files. `ram` is the guest's memory, sparse; `state` is QEMU's
//! migration stream of all the rest (`x-ignore-shared` leaves the memory out, some 300 KiB stay);
//! `meta.json` says what it was made from. A restored machine maps `ram` privately, so what it
//! does not touch is never copied, and any number of machines can start from one snapshot at once.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qapi::qmp;
use rustix::fs::SeekFrom;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::command::{RamMapping, Start};
use crate::doorbell::Doorbell;
use crate::error::MachineError;
use crate::machine::{Machine, MachineSpec};
use crate::process::poll_readable;
use crate::shared::SharedMemory;

const RAM: &str = "ram";
const STATE: &str = "state";
const META: &str = "meta.json";
/// Version of the folder's layout and of what the code expects of a saved machine.
const FORMAT: u32 = 1;

/// A snapshot on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    folder: PathBuf,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    format: u32,
    /// What the machine was made from, see [`snapshot_key`].
    key: String,
    ram_bytes: u64,
    state_bytes: u64,
}

/// The key of the snapshot that a machine of this kind has: a SHA-256 in hex.
///
/// The files of kernel and initial file system enter by their digests, which the caller knows.
pub fn snapshot_key(spec: &MachineSpec, kernel_digest: &str, initramfs_digest: &str) -> String {
    let mut hash = Sha256::new();
    let parts = [
        &FORMAT.to_string(),
        spec.qemu.identity(),
        &spec.accelerator.to_string(),
        &spec.profile.text,
        &spec.cmdline(),
        kernel_digest,
        initramfs_digest,
        env!("CARGO_PKG_VERSION"),
    ];
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file of it cannot be read.
    #[error("cannot read snapshot {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is not whole, or of another machine.
    #[error("snapshot {folder} is not usable: {what}")]
    Mismatch {
        /// The snapshot's folder.
        folder: PathBuf,
        /// What does not fit.
        what: String,
    },
}

impl Snapshot {
    /// Opens the snapshot in `folder` and checks that it is whole and has the key `key`.
    ///
    /// # Errors
    /// When it is not.
    pub fn open(folder: &Path, key: &str) -> Result<Snapshot, SnapshotError> {
        let size = |name| {
            let path = folder.join(name);
            let size = fs::metadata(&path).map(|meta| meta.len());
            size.map_err(|source| SnapshotError::Read { path, source })
        };
        let mismatch =
            |what: &str| SnapshotError::Mismatch { folder: folder.into(), what: what.into() };
        let path = folder.join(META);
        let text =
            fs::read_to_string(&path).map_err(|source| SnapshotError::Read { path, source })?;
        let meta: Meta =
            serde_json::from_str(&text).map_err(|error| mismatch(&format!("{META}: {error}")))?;
        if meta.format != FORMAT {
            return Err(mismatch("it has another format"));
        }
        if meta.key != key {
            return Err(mismatch("it was made from something else"));
        }
        if (size(RAM)?, size(STATE)?) != (meta.ram_bytes, meta.state_bytes) {
            return Err(mismatch("its files do not have the recorded lengths"));
        }
        Ok(Snapshot { folder: folder.into() })
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Machine {
    /// Saves a machine that was booted and is stopped at its gate, into an existing folder; the
    /// machine is used up.
    ///
    /// The guest is let go a few times for that, and must come back to its gate each time; it
    /// finds nothing new in the shared region, which is no part of the snapshot.
    ///
    /// # Errors
    /// When the machine ends, QEMU refuses, or the folder cannot be written. The folder's content
    /// is no snapshot then.
    pub fn save(
        mut self,
        folder: &Path,
        key: &str,
        deadline: Instant,
    ) -> Result<Snapshot, MachineError> {
        let Some(ram) = self.ram.take() else {
            return Err(MachineError::Refused {
                request: "save the machine".into(),
                answer: "it was restored from a snapshot itself".into(),
            });
        };
        self.stop_before_ring(deadline)?;

        let state_path = folder.join(STATE);
        let ram_path = folder.join(RAM);
        let create = |path: &Path| {
            let doing = format!("create {}", path.display());
            File::create(path).map_err(MachineError::host(doing))
        };
        let state = create(&state_path)?;
        self.migrate_to(&state, deadline)?;
        let mut ram_copy = create(&ram_path)?;
        copy_sparse(&ram, &mut ram_copy)
            .map_err(MachineError::host(format!("write {}", ram_path.display())))?;
        let length = |file: &File, path: &Path| {
            let doing = format!("look at {}", path.display());
            file.metadata().map(|meta| meta.len()).map_err(MachineError::host(doing))
        };
        let meta = Meta {
            format: FORMAT,
            key: key.to_owned(),
            ram_bytes: length(&ram_copy, &ram_path)?,
            state_bytes: length(&state, &state_path)?,
        };
        let meta_path = folder.join(META);
        let text = serde_json::to_string_pretty(&meta).map_err(|error| MachineError::Host {
            doing: "write the snapshot's description".into(),
            source: error.into(),
        })?;
        fs::write(&meta_path, text)
            .map_err(MachineError::host(format!("write {}", meta_path.display())))?;
        Ok(Snapshot { folder: folder.into() })
    }

    /// Starts a machine from a snapshot and waits until its guest rings, which it does as the
    /// first thing it does.
    ///
    /// # Errors
    /// Whatever ends a machine before that, and the deadline. A caller then boots instead.
    pub fn restore(
        spec: &MachineSpec,
        snapshot: &Snapshot,
        shared: SharedMemory,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let mut machine = Machine::load(spec, snapshot, shared, None, deadline)?;
        machine.run()?;
        machine.wait_ring(deadline)?;
        Ok(machine)
    }

    /// Loads a machine from a snapshot and leaves it stopped: who connects to its gdbstub, on this
    /// socket, lets it run. Then it rings as the first thing it does.
    ///
    /// # Errors
    /// As of [`Machine::restore`].
    pub fn restore_for_gdb(
        spec: &MachineSpec,
        snapshot: &Snapshot,
        shared: SharedMemory,
        socket: &Path,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        Machine::load(spec, snapshot, shared, Some(socket), deadline)
    }

    fn load(
        spec: &MachineSpec,
        snapshot: &Snapshot,
        shared: SharedMemory,
        gdb: Option<&Path>,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let open = |name: &str, write: bool| {
            let path = snapshot.folder.join(name);
            let file = File::options().read(true).write(write).open(&path);
            file.map_err(MachineError::host(format!("open {}", path.display())))
        };
        let state = open(STATE, false)?;
        // QEMU opens RAM for writing even when it maps it privately.
        let ram = open(RAM, true)?;
        let ram_use = (&ram, RamMapping::Private);
        let incoming = Start::Incoming { state: state.as_fd() };
        let mut machine = Machine::start(spec.parts(), &incoming, ram_use, shared, gdb, deadline)?;
        machine.ignore_shared(deadline)?;
        let uri = Some(format!("fd:{}", state.as_raw_fd()));
        let command = qmp::migrate_incoming { channels: None, exit_on_error: None, uri };
        let request = format!("load snapshot {}", snapshot.folder.display());
        let accepted = machine.monitor.execute(&command, deadline);
        machine.answered(&request, accepted)?;
        let loaded = machine.monitor.migrated(deadline);
        let outcome = machine.answered(&request, loaded)?;
        outcome.map_err(|answer| MachineError::Refused { request, answer })?;
        Ok(machine)
    }

    /// Starts a machine from a snapshot, or boots it when that fails; then also says what failed.
    ///
    /// `prepare` makes the shared region, once for each attempt.
    ///
    /// # Errors
    /// When the boot fails as well, with the boot's error.
    pub fn restore_or_boot(
        spec: &MachineSpec,
        snapshot: &Snapshot,
        prepare: impl Fn() -> io::Result<SharedMemory>,
        deadline: Instant,
    ) -> Result<(Machine, Option<MachineError>), MachineError> {
        const RESTORE_PATIENCE: Duration = Duration::from_secs(10);
        let shared = || prepare().map_err(MachineError::host("make the shared region"));
        let soon = deadline.min(Instant::now() + RESTORE_PATIENCE);
        match Machine::restore(spec, snapshot, shared()?, soon) {
            Ok(machine) => Ok((machine, None)),
            Err(why) => Ok((Machine::boot(spec, shared()?, deadline)?, Some(why))),
        }
    }

    /// Leaves memory that is mapped shared out of the migration stream.
    fn ignore_shared(&mut self, deadline: Instant) -> Result<(), MachineError> {
        let capability = qmp::MigrationCapabilityStatus {
            capability: qmp::MigrationCapability::x_ignore_shared,
            state: true,
        };
        let command = qmp::migrate_set_capabilities { capabilities: vec![capability] };
        let accepted = self.monitor.execute(&command, deadline);
        self.answered("set x-ignore-shared", accepted)?;
        Ok(())
    }

    /// Stops the virtual CPUs between the gate and the next ring.
    ///
    /// A guest held at its gate holds QEMU's big lock, and QEMU cannot obey. So the guest is let
    /// go, and comes back, until QEMU has found its moment. If that is after the ring and before
    /// the gate, a restored machine would not ring: then the guest runs on and it is tried again.
    fn stop_before_ring(&mut self, deadline: Instant) -> Result<(), MachineError> {
        let began = Instant::now();
        // `boot` has taken the guest's ring and the gate is closed.
        let mut rung = true;
        while Instant::now() < deadline {
            let (monitor, doorbell) = (&mut self.monitor, &self.doorbell);
            let (stopped, served) = std::thread::scope(|scope| {
                let stop = scope.spawn(|| monitor.execute(&qmp::stop {}, deadline));
                let mut served = Ok(());
                while !stop.is_finished() {
                    // After an error QEMU's answer, or the deadline, still ends the loop.
                    served = served.and_then(|()| serve(doorbell, &mut rung));
                }
                (stop.join(), served)
            });
            served.map_err(MachineError::host("serve the doorbell"))?;
            let stopped = stopped.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.answered("stop the guest", stopped)?;
            let look = MachineError::host::<&str>;
            rung |= self.doorbell.take_ring().map_err(look("read the ring"))?.is_some();
            if !rung && self.doorbell.is_closed().map_err(look("look at the gate"))? {
                return Ok(());
            }
            self.run()?;
        }
        Err(self.hung("a moment between the gate and the next ring", began))
    }

    /// Writes the state of everything but memory that is mapped shared.
    fn migrate_to(&mut self, state: &File, deadline: Instant) -> Result<(), MachineError> {
        const NAME: &str = "state";
        self.ignore_shared(deadline)?;
        let taken = self.monitor.give(NAME, state.as_fd(), deadline);
        self.answered("take the snapshot's file", taken)?;
        let uri = Some(format!("fd:{NAME}"));
        let command = qmp::migrate { channels: None, detach: None, resume: None, uri };
        let accepted = self.monitor.execute(&command, deadline);
        self.answered("save its state", accepted)?;
        let saved = self.monitor.migrated(deadline);
        let outcome = self.answered("save its state", saved)?;
        outcome.map_err(|answer| MachineError::Refused { request: "save its state".into(), answer })
    }
}

/// Lets a guest that rang pass its gate, and waits a moment for the next ring.
fn serve(doorbell: &Doorbell, rung: &mut bool) -> io::Result<()> {
    const MOMENT: Duration = Duration::from_millis(1);
    if *rung && doorbell.open_gate()? {
        *rung = false;
    }
    poll_readable(&[doorbell.ring()], Instant::now() + MOMENT)?;
    *rung |= doorbell.take_ring()?.is_some();
    Ok(())
}

/// Copies a file's content; what is unallocated or zero becomes a hole.
fn copy_sparse(from: &File, to: &mut File) -> io::Result<()> {
    const PAGE: usize = 4096;
    const CHUNK: u64 = 256 * PAGE as u64;
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut chunk = vec![0; CHUNK as usize];
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(data))?;
        at = data;
        while at < end {
            let chunk = &mut chunk[..(end - at).min(CHUNK) as usize];
            from.read_exact_at(chunk, at)?;
            write_nonzero(to, chunk, at, PAGE)?;
            at += chunk.len() as u64;
        }
    }
    Ok(())
}

/// Writes the runs of pages of `chunk` that are not all zero.
fn write_nonzero(to: &File, chunk: &[u8], at: u64, page: usize) -> io::Result<()> {
    let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let mut offset = 0;
    for run in chunk.chunks(page).collect::<Vec<_>>().chunk_by(|a, b| is_zero(a) == is_zero(b)) {
        let length = run.iter().map(|page| page.len()).sum::<usize>();
        if !is_zero(run[0]) {
            to.write_all_at(&chunk[offset..offset + length], at + offset as u64)?;
        }
        offset += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared;

    #[test]
    fn sparse_copies_are_equal_and_sparse() {
        use std::os::unix::fs::MetadataExt;
        let from = shared::anonymous_file("test", 16 << 20).unwrap();
        from.write_all_at(b"first", 0).unwrap();
        from.write_all_at(&[0; 100_000], 1 << 20).unwrap();
        from.write_all_at(&[9; 5000], (3 << 20) + 77).unwrap();
        from.write_all_at(b"last", (16 << 20) - 4).unwrap();
        let mut to = tempfile::tempfile().unwrap();
        copy_sparse(&from, &mut to).unwrap();
        let (mut a, mut b) = (vec![0; 16 << 20], vec![1; 16 << 20]);
        from.read_exact_at(&mut a, 0).unwrap();
        to.read_exact_at(&mut b, 0).unwrap();
        assert!(a == b);
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_snapshot_that_is_not_whole_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Snapshot::open(folder.path(), "k").map_err(|error| error.to_string());
        assert!(open().unwrap_err().contains(META));
        let meta = Meta { format: FORMAT, key: "k".into(), ram_bytes: 3, state_bytes: 2 };
        fs::write(folder.path().join(META), serde_json::to_string(&meta).unwrap()).unwrap();
        assert!(open().unwrap_err().contains(RAM));
        fs::write(folder.path().join(RAM), "abc").unwrap();
        fs::write(folder.path().join(STATE), "a").unwrap();
        assert!(open().unwrap_err().contains("lengths"));
        fs::write(folder.path().join(STATE), "ab").unwrap();
        assert!(open().is_ok());
        let other = Snapshot::open(folder.path(), "other").unwrap_err().to_string();
        assert!(other.contains("something else"));
        fs::write(folder.path().join(META), "{").unwrap();
        assert!(open().unwrap_err().contains(META));
    }
}

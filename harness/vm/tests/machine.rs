//! Real machines with a guest of a few hundred bytes: no kernel is needed.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod guest;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guest::{ROUNDS_AT, SAMPLES, TEXT_AT, order};
use refan_vm::{
    Accel, AccelRequest, Kind, Machine, MachineError, MachineSpec, Profile, Qemu, SharedMemory,
    Snapshot, snapshot_key,
};
use tempfile::TempDir;

fn spec(folder: &Path, profile: &str) -> MachineSpec {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vm-images");
    let kernel = folder.join("guest");
    std::fs::write(&kernel, guest::image()).unwrap();
    MachineSpec {
        qemu: Qemu::find().unwrap(),
        profile: Profile::load(&profiles.join(profile)).unwrap(),
        accelerator: Kind::Tcg,
        kernel,
        initramfs: None,
        extra_cmdline: String::new(),
    }
}

fn shared(spec: &MachineSpec) -> SharedMemory {
    SharedMemory::new(spec.profile.shared_bytes()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn boot(spec: &MachineSpec) -> Machine {
    Machine::boot(spec, shared(spec), soon()).unwrap_or_else(|error| panic!("{error}"))
}

fn save(machine: Machine, folder: &TempDir) -> Snapshot {
    machine.save(folder.path(), "key", soon()).unwrap_or_else(|error| panic!("{error}"))
}

fn restore(spec: &MachineSpec, snapshot: &Snapshot) -> Machine {
    Machine::restore(spec, snapshot, shared(spec), soon()).unwrap_or_else(|error| panic!("{error}"))
}

/// Gives an order and lets the guest go.
fn order(machine: &mut Machine, order: u8) {
    machine.shared().write(0, &[order]).unwrap();
    machine.open_gate().unwrap();
}

fn rounds(machine: &Machine) -> u32 {
    let mut word = [0; 4];
    machine.shared().read(ROUNDS_AT, &mut word).unwrap();
    u32::from_le_bytes(word)
}

fn sample(machine: &mut Machine) -> Vec<u8> {
    order(machine, order::SAMPLE);
    machine.wait_ring(soon()).unwrap_or_else(|error| panic!("{error}"));
    let mut samples = vec![0; SAMPLES.len()];
    machine.shared().read(SAMPLES.start, &mut samples).unwrap();
    assert!(samples.chunks(32).all(|record| record.iter().any(|byte| *byte != 0)));
    samples
}

/// How the machine ends after an order.
fn ending(given: u8) -> MachineError {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = boot(&spec(folder.path(), "deterministic.toml"));
    machine.shared().write(TEXT_AT, b"Kernel panic - not syncing: a test\r\n\0").unwrap();
    order(&mut machine, given);
    machine.wait_ring(Instant::now() + Duration::from_secs(3)).unwrap_err()
}

#[test]
fn the_guest_stops_exactly_at_each_gate() {
    let folder = tempfile::tempdir().unwrap();
    for profile in ["deterministic.toml", "smp.toml"] {
        let mut machine = boot(&spec(folder.path(), profile));
        for round in 0..100 {
            assert_eq!(rounds(&machine), round);
            machine.open_gate().unwrap();
            machine.wait_ring(soon()).unwrap();
        }
        assert!(machine.command_line().len() > 10);
    }
}

#[test]
fn a_gate_that_is_open_is_not_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = boot(&spec(folder.path(), "deterministic.toml"));
    order(&mut machine, order::SPIN);
    let waited = machine.wait_ring(Instant::now() + Duration::from_millis(200));
    assert!(matches!(waited, Err(MachineError::Hung { .. })));
    // The guest has passed the gate, which holds for one more, and one only.
    machine.open_gate().unwrap();
    assert!(matches!(machine.open_gate(), Err(MachineError::Refused { .. })));
}

#[test]
fn restored_machines_run_alike_to_the_nanosecond() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "deterministic.toml");
    let booted = boot(&spec);
    booted.shared().write(TEXT_AT, &[1]).unwrap();
    let snapshot = save(booted, &folder);
    let mut first = restore(&spec, &snapshot);
    // Stopped for a while, as when the host thinks: no time passes for the guest.
    let expected = sample(&mut first);
    for pause in [0, 30, 100] {
        let mut machine = restore(&spec, &snapshot);
        std::thread::sleep(Duration::from_millis(pause));
        let mut text = [1];
        machine.shared().read(TEXT_AT, &mut text).unwrap();
        assert_eq!(text, [0], "the shared region is no part of a snapshot");
        assert_eq!(sample(&mut machine), expected);
        assert_eq!(rounds(&machine), rounds(&first), "RAM is the snapshot's");
    }
    // The first one is alive beside the others, and has its own RAM.
    assert_ne!(sample(&mut first), expected);
}

#[test]
fn two_boots_run_alike() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "deterministic.toml");
    assert_eq!(sample(&mut boot(&spec)), sample(&mut boot(&spec)));
}

#[test]
fn smp_machines_are_saved_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "smp.toml");
    let snapshot = save(boot(&spec), &folder);
    sample(&mut restore(&spec, &snapshot));
}

#[test]
fn a_broken_snapshot_is_told_and_booted_around() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "deterministic.toml");
    let key = snapshot_key(&spec, "kernel", "initramfs");
    let snapshot = boot(&spec).save(folder.path(), &key, soon()).unwrap();
    assert_eq!(Snapshot::open(folder.path(), &key).unwrap(), snapshot);
    let prepare = || Ok(shared(&spec));
    let (_, why) = Machine::restore_or_boot(&spec, &snapshot, prepare, soon()).unwrap();
    assert!(why.is_none());

    let restored = restore(&spec, &snapshot);
    let again = restored.save(folder.path(), &key, soon());
    assert!(matches!(again, Err(MachineError::Refused { .. })));

    let state = folder.path().join("state");
    std::fs::write(&state, &std::fs::read(&state).unwrap()[..1000]).unwrap();
    let (mut machine, why) = Machine::restore_or_boot(&spec, &snapshot, prepare, soon()).unwrap();
    assert!(matches!(why, Some(MachineError::Died { .. })), "{why:?}");
    sample(&mut machine);
}

#[test]
fn endings_are_told_apart() {
    assert!(matches!(ending(order::SPIN), MachineError::Hung { .. }));
    assert!(matches!(ending(order::RESET), MachineError::Reset { .. }));
    assert!(matches!(ending(order::POWER_OFF), MachineError::PoweredOff { .. }));
    match ending(order::SAY_AND_RESET) {
        MachineError::Panicked { title, .. } => {
            assert_eq!(title, "Kernel panic - not syncing: a test");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_flood_on_the_console_does_not_stop_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = boot(&spec(folder.path(), "deterministic.toml"));
    order(&mut machine, order::FLOOD);
    let waited = machine.wait_ring(Instant::now() + Duration::from_secs(1));
    assert!(matches!(waited, Err(MachineError::Hung { .. })));
    assert!(!machine.console().is_empty());
}

#[test]
fn a_qemu_that_is_killed_has_died() {
    let folder = tempfile::tempdir().unwrap();
    let mut machine = boot(&spec(folder.path(), "deterministic.toml"));
    kill(machine.pid());
    order(&mut machine, order::SPIN);
    match machine.wait_ring(soon()).unwrap_err() {
        MachineError::Died { status, .. } => assert_eq!(status.to_string(), "signal: 9 (SIGKILL)"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_qemu_that_does_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), "deterministic.toml");
    spec.kernel = PathBuf::from("/nonexistent/vmlinux");
    let started = Machine::boot(&spec, shared(&spec), soon());
    match started.map(Machine::kill).unwrap_err() {
        MachineError::NeverStarted { stderr, .. } => {
            assert!(stderr.contains("/nonexistent/vmlinux"), "{stderr}");
        }
        other => panic!("{other}"),
    }
    assert!(Qemu::at(Path::new("/nonexistent/qemu")).is_err());
    assert!(Qemu::at(Path::new("/bin/true")).unwrap_err().to_string().contains("version"));
}

#[test]
fn a_machine_outlives_the_thread_that_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "deterministic.toml");
    let mut machine = std::thread::scope(|scope| scope.spawn(|| boot(&spec)).join().unwrap());
    std::thread::sleep(Duration::from_millis(100));
    sample(&mut machine);
}

#[test]
fn dropping_a_machine_ends_its_qemu() {
    let folder = tempfile::tempdir().unwrap();
    let machine = boot(&spec(folder.path(), "deterministic.toml"));
    let pid = machine.pid();
    assert!(is_running(pid));
    drop(machine);
    assert!(!is_running(pid));
}

#[test]
fn a_killed_process_takes_its_qemu_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owns_a_machine_until_killed", "--ignored", "--nocapture"])
        // What it makes there it cannot delete.
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("QEMU ").and_then(|pid| pid.parse().ok()))
        .unwrap();
    assert!(is_running(pid));
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = soon();
    while is_running(pid) {
        assert!(Instant::now() < deadline, "QEMU {pid} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[ignore = "run and killed by a_killed_process_takes_its_qemu_along"]
fn owns_a_machine_until_killed() {
    let folder = tempfile::tempdir().unwrap();
    let machine = boot(&spec(folder.path(), "deterministic.toml"));
    println!("\nQEMU {}", machine.pid());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_accelerator_that_is_chosen_runs_a_machine() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), "smp.toml");
    let choose = |request| Accel::choose(request, &spec.profile, &spec.qemu, folder.path());
    let chosen = choose(AccelRequest::Auto).unwrap();
    let forced = choose(AccelRequest::Only(Kind::Kvm));
    assert_eq!(chosen.kind == Kind::Kvm, forced.is_ok());
    assert_eq!(chosen.why_not_kvm.is_some(), forced.is_err());
    spec.accelerator = chosen.kind;
    sample(&mut boot(&spec));
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Whether the process exists and is no zombie (proc_pid_stat(5)).
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

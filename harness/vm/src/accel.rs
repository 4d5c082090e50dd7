//! Which accelerator runs a machine: KVM where it is seen to work, else TCG.
//!
//! `/dev/kvm` can exist and open, machines can be created, and still no guest instruction ever
//! runs, or QEMU aborts. Or the host has no hardware for it and its KVM emulates: slower than TCG,
//! and only until a kernel uses an instruction that is not emulated. So KVM counts as working when
//! a tiny guest has rung the doorbell on it and then counts about as fast as the host itself.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::MachineError;
use crate::machine::Machine;
use crate::profile::{Kind, Profile};
use crate::pvh;
use crate::qemu::Qemu;

/// How long the trial may take. A working KVM needs a few tenths of a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the tiny guest counts down from: a tenth of a second or so.
const COUNT: u32 = 200_000_000;
/// How many times longer than the host it may take. A busy host shares a processor among few;
/// emulation is slower by far more.
const SLOWEST: u32 = 8;

const KVM_DEVICE: &str = "/dev/kvm";

/// What the user wants: the option `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccelRequest {
    /// KVM when it works and the machine may use it, else TCG.
    #[default]
    Auto,
    /// This one or none.
    Only(Kind),
}

impl FromStr for AccelRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<AccelRequest, String> {
        match text {
            "auto" => Ok(AccelRequest::Auto),
            "kvm" => Ok(AccelRequest::Only(Kind::Kvm)),
            "tcg" => Ok(AccelRequest::Only(Kind::Tcg)),
            other => Err(format!("`{other}` is no accelerator: auto, kvm and tcg are")),
        }
    }
}

/// The accelerator for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accel {
    /// Which it is.
    pub kind: Kind,
    /// Why it is TCG although KVM would have been taken: what is wrong with KVM here.
    pub why_not_kvm: Option<String>,
}

/// Why the accelerator that was asked for cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccelError {
    /// The machine profile does not allow it.
    #[error("machine profile `{profile}` does not run on {asked}; it runs on {allowed}")]
    NotInProfile {
        /// What was asked for.
        asked: Kind,
        /// The profile.
        profile: String,
        /// What it allows.
        allowed: String,
    },
    /// KVM was asked for and does not work.
    #[error("KVM does not work here: {why}")]
    KvmUnusable {
        /// What was seen.
        why: String,
    },
}

impl Accel {
    /// Chooses the accelerator; the outcome of a trial is kept in the folder `cache`, for this
    /// QEMU, host kernel and boot of the host.
    ///
    /// # Errors
    /// When the one that was asked for cannot be used.
    pub fn choose(
        request: AccelRequest,
        profile: &Profile,
        qemu: &Qemu,
        cache: &Path,
    ) -> Result<Accel, AccelError> {
        if let AccelRequest::Only(asked) = request
            && !profile.accelerators.contains(&asked)
        {
            let allowed: Vec<String> = profile.accelerators.iter().map(Kind::to_string).collect();
            return Err(AccelError::NotInProfile {
                asked,
                profile: profile.name.clone(),
                allowed: allowed.join(" and "),
            });
        }
        let tcg = |why_not_kvm| Ok(Accel { kind: Kind::Tcg, why_not_kvm });
        if request == AccelRequest::Only(Kind::Tcg) || profile.accelerators == [Kind::Tcg] {
            return tcg(None);
        }
        let tcg_will_do =
            request == AccelRequest::Auto && profile.accelerators.contains(&Kind::Tcg);
        match try_kvm(Path::new(KVM_DEVICE), profile, qemu, cache) {
            Ok(()) => Ok(Accel { kind: Kind::Kvm, why_not_kvm: None }),
            Err(why) if tcg_will_do => tcg(Some(why)),
            Err(why) => Err(AccelError::KvmUnusable { why }),
        }
    }
}

/// Whether KVM works, or what is wrong with it.
fn try_kvm(device: &Path, profile: &Profile, qemu: &Qemu, cache: &Path) -> Result<(), String> {
    // Asked every time: permissions change, and it costs nothing.
    fs::File::options()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|error| cannot_open(device, &error))?;
    let memory = Memory { path: cache.join(format!("kvm-trial-{}.json", profile.name)) };
    let key = trial_key(profile, qemu);
    if let Some(outcome) = memory.recall(&key) {
        return outcome;
    }
    let outcome = run_trial(profile, qemu);
    // Without the memory the next run tries again, no more.
    let _ = memory.keep(&key, &outcome);
    outcome
}

fn cannot_open(device: &Path, error: &io::Error) -> String {
    let device = device.display();
    match error.kind() {
        ErrorKind::NotFound => format!(
            "there is no {device}: the processor's virtualization is off or hidden, or the \
             kernel's module kvm is not loaded"
        ),
        ErrorKind::PermissionDenied => format!(
            "no permission for {device}: join the group that owns it (`sudo usermod -aG kvm \
             $USER`) and log in again"
        ),
        _ => format!("cannot open {device}: {error}"),
    }
}

/// Runs the tiny guest until it has counted, and holds its speed against the host's.
fn run_trial(profile: &Profile, qemu: &Qemu) -> Result<(), String> {
    let guest = pvh::image(&pvh::counting_code(COUNT));
    let began = Instant::now();
    let failed = |error: MachineError| format!("a trial machine failed: {error}");
    let mut machine =
        Machine::trial(qemu, profile, Kind::Kvm, &guest, began + PATIENCE).map_err(failed)?;
    let host = count_on_host(COUNT);
    let counting = Instant::now();
    let limit = (host * SLOWEST).max(Duration::from_millis(500));
    match machine.wait_ring(counting + limit) {
        Ok(()) => Ok(()),
        Err(MachineError::Hung { .. }) => Err(format!(
            "a trial machine has not done in {limit:.1?} what the host does in {host:.1?}: its \
             instructions are emulated"
        )),
        Err(error) => Err(failed(error)),
    }
}

/// How long the host takes for the guest's loop.
#[cfg(target_arch = "x86_64")]
fn count_on_host(count: u32) -> Duration {
    let began = Instant::now();
    // SAFETY: the loop changes the one register that it is given, and the flags.
    unsafe {
        std::arch::asm!("2:", "dec {0:e}", "jnz 2b", inout(reg) count => _, options(nomem, nostack));
    }
    began.elapsed()
}

#[cfg(not(target_arch = "x86_64"))]
fn count_on_host(_count: u32) -> Duration {
    // KVM runs guests of the host's own architecture only, so no trial comes this far.
    Duration::ZERO
}

fn trial_key(profile: &Profile, qemu: &Qemu) -> String {
    let uname = rustix::system::uname();
    // What the host's firmware allows can change with a reboot.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let release = uname.release().to_string_lossy();
    let mut hash = Sha256::new();
    for part in [qemu.identity(), &release, &boot, &profile.text] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file that remembers a trial.
struct Memory {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Outcome {
    key: String,
    why_not: Option<String>,
}

impl Memory {
    fn recall(&self, key: &str) -> Option<Result<(), String>> {
        let outcome: Outcome = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        (outcome.key == key).then_some(outcome.why_not.map_or(Ok(()), Err))
    }

    fn keep(&self, key: &str, outcome: &Result<(), String>) -> io::Result<()> {
        let outcome = Outcome { key: key.into(), why_not: outcome.clone().err() };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&outcome)?)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Held while a script is written and run: a process that another test forks meanwhile would
    /// have the script open for writing, and execve(2) would fail with ETXTBSY.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A QEMU that is a script: what it does as a machine, after it told its version.
    fn fake(folder: &Path, machine: &str) -> Qemu {
        let path = folder.join("qemu-system-x86_64");
        let script = format!(
            "#!/bin/bash\n\
             [ \"$1\" = --version ] && {{ echo 'QEMU emulator version 9.1.0'; exit; }}\n\
             echo run >> {}/runs\n\
             for arg; do case $arg in\n\
             fd=*,set=2) ring=${{arg#fd=}}; ring=${{ring%%,*}};;\n\
             socket,id=monitor,fd=*) monitor=${{arg##*fd=}};;\n\
             esac; done\n\
             {machine}\n",
            folder.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Qemu::at(&path).unwrap()
    }

    const GREETS: &str = r#"echo '{"QMP": {"version": {"qemu": {"major": 9, "minor": 1, "micro": 0}, "package": ""}, "capabilities": []}}' >&$monitor"#;
    const ANSWERS: &str = r#"while read -r line <&$monitor; do
        echo '{"return": {}}' >&$monitor
        [[ $line == *cont* ]] && printf xx >&$ring
        done"#;

    fn profile(name: &str) -> Profile {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vm-images");
        Profile::load(&folder.join(name)).unwrap()
    }

    fn runs(folder: &Path) -> usize {
        fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
    }

    fn trial(folder: &Path, qemu: &Qemu) -> Result<(), String> {
        // Any file that can be opened stands for the device; the machine is a script.
        try_kvm(&folder.join("runs"), &profile("smp.toml"), qemu, folder)
    }

    #[test]
    fn a_guest_that_rings_is_believed_and_remembered() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runs"), "").unwrap();
        let qemu = fake(folder.path(), &format!("{GREETS}\n{ANSWERS}"));
        assert_eq!(trial(folder.path(), &qemu), Ok(()));
        assert_eq!(trial(folder.path(), &qemu), Ok(()));
        assert_eq!(runs(folder.path()), 1);
    }

    #[test]
    fn a_guest_that_counts_too_slowly_is_emulated() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runs"), "").unwrap();
        let once = ANSWERS.replace("printf xx", "printf x");
        let qemu = fake(folder.path(), &format!("{GREETS}\n{once}"));
        let why = trial(folder.path(), &qemu).unwrap_err();
        assert!(why.contains("emulated"), "{why}");
        assert_eq!(trial(folder.path(), &qemu), Err(why));
        assert_eq!(runs(folder.path()), 1);
    }

    #[test]
    fn an_abort_is_told_with_its_message_and_remembered() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runs"), "").unwrap();
        let qemu = fake(folder.path(), "echo 'error: failed to set MSR 0x345' >&2; kill -ABRT $$");
        let why = trial(folder.path(), &qemu).unwrap_err();
        assert!(why.contains("MSR 0x345") && why.contains("signal: 6"), "{why}");
        assert_eq!(trial(folder.path(), &qemu), Err(why));
        assert_eq!(runs(folder.path()), 1);
        // Another QEMU is tried anew.
        let qemu = fake(folder.path(), &format!("{GREETS}\n{ANSWERS}\n# newer"));
        assert_eq!(trial(folder.path(), &qemu), Ok(()));
    }

    #[test]
    fn a_guest_that_never_runs_ends_at_the_deadline() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runs"), "").unwrap();
        let silent = ANSWERS.replace("cont", "never");
        let qemu = fake(folder.path(), &format!("{GREETS}\n{silent}"));
        let began = Instant::now();
        let why = trial(folder.path(), &qemu).unwrap_err();
        assert!(why.contains("no sign within"), "{why}");
        assert!(began.elapsed() < PATIENCE * 2);
    }

    #[test]
    fn a_device_that_cannot_be_opened_says_what_to_do() {
        let _alone = alone();
        let device = Path::new("/dev/kvm");
        let denied = cannot_open(device, &ErrorKind::PermissionDenied.into());
        assert!(denied.contains("usermod -aG kvm"), "{denied}");
        let absent = try_kvm(
            Path::new("/nonexistent/kvm"),
            &profile("smp.toml"),
            &fake(tempfile::tempdir().unwrap().path(), "exit 1"),
            Path::new("/nonexistent"),
        );
        assert!(absent.unwrap_err().contains("there is no /nonexistent/kvm"));
    }

    #[test]
    fn a_deterministic_machine_takes_tcg_without_a_trial() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let qemu = fake(folder.path(), "exit 1");
        let deterministic = profile("deterministic.toml");
        let choose = |request| Accel::choose(request, &deterministic, &qemu, folder.path());
        let tcg = Ok(Accel { kind: Kind::Tcg, why_not_kvm: None });
        assert_eq!(choose(AccelRequest::Auto), tcg);
        assert_eq!(choose(AccelRequest::Only(Kind::Tcg)), tcg);
        let refused = choose(AccelRequest::Only(Kind::Kvm)).unwrap_err().to_string();
        assert!(refused.contains("`deterministic` does not run on kvm"), "{refused}");
        assert_eq!(runs(folder.path()), 0);
    }

    #[test]
    fn requests_parse() {
        assert_eq!("auto".parse(), Ok(AccelRequest::Auto));
        assert_eq!("kvm".parse(), Ok(AccelRequest::Only(Kind::Kvm)));
        assert!("hvf".parse::<AccelRequest>().is_err());
    }
}

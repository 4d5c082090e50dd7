//! A running machine: boot, stop and go, and how it ended.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use qapi::{ExecuteError, qmp};

use crate::capture::Capture;
use crate::command::{self, Inherited, Kernel, RamMapping, Start};
use crate::doorbell::Doorbell;
use crate::error::MachineError;
use crate::monitor::Monitor;
use crate::process::{Process, poll_readable};
use crate::profile::{Kind, Profile};
use crate::qemu::Qemu;
use crate::shared::{self, SharedMemory};
use crate::tsc;

/// How much of a console is kept; a kernel's longest reports are some 100 KiB.
const CONSOLE_LIMIT: u64 = 16 << 20;
const MESSAGES_LIMIT: u64 = 1 << 20;
/// How long a QEMU that has closed its side may take to be reaped.
const REAPING: Duration = Duration::from_secs(5);
const TAIL_LINES: usize = 40;

/// Where the guest finds the shared region: the first RAM above the hole below 4 GiB.
pub const SHARED_BASE: u64 = 4 << 30;

/// What a machine is made from.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// The program that runs it.
    pub qemu: Qemu,
    /// What it looks like.
    pub profile: Profile,
    /// What runs its instructions: one of the profile's accelerators.
    pub accelerator: Kind,
    /// A vmlinux with a PVH entry, or a bzImage.
    pub kernel: PathBuf,
    /// The initial file system; none for a guest that is no Linux.
    pub initramfs: Option<PathBuf>,
    /// Added to the profile's kernel command line.
    pub extra_cmdline: String,
}

impl MachineSpec {
    pub(crate) fn parts(&self) -> (&Qemu, &Profile, Kind) {
        (&self.qemu, &self.profile, self.accelerator)
    }

    /// The kernel's whole command line.
    ///
    /// It hides the shared region from the kernel (`memmap=`, kernel-parameters.txt) and tells
    /// the guest where it is: `refan.shared=BASE,LENGTH` in hex. A boot adds the rate of the
    /// time stamp counter (`tsc_early_khz=`) where it is the host's.
    pub fn cmdline(&self) -> String {
        let length = self.profile.shared_mib << 20;
        format!(
            "{} memmap={length:#x}${SHARED_BASE:#x} refan.shared={SHARED_BASE:#x},{length:#x} {}",
            self.profile.cmdline.trim(),
            self.extra_cmdline.trim()
        )
        .trim()
        .to_owned()
    }
}

/// A machine that runs or is stopped at its gate; dropping it kills it.
pub struct Machine {
    process: Process,
    pub(crate) monitor: Monitor,
    pub(crate) doorbell: Doorbell,
    shared: SharedMemory,
    console: Capture,
    messages: Capture,
    pub(crate) ram: Option<File>,
    command_line: Vec<OsString>,
}

impl Machine {
    /// Powers a machine on and waits until its guest stops itself for the first time.
    ///
    /// `shared` is the region that the guest sees, as the caller has prepared it.
    ///
    /// # Errors
    /// Whatever ends a machine before that, and the deadline.
    pub fn boot(
        spec: &MachineSpec,
        shared: SharedMemory,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let mut machine = Machine::power_on(spec, shared, deadline)?;
        machine.wait_ring(deadline)?;
        Ok(machine)
    }

    /// Powers a machine on and lets it run, for a guest that does not know the doorbell.
    ///
    /// # Errors
    /// When QEMU does not start by the deadline.
    pub fn power_on(
        spec: &MachineSpec,
        shared: SharedMemory,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let mut cmdline = spec.cmdline();
        if spec.accelerator == Kind::Tcg
            && !spec.profile.is_deterministic()
            && let Some(khz) = tsc::host_khz()
        {
            cmdline.push_str(&format!(" tsc_early_khz={khz}"));
        }
        let start = Start::Boot {
            kernel: Kernel::File(&spec.kernel),
            initramfs: spec.initramfs.as_deref(),
            cmdline: &cmdline,
        };
        Machine::launch(spec.parts(), &start, shared, deadline)
    }

    /// Boots a kernel image that is given as bytes, and waits until it rings.
    pub(crate) fn trial(
        qemu: &Qemu,
        profile: &Profile,
        kind: Kind,
        image: &[u8],
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let make = MachineError::host::<&str>;
        let kernel = shared::anonymous_file("refan-trial", image.len() as u64)
            .and_then(|file| file.write_all_at(image, 0).map(|()| file))
            .map_err(make("make the trial's kernel"))?;
        let shared = SharedMemory::new(profile.shared_bytes())
            .map_err(make("make the trial's shared region"))?;
        let kernel = Kernel::Inherited(kernel.as_fd());
        let start = Start::Boot { kernel, initramfs: None, cmdline: "" };
        let mut machine = Machine::launch((qemu, profile, kind), &start, shared, deadline)?;
        machine.wait_ring(deadline)?;
        Ok(machine)
    }

    fn launch(
        parts: (&Qemu, &Profile, Kind),
        start: &Start<'_>,
        shared: SharedMemory,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let ram = shared::anonymous_file("refan-ram", parts.1.memory_mib << 20)
            .map_err(MachineError::host("make the guest's RAM"))?;
        let mapping = RamMapping::Shared;
        let mut machine = Machine::start(parts, start, (&ram, mapping), shared, None, deadline)?;
        machine.ram = Some(ram);
        machine.run()?;
        Ok(machine)
    }

    /// Lets the virtual CPUs run.
    pub(crate) fn run(&mut self) -> Result<(), MachineError> {
        self.monitor.resume().map_err(MachineError::host("write to QEMU's monitor"))
    }

    /// Tells a refusal, a QEMU that has ended and a silent QEMU apart.
    pub(crate) fn answered<T>(
        &mut self,
        request: &str,
        answer: Result<T, ExecuteError>,
    ) -> Result<T, MachineError> {
        let refused = |answer: String| MachineError::Refused { request: request.into(), answer };
        match answer {
            Ok(value) => Ok(value),
            Err(ExecuteError::Qapi(error)) => Err(refused(error.to_string())),
            Err(ExecuteError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(refused("no answer by the deadline".into()))
            }
            Err(ExecuteError::Io(_)) => Err(self.ending()),
        }
    }

    /// The error for a wait that began at `began` and has reached its deadline.
    pub(crate) fn hung(&self, awaited: &'static str, began: Instant) -> MachineError {
        let console = self.console.tail(TAIL_LINES);
        // A kernel can panic and then fail to reset the machine.
        match panic_title(&self.console) {
            Some(title) => MachineError::Panicked { title, console },
            None => MachineError::Hung { awaited, waited: began.elapsed(), console },
        }
    }

    /// Starts QEMU and connects to its monitor. Gdb finds the machine on a socket, if there is to be one.
    pub(crate) fn start(
        (qemu, profile, kind): (&Qemu, &Profile, Kind),
        start: &Start<'_>,
        (ram, ram_mapping): (&File, RamMapping),
        shared: SharedMemory,
        gdb: Option<&Path>,
        deadline: Instant,
    ) -> Result<Machine, MachineError> {
        let host = MachineError::host::<&str>;
        let mut doorbell = Doorbell::new().map_err(host("make the doorbell's pipes"))?;
        let console =
            Capture::new("refan-console", CONSOLE_LIMIT).map_err(host("make the console"))?;
        let messages = Capture::new("refan-qemu", MESSAGES_LIMIT)
            .map_err(host("make a file for QEMU's messages"))?;
        let (monitor, monitor_end) =
            UnixStream::pair().map_err(host("make the monitor's sockets"))?;
        let Some(ring) = doorbell.ring_writer() else {
            unreachable!("a new doorbell has both ends of its ring");
        };
        let fds = Inherited {
            ram: ram.as_fd(),
            ram_mapping,
            shared: shared.as_fd(),
            ring,
            gate: doorbell.gate_writer(),
            console: console.writer(),
            monitor: monitor_end.as_fd(),
        };
        let mut arguments = command::arguments(profile, kind, start, &fds);
        arguments.extend(gdb.map(command::gdbstub).into_iter().flatten());
        let path = qemu.path();
        let mut process =
            Process::start(path, &arguments, &fds.with(start), &messages).map_err(|error| {
                MachineError::NeverStarted {
                    why: format!("{}: {error}", path.display()),
                    stderr: String::new(),
                }
            })?;
        // QEMU's ends are QEMU's alone from here, so that its death shows as end of file.
        drop(monitor_end);
        doorbell.release_ring_writer();

        let monitor = Monitor::connect(monitor, deadline).map_err(|error| {
            let ended = process.wait_until(Instant::now() + Duration::from_millis(200));
            let why = match ended {
                Ok(Some(status)) => format!("{} ended ({status})", path.display()),
                _ => format!("the monitor of {} does not answer: {error}", path.display()),
            };
            MachineError::NeverStarted { why, stderr: messages.tail(TAIL_LINES) }
        })?;
        doorbell.block_writer().map_err(host("set up the gate"))?;
        console.write_at_offset().map_err(host("set up the console"))?;
        let mut command_line = vec![path.as_os_str().to_owned()];
        command_line.extend(arguments);
        Ok(Machine {
            process,
            monitor,
            doorbell,
            shared,
            console,
            messages,
            ram: None,
            command_line,
        })
    }

    /// Waits until the guest stops itself.
    ///
    /// # Errors
    /// When the machine ends instead, or the deadline passes.
    pub fn wait_ring(&mut self, deadline: Instant) -> Result<(), MachineError> {
        let began = Instant::now();
        loop {
            let fds = [self.doorbell.ring(), self.process.pidfd()];
            let [_, ended] =
                poll_readable(&fds, deadline).map_err(MachineError::host("wait for the guest"))?;
            let ring = self.doorbell.take_ring().map_err(MachineError::host("read the ring"))?;
            if ring.is_some() {
                return Ok(());
            }
            if ended {
                return Err(self.ending());
            }
            if Instant::now() >= deadline {
                return Err(self.hung("the guest to stop", began));
            }
        }
    }

    /// Lets a stopped guest go on.
    ///
    /// # Errors
    /// When the gate is open already, that is, the guest has not come to it since.
    pub fn open_gate(&mut self) -> Result<(), MachineError> {
        match self.doorbell.open_gate() {
            Ok(true) => Ok(()),
            Ok(false) => Err(MachineError::Refused {
                request: "open the gate".into(),
                answer: "the guest has not passed it since it was opened last".into(),
            }),
            Err(error) => Err(MachineError::host("open the gate")(error)),
        }
    }

    /// The region that host and guest share.
    pub fn shared(&self) -> &SharedMemory {
        &self.shared
    }

    /// The guest's console since this QEMU was started, up to 16 MiB.
    pub fn console(&self) -> &Capture {
        &self.console
    }

    /// QEMU's own messages.
    pub fn messages(&self) -> &Capture {
        &self.messages
    }

    /// The command that runs the machine.
    pub fn command_line(&self) -> &[OsString] {
        &self.command_line
    }

    /// QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends the machine at once and reaps QEMU.
    pub fn kill(mut self) {
        // Dropping tries again.
        let _ = self.process.kill();
    }

    /// Says how a machine whose QEMU has ended came to its end.
    pub(crate) fn ending(&mut self) -> MachineError {
        let deadline = Instant::now() + REAPING;
        let status: ExitStatus = match self.process.wait_until(deadline) {
            Ok(Some(status)) => status,
            Ok(None) | Err(_) => match self.process.kill() {
                Ok(status) => status,
                Err(error) => return MachineError::host("reap QEMU")(error),
            },
        };
        let console = self.console.tail(TAIL_LINES);
        if let Some(title) = panic_title(&self.console) {
            return MachineError::Panicked { title, console };
        }
        match self.monitor.shutdown_reason(deadline) {
            Some(qmp::ShutdownCause::guest_shutdown) if status.success() => {
                MachineError::PoweredOff { console }
            }
            Some(qmp::ShutdownCause::guest_reset) if status.success() => {
                MachineError::Reset { console }
            }
            Some(qmp::ShutdownCause::guest_panic) => {
                MachineError::Panicked { title: "reported by the guest".into(), console }
            }
            _ => MachineError::Died { status, stderr: self.messages.tail(TAIL_LINES) },
        }
    }
}

/// The console's line about a kernel panic (kernel/panic.c: "Kernel panic - not syncing").
fn panic_title(console: &Capture) -> Option<String> {
    let text = console.read_from(0);
    let text = String::from_utf8_lossy(&text);
    // In front of it can stand when it was printed, and by whom.
    let title =
        text.lines().find_map(|line| Some(&line[line.find("Kernel panic - not syncing")?..]))?;
    Some(title.trim().to_owned())
}

//! QEMU's command line.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use refan_wire::{GATE_PORT, RING_PORT};

use crate::profile::{Kind, Profile};

/// What a machine starts from.
pub(crate) enum Start<'a> {
    /// Power-on, with QEMU as the boot loader.
    Boot { kernel: Kernel<'a>, initramfs: Option<&'a Path>, cmdline: &'a str },
    /// A saved state, which the monitor will name by its descriptor's number.
    Incoming { state: BorrowedFd<'a> },
}

/// Where the kernel's image is.
pub(crate) enum Kernel<'a> {
    /// In a file with a name.
    File(&'a Path),
    /// In a descriptor that QEMU inherits.
    Inherited(BorrowedFd<'a>),
}

/// How the RAM file is mapped.
#[derive(Clone, Copy)]
pub(crate) enum RamMapping {
    /// The guest writes into the file.
    Shared,
    /// The file stays as it is: copy on write.
    Private,
}

/// The descriptors that QEMU inherits.
pub(crate) struct Inherited<'a> {
    pub(crate) ram: BorrowedFd<'a>,
    pub(crate) ram_mapping: RamMapping,
    pub(crate) shared: BorrowedFd<'a>,
    pub(crate) ring: BorrowedFd<'a>,
    pub(crate) gate: BorrowedFd<'a>,
    pub(crate) console: BorrowedFd<'a>,
    pub(crate) monitor: BorrowedFd<'a>,
}

impl<'a> Inherited<'a> {
    /// All that QEMU needs, with what it starts from.
    pub(crate) fn with(&'a self, start: &Start<'a>) -> Vec<BorrowedFd<'a>> {
        let started_from = match start {
            Start::Boot { kernel: Kernel::Inherited(fd), .. } => Some(*fd),
            Start::Boot { kernel: Kernel::File(_), .. } => None,
            Start::Incoming { state } => Some(*state),
        };
        let always = [self.ram, self.shared, self.ring, self.gate, self.console, self.monitor];
        always.into_iter().chain(started_from).collect()
    }
}

/// The whole command line, without the program's name.
pub(crate) fn arguments(
    profile: &Profile,
    kind: Kind,
    start: &Start<'_>,
    fds: &Inherited<'_>,
) -> Vec<OsString> {
    let mut line = Line(Vec::new());
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.option("-display", "none");
    line.option(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    // A guest that resets itself is at its end; QEMU says so on the monitor and exits.
    line.option("-action", "reboot=shutdown,shutdown=poweroff");
    // The RAM ends below 4 GiB with the first node, so the second one begins there.
    line.option(
        "-machine",
        format!("{},max-ram-below-4g={}M", profile.machine, profile.memory_mib),
    );
    line.option("-m", format!("{}M", profile.memory_mib + profile.shared_mib));
    // The table that a kernel without ACPI knows them by has one of each package (SeaBIOS, mptable_setup).
    line.option("-smp", format!("{0},sockets={0}", profile.cpus));
    line.option("-numa", format!("node,memdev=ram,cpus=0-{}", profile.cpus - 1));
    line.option("-numa", "node,memdev=shared");
    let (accelerator, model) = match kind {
        Kind::Kvm => ("kvm", &profile.cpu.kvm),
        Kind::Tcg if profile.cpus == 1 => ("tcg,thread=single", &profile.cpu.tcg),
        Kind::Tcg => ("tcg,thread=multi", &profile.cpu.tcg),
    };
    line.option("-accel", accelerator);
    if let Some(model) = model {
        line.option("-cpu", model);
    }
    if let Some(time) = &profile.virtual_time {
        line.option("-icount", format!("shift={},sleep=off", time.shift));
        line.option("-seed", time.seed.to_string());
        line.option("-rtc", format!("base={},clock=vm", time.wall_clock));
    }

    let ram_share = match fds.ram_mapping {
        RamMapping::Shared => "on",
        RamMapping::Private => "off",
    };
    line.option(
        "-object",
        format!(
            "memory-backend-file,id=ram,size={}M,mem-path=/proc/self/fd/{},share={ram_share}",
            profile.memory_mib,
            fds.ram.as_raw_fd()
        ),
    );
    line.option(
        "-object",
        format!(
            "memory-backend-file,id=shared,size={}M,mem-path=/proc/self/fd/{},share=on",
            profile.shared_mib,
            fds.shared.as_raw_fd()
        ),
    );
    line.file_chardev("console", 1, fds.console);
    line.option("-serial", "chardev:console");
    line.file_chardev("ring", 2, fds.ring);
    line.option("-device", format!("isa-debugcon,iobase={RING_PORT:#x},chardev=ring"));
    line.file_chardev("gate", 3, fds.gate);
    line.option("-device", format!("isa-debugcon,iobase={GATE_PORT:#x},chardev=gate"));
    line.option("-chardev", format!("socket,id=monitor,fd={}", fds.monitor.as_raw_fd()));
    line.option("-mon", "chardev=monitor,mode=control");

    // The host sets up the shared descriptions when QEMU has opened them, and only then lets the
    // guest run.
    line.flag("-S");
    match start {
        Start::Boot { kernel, initramfs, cmdline } => {
            match kernel {
                Kernel::File(path) => line.option("-kernel", path),
                Kernel::Inherited(fd) => {
                    line.option("-kernel", format!("/proc/self/fd/{}", fd.as_raw_fd()));
                }
            }
            if let Some(initramfs) = initramfs {
                line.option("-initrd", initramfs);
            }
            line.option("-append", cmdline);
        }
        Start::Incoming { .. } => line.option("-incoming", "defer"),
    }
    line.0
}

/// What has QEMU listen for gdb on a socket.
pub(crate) fn gdbstub(socket: &Path) -> [OsString; 2] {
    let mut address = OsString::from("unix:");
    address.push(socket);
    address.push(",server=on,wait=off");
    ["-gdb".into(), address]
}

struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    /// A character device that writes to an inherited descriptor, whose open file description
    /// (offset, packet mode) stays the one that the host shares: opening it anew by
    /// `/proc/self/fd` would not keep that.
    fn file_chardev(&mut self, id: &str, set: u32, fd: BorrowedFd<'_>) {
        self.option("-add-fd", format!("fd={},set={set}", fd.as_raw_fd()));
        // Without `append` QEMU truncates, which neither a pipe nor a sealed file allows.
        self.option("-chardev", format!("file,id={id},path=/dev/fdset/{set},append=on"));
    }
}

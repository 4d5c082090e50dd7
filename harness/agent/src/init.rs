//! What PID 1 does first: kernel file systems and a console.

use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use refan_program::Mount;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::files;

/// Mounts the kernel's file systems and makes the folders that runs mount theirs on. Not every kernel
/// has sysfs and debugfs.
pub fn mount_all() -> Result<()> {
    let mounts: [(&str, &CStr); 4] = [
        ("/proc", c"proc"),
        ("/sys", c"sysfs"),
        ("/dev", c"devtmpfs"),
        (files::DEBUGFS, c"debugfs"),
    ];
    for (at, kind) in mounts {
        make_folder(at)?;
        let doing = || format!("mounting {} on {at}", kind.to_string_lossy());
        match rustix::mount::mount(kind, at, kind, MountFlags::empty(), None) {
            Err(Errno::NODEV) if kind == c"sysfs" || kind == c"debugfs" => {}
            mounted => mounted.with_context(doing)?,
        }
    }
    Mount::ALL.map(Mount::location).into_iter().try_for_each(make_folder)
}

fn make_folder(path: &str) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).context(format!("making {path}"))
        }
        _ => Ok(()),
    }
}

/// Makes sure that grace periods of RCU need neither ticks nor idle time, as the machine profile asks
/// of the kernel. It is part of the proof that a sleeping task is blocked ([`crate::executor`]), and
/// it makes closing groups fast.
pub fn expedite_rcu() -> Result<()> {
    const EXPEDITED: &str = "rcupdate.rcu_expedited=1";
    const NORMAL: &str = "/sys/kernel/rcu_normal";
    let line = fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    if !line.split_whitespace().any(|word| word == EXPEDITED) {
        bail!("the machine profile's kernel command line lacks {EXPEDITED}: {line:?}");
    }
    // A kernel with PREEMPT_RT takes them for normal ones once it has booted (`rcu_normal_after_boot` in
    // kernel/rcu/update.c).
    if fs::read_to_string(NORMAL).is_ok_and(|normal| normal.trim() != "0") {
        fs::write(NORMAL, "0").with_context(|| format!("writing {NORMAL}"))?;
    }
    Ok(())
}

/// Writes a line of the agent's own to the console.
pub fn say(line: &str) {
    print(&format!("refan-agent: {line}\n"));
}

/// Writes lines to the console.
pub fn print(lines: &str) {
    let console = OpenOptions::new().write(true).open("/dev/console");
    // Without a console there is nobody to tell.
    let _ = console.and_then(|mut console| console.write_all(lines.as_bytes()));
}

/// Resolution of `CLOCK_MONOTONIC` timers in nanoseconds; 1 with high-resolution timers
/// (`clock_getres(2)`).
pub fn timer_resolution() -> u64 {
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::Monotonic);
    resolution.tv_sec as u64 * 1_000_000_000 + resolution.tv_nsec as u64
}

/// Switches the machine off. Returns only on failure.
pub fn power_off() -> Result<()> {
    rustix::fs::sync();
    if !Path::new("/sys/firmware/acpi").exists() {
        // A kernel without ACPI would only halt.
        soft_off()?;
    }
    rustix::system::reboot(rustix::system::RebootCommand::PowerOff).context("powering off")
}

/// Enters the state S5 as ACPI would, by the PM1 control register of QEMU's PC machines
/// (`hw/acpi/core.c` of QEMU, `acpi_pm1_cnt_write`): sleep type 0, sleep enable.
fn soft_off() -> Result<()> {
    const PM1_CONTROL: u16 = 0x604;
    const SLEEP_ENABLE: u16 = 1 << 13;
    // SAFETY: changes only which ports the process may use.
    if unsafe { libc::ioperm(PM1_CONTROL.into(), 2, 1) } != 0 {
        let error = std::io::Error::last_os_error();
        return Err(error).context(format!("asking for I/O port {PM1_CONTROL:#x}"));
    }
    // SAFETY: the port is this process's to use; the write touches no memory of this program.
    unsafe { std::arch::asm!("out dx, ax", in("dx") PM1_CONTROL, in("ax") SLEEP_ENABLE) };
    Ok(())
}

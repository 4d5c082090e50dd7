//! The way to the host: the shared region and the doorbell.

use std::fs::{self, OpenOptions};
use std::io;

use anyhow::{Context, Result};
use refan_wire::{GATE_PORT, GuestRegion, RING_PORT};
use rustix::mm::{MapFlags, ProtFlags};

const CMDLINE: &str = "/proc/cmdline";
const PARAMETER: &str = "refan.shared=";
const MEMORY: &str = "/dev/mem";

/// The doorbell's ports, opened for this process and its children.
pub struct Doorbell(());

impl Doorbell {
    /// Asks for the right to use the ports.
    pub fn open() -> Result<Self> {
        permit(true).context("asking for the doorbell's I/O ports")?;
        Ok(Self(()))
    }

    /// Stops the guest until the host lets it go: returns after that.
    pub fn ring(&self) {
        for port in [RING_PORT, GATE_PORT] {
            // SAFETY: the port is this process's to use; the byte's arrival stops the machine,
            // in which the host may write the shared region, so memory counts as changed.
            unsafe { std::arch::asm!("out dx, al", in("dx") port, in("al") 1u8) };
        }
    }
}

/// Gives up the right to use the ports, which outlives `execve(2)`.
pub fn close() -> io::Result<()> {
    permit(false)
}

/// Sets the right to use the ports (`ioperm(2)`).
fn permit(on: bool) -> io::Result<()> {
    for port in [RING_PORT, GATE_PORT] {
        // SAFETY: changes only which ports the process may use.
        if unsafe { libc::ioperm(port.into(), 1, on.into()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Maps the region that the host shares: memory at the physical address that the kernel's command
/// line tells, `refan.shared=BASE,LENGTH`, and that the kernel itself keeps off (`memmap=`).
pub fn map_region() -> Result<GuestRegion> {
    let cmdline = fs::read_to_string(CMDLINE).with_context(|| format!("reading {CMDLINE}"))?;
    let (base, len) = shared_range(&cmdline)
        .with_context(|| format!("{CMDLINE} has no {PARAMETER}BASE,LENGTH: {}", cmdline.trim()))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(MEMORY)
        .with_context(|| format!("opening {MEMORY}"))?;
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let mapped =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, &file, base) };
    let mapped =
        mapped.with_context(|| format!("mapping {len:#x} bytes at {base:#x} of {MEMORY}"))?;
    // SAFETY: mapped just now, page-aligned, never unmapped, and handed to nobody else.
    let region = unsafe { GuestRegion::new(mapped.cast(), len) };
    region.with_context(|| format!("{len:#x} bytes are too few for the shared region"))
}

/// Base and length of the shared region.
fn shared_range(cmdline: &str) -> Option<(u64, usize)> {
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let value = cmdline.split_whitespace().find_map(|word| word.strip_prefix(PARAMETER))?;
    let (base, len) = value.split_once(',')?;
    Some((hex(base)?, usize::try_from(hex(len)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_tells_where_the_region_is() {
        let line = "console=ttyS0 refan.shared=0x100000000,0x1000000 quiet\n";
        assert_eq!(shared_range(line), Some((0x1_0000_0000, 0x100_0000)));
        assert_eq!(shared_range("refan.shared=0x1"), None);
        assert_eq!(shared_range("refan.shared=1,2"), None);
        assert_eq!(shared_range("quiet"), None);
    }
}

//! The kernel's log: what it prints belongs to the job in which it is printed.
//!
//! Reports go out at once, but ordinary lines are printed by a thread of the console, which is
//! woken at the next tick (`nbcon_irq_work` in `kernel/printk/nbcon.c` is a lazy one). A guest that
//! stopped before that would leave its evidence to the next job, or to nobody.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::executor;

const LOG: &str = "/dev/kmsg";
const CONSOLE_LEVEL: &str = "/proc/sys/kernel/printk";
/// Lines of this level and above stay off the console: `KERN_INFO`, such as the mounting of a file
/// system.
const QUIET_FROM: u32 = 6;
/// Longer than a tick at any `HZ`.
const TICK: Duration = Duration::from_millis(20);
/// How often a tick is waited for: more than any console needs for what the log can hold.
const PATIENCE: u32 = 100;

/// A reader of the kernel's log, at its end.
pub struct KernelLog(File);

impl KernelLog {
    /// Opens the log, and keeps mere information off the console from now on.
    pub fn open() -> Result<Self> {
        fs::write(CONSOLE_LEVEL, QUIET_FROM.to_string())
            .with_context(|| format!("writing {CONSOLE_LEVEL}"))?;
        let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(LOG);
        let log = Self(log.with_context(|| format!("opening {LOG}"))?);
        log.printable_lines();
        Ok(log)
    }

    /// Returns when the console has printed everything that the kernel has said so far.
    pub fn flush(&self) {
        let mut left = PATIENCE;
        while self.printable_lines() && left > 0 {
            std::thread::sleep(TICK);
            while executor::others_run().unwrap_or(false) && left > 0 {
                std::thread::sleep(TICK);
                left -= 1;
            }
            left = left.saturating_sub(1);
        }
    }

    /// Reads to the end; says whether any line was for the console.
    fn printable_lines(&self) -> bool {
        let mut printable = false;
        read_records(&self.0, |record| printable |= record.is_none_or(is_printable));
        printable
    }
}

/// Gives every record that is left, and none in place of some that were overwritten.
fn read_records(mut log: &File, mut take: impl FnMut(Option<&[u8]>)) {
    let mut record = [0; 8192];
    loop {
        // Each read gives one record; EPIPE says that some were overwritten
        // (Documentation/ABI/testing/dev-kmsg).
        match log.read(&mut record) {
            Ok(0) => return,
            Ok(len) => take(Some(&record[..len])),
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => take(None),
            Err(_) => return,
        }
    }
}

/// A reader of what fanotify's watchdog says from now on.
pub struct Watchdog(File);

impl Watchdog {
    /// Opens the log at its end.
    pub fn open() -> Result<Self> {
        let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(LOG);
        let log = log.with_context(|| format!("opening {LOG}"))?;
        read_records(&log, |_| ());
        Ok(Self(log))
    }

    /// The pids that it has named since this was last asked, as the kernel counts them.
    pub fn named(&mut self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        let mut lost = false;
        read_records(&self.0, |record| match record {
            Some(record) => pids.extend(named_by(&String::from_utf8_lossy(record))),
            None => lost = true,
        });
        if lost {
            bail!("the kernel's log has overwritten what was not read");
        }
        Ok(pids)
    }
}

/// The pid in a record of `perm_group_watchdog` (fs/notify/fanotify/fanotify_user.c):
/// `PID 37 (main) failed to respond to fanotify queue for more than 1 seconds`.
fn named_by(record: &str) -> Option<i32> {
    let (_, text) = record.split_once(';')?;
    let text = text.split_once("PID ")?.1;
    let (pid, rest) = text.split_once(' ')?;
    rest.contains("failed to respond to fanotify queue").then(|| pid.parse().ok())?
}

/// A record begins with facility and level in one number: `6,339,5140900,-;text`.
fn is_printable(record: &[u8]) -> bool {
    let digits = record.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
    let number: Option<u32> = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    number.is_none_or(|number| number & 7 < QUIET_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_names_a_pid() {
        let record = "4,340,5690716,-;fanotify: PID 37 (main) failed to respond to fanotify queue \
                      for more than 1 seconds\n";
        assert_eq!(named_by(record), Some(37));
        assert_eq!(named_by("4,340,5690716,-;PID 37 did something else\n"), None);
        assert_eq!(named_by("no record"), None);
    }

    #[test]
    fn the_level_is_in_the_low_bits() {
        assert!(!is_printable(b"6,339,5140900,-;NET: Registered PF_INET\n"));
        assert!(is_printable(b"4,340,5690716,-;a warning\n"));
        assert!(is_printable(b"12,340,5690716,-;a warning of user space\n"));
        assert!(is_printable(b"no record"));
    }
}

//! The kernel's log: what it prints belongs to the job in which it is printed.
//!
//! Reports go out at once, but ordinary lines are printed by a thread of the console, which is
//! woken at the next tick (`nbcon_irq_work` in `kernel/printk/nbcon.c` is a lazy one). A guest that
//! stopped before that would leave its evidence to the next job, or to nobody.
//!
//! What is withheld from the console is wanted after all where a report goes on in it: where a task
//! hangs the kernel says as mere information (`sched_show_task` in `kernel/sched/core.c`).

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{executor, init};

const LOG: &str = "/dev/kmsg";
const CONSOLE_LEVEL: &str = "/proc/sys/kernel/printk";
/// Lines of this level and above stay off the console: `KERN_INFO`, such as the mounting of a file
/// system.
const QUIET_FROM: u32 = 6;
/// Lines of this level and below begin reports: `KERN_ERR`.
const GRAVE_UP_TO: u32 = 3;
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
        read_records(&log.0, |_| ());
        Ok(log)
    }

    /// Returns when the console has printed everything that the kernel has said so far, and of the
    /// reports in it also what is withheld from the console otherwise.
    pub fn flush(&self) {
        let mut left = PATIENCE;
        let mut reports = Reports::default();
        while self.printable_lines(&mut reports) && left > 0 {
            std::thread::sleep(TICK);
            while executor::others_run().unwrap_or(false) && left > 0 {
                std::thread::sleep(TICK);
                left -= 1;
            }
            left = left.saturating_sub(1);
        }
        if !reports.withheld.is_empty() {
            init::print(&reports.withheld);
        }
    }

    /// Reads to the end; says whether any line was for the console.
    fn printable_lines(&self, reports: &mut Reports) -> bool {
        let mut printable = false;
        read_records(&self.0, |record| {
            printable |= record.is_none_or(|record| level(record).is_none_or(|it| it < QUIET_FROM));
            if let Some(record) = record {
                reports.add(record);
            }
        });
        printable
    }
}

/// What those that began a report have said as mere information since.
#[derive(Default)]
struct Reports {
    /// Who began one: `T37`.
    callers: Vec<String>,
    /// Lines as the console would have had them.
    withheld: String,
}

impl Reports {
    /// Takes note of a record: `3,339,5140900,-,caller=T37;text`, and below it lines that describe it.
    /// Who speaks is in it with `CONFIG_PRINTK_CALLER` only (`info_print_ext_header` in
    /// kernel/printk/printk.c).
    fn add(&mut self, record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        let Some((header, message)) = text.split_once(';') else { return };
        let Some(caller) = header.split(',').find_map(|it| it.strip_prefix("caller=")) else {
            return;
        };
        let known = self.callers.iter().any(|it| it == caller);
        match level(record) {
            Some(level) if level <= GRAVE_UP_TO && !known => self.callers.push(caller.to_owned()),
            Some(level) if level >= QUIET_FROM && known => {
                let message = message.lines().next().unwrap_or_default();
                self.withheld += &format!("[{caller:>6}] {message}\n");
            }
            _ => {}
        }
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
fn level(record: &[u8]) -> Option<u32> {
    let digits = record.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(number & 7)
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
        assert_eq!(level(b"6,339,5140900,-;NET: Registered PF_INET\n"), Some(6));
        assert_eq!(level(b"4,340,5690716,-;a warning\n"), Some(4));
        assert_eq!(level(b"12,340,5690716,-;a warning of user space\n"), Some(4));
        assert_eq!(level(b"no record"), None);
    }

    #[test]
    fn a_report_goes_on_in_what_is_withheld() {
        let records = [
            "6,1,1,-,caller=T9;before\n",
            "3,2,2,-,caller=T9;INFO: task init:37 blocked for more than 30 seconds.\n",
            "6,3,3,-,caller=T1;another's\n",
            "6,4,4,-,caller=T9;task:init            state:D\n SUBSYSTEM=x\n",
            "4,5,5,-,caller=T9;printed anyway\n",
            "6,6,6,-,caller=T9;Call Trace:\n",
            "6,7,7,-;nobody's\n",
            "no record",
        ];
        let mut reports = Reports::default();
        records.iter().for_each(|record| reports.add(record.as_bytes()));
        assert_eq!(
            reports.withheld,
            "[    T9] task:init            state:D\n[    T9] Call Trace:\n"
        );
    }
}

//! Reports of the kernel's own checkers on the console.

/// A report, cut out of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its first line, without time stamp.
    pub title: String,
    /// It and what follows, as printed.
    pub text: String,
}

/// How the first line of a report begins or what it contains, for each checker of the targets.
/// Sources: `lib/bug.c`, `kernel/panic.c`, `mm/kasan/report.c`, `lib/ubsan.c`,
/// `kernel/locking/lockdep.c`, `kernel/hung_task.c`, `kernel/watchdog.c`, `kernel/rcu/tree_stall.h`,
/// `mm/kmemleak.c`, `lib/list_debug.c`, `lib/refcount.c`.
const SIGNS: &[&str] = &[
    "BUG: ",
    "WARNING: ",
    "KASAN: ",
    "UBSAN: ",
    "INFO: task ",
    "INFO: rcu",
    "rcu: INFO: ",
    "INFO: trying to register non-static key",
    "Kernel panic",
    "Oops: ",
    "general protection fault",
    "kernel BUG at ",
    "list_add corruption",
    "list_del corruption",
    "refcount_t: ",
    "kmemleak: ",
    "soft lockup",
    "hard LOCKUP",
    "Unable to handle kernel",
    "stack-protector: ",
    "double fault",
];

/// Lines that look like reports and say that a checker has started.
const HARMLESS: &[&str] =
    &["kmemleak: Kernel memory leak detector initialized", "kmemleak: Automatic memory scanning"];

/// How much of the console is kept behind a report's first line, in lines.
const LINES: usize = 120;

/// The first report in what the console printed.
pub fn first_report(console: &str) -> Option<Report> {
    let lines: Vec<&str> = console.lines().collect();
    let first = lines.iter().position(|line| is_sign(message(line)))?;
    let end = (first + LINES).min(lines.len());
    Some(Report {
        title: message(lines[first]).trim().to_owned(),
        text: lines[first..end].join("\n"),
    })
}

fn is_sign(message: &str) -> bool {
    SIGNS.iter().any(|sign| message.contains(sign))
        && !HARMLESS.iter().any(|text| message.contains(text))
}

/// A console line without its time stamp `[    1.234567]`.
fn message(line: &str) -> &str {
    let line = line.trim_end();
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((stamp, message)) if stamp.trim().parse::<f64>().is_ok() => message,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_is_found_behind_its_time_stamp() {
        let console = "[    0.1] booting\n[    1.250000] BUG: KASAN: slab-use-after-free in x+0x1/0x2\r\n[    1.3] a\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "BUG: KASAN: slab-use-after-free in x+0x1/0x2");
        assert!(report.text.ends_with("[    1.3] a"));
    }

    #[test]
    fn a_quiet_console_has_none() {
        let console = "[    0.0] Linux version 7.3.4\n\
            [    2.0] main (37): Using fanotify permission checks may lead to deadlock; tainting kernel\n\
            [    2.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 15999)\n";
        assert_eq!(first_report(console), None);
    }
}

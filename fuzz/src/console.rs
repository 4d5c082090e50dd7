//! What the host makes of a kernel's console: any text is survived, and a report is the same whoever
//! prints between its lines.

use refan_runner::kernel_log::{Report, first_report};

/// Beginnings of lines as kernels print them.
const WORDS: [&str; 30] = [
    "BUG: KASAN: slab-use-after-free in fanotify_read+0x1a2/0x400",
    "Read of size 8 at addr ffff888003e5f000 by task init/40",
    "Write of size 4 at addr ffff888003e5f000 by task init/40",
    "==================================================================",
    "WARNING: fs/notify/mark.c:88 at fsnotify_put_mark+0x1/0x2, CPU#0: init/1",
    "WARNING: possible circular locking dependency detected",
    "WARNING: possible recursive locking detected",
    "======================================================",
    "BUG: kernel NULL pointer dereference, address: 0000000000000010",
    "Oops: general protection fault, probably for non-canonical address 0xdead000000000100",
    "Kernel panic - not syncing: Fatal exception",
    "UBSAN: array-index-out-of-bounds in fs/notify/fanotify/fanotify.c:12:3",
    "list_add corruption. next->prev should be prev (ffff), but was 0.",
    "kernel BUG at lib/list_debug.c:29!",
    "refcount_t: underflow; use-after-free.",
    "INFO: task init:40 blocked for more than 30 seconds.",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:40]",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "BUG: sleeping function called from invalid context at mm/slab.h:1",
    "Call Trace:",
    " <TASK>",
    " fsnotify_destroy_event+0x10/0x20",
    " ? fanotify_release+0x55/0x90 fs/notify/fanotify/fanotify_user.c:1000",
    " </TASK>",
    "RIP: 0010:fsnotify_put_mark+0x1/0x2",
    "---[ end trace 0000000000000000 ]---",
    "the existing dependency chain (in reverse order) is:",
    "Allocated by task 40:",
    "Freed by task 41:",
    "Modules linked in:",
];

/// What others print that is no report.
const NOISE: [&str; 4] =
    ["clocksource: tsc", "random: crng init done", "a <TASK> of words", " fanotify_read+0x1/0x2"];

/// Reads a console.
pub fn check(data: &[u8]) {
    let garbage = String::from_utf8_lossy(data);
    if let Some(report) = first_report(&garbage) {
        is_of(&report, &garbage);
    }
    let lines = lines(data);
    let alone = console(&lines, 1, None);
    let report = first_report(&alone);
    if let Some(report) = &report {
        is_of(report, &alone);
    }
    let titles = |report: Option<Report>| report.map(|report| report.title);
    let later = first_report(&console(&lines, 2, None));
    assert_eq!(titles(report.clone()), titles(later), "at another time:\n{alone}");
    let disturbed = console(&lines, 1, Some(data));
    assert_eq!(report, first_report(&disturbed), "among what others print:\n{disturbed}");
}

/// A report is named, and lines of the console are all that it holds.
fn is_of(report: &Report, console: &str) {
    assert!(!report.title.is_empty() && !report.title.contains('\n'), "{report:?}");
    let mut printed = console.lines().map(str::trim_end);
    for line in report.text.lines() {
        assert!(printed.any(|printed| printed == line), "{line:?} in\n{console}");
    }
}

/// Lines out of bytes: known ones, and what the bytes themselves say.
fn lines(data: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = data;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let known = WORDS.get(usize::from(byte));
        let line = known.map_or_else(
            || {
                let (text, behind) = rest.split_at(rest.len().min(usize::from(byte % 64)));
                rest = behind;
                // One line of one writer.
                String::from_utf8_lossy(text).replace(char::is_control, " ")
            },
            |word| (*word).to_owned(),
        );
        lines.push(line);
    }
    lines
}

/// The lines as one task prints them, and between them what others print.
fn console(lines: &[String], second: u32, others: Option<&[u8]>) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        text += &format!("[    {second}.{at:06}][   T40] {line}\n");
        let byte = others.map_or(0, |bytes| usize::from(bytes[at % bytes.len()]));
        if byte % 3 == 1 {
            text += &format!("[    {second}.{at:06}][    C1] {}\n", NOISE[byte % NOISE.len()]);
        }
    }
    text
}

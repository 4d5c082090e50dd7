//! What kernels of this project with a seeded bug have printed.

use std::path::Path;

use refan_runner::kernel_log::first_report;

/// The log of that name: the title of its report, and the report's last line.
fn report(name: &str) -> (String, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel_logs");
    let log = std::fs::read_to_string(folder.join(name)).expect("a log");
    let report = first_report(&log).expect("a report");
    (report.title, report.text.lines().last().unwrap_or_default().trim().to_owned())
}

#[test]
fn use_after_free() {
    // Mutant no-group-ref, shutdown/accessor-killed-in-transit.
    let (title, last) = report("use-after-free.log");
    assert_eq!(title, "KASAN: slab-use-after-free Read in fanotify_read");
    assert!(last.starts_with("====="), "{last}");
}

#[test]
fn warning() {
    // Mutant answered-restarts, restart/answered.
    let (title, last) = report("warning.log");
    assert_eq!(title, "WARNING in fsnotify_destroy_event");
    assert_eq!(last, "---[ end trace 0000000000000000 ]---");
}

#[test]
fn order_of_locks() {
    // Mutant lock-order, restart/watchdog.
    let (title, last) = report("lock-order.log");
    assert_eq!(title, "possible circular locking dependency in perm_group_watchdog");
    assert_eq!(last, "</TASK>");
}

#[test]
fn stall_of_a_preempted_task() {
    // Bug rcu-stall of series provoke, found while the task was preempted in what KCOV calls.
    let (title, _) = report("rcu-stall.log");
    assert_eq!(title, "RCU stall in provoke_rcu_stall");
}

/// What the bugs of series `provoke` have printed, each told by the title that it has there
/// (`cargo xtask bench crashes --logs harness/runner/tests/kernel_logs/provoke`).
#[test]
fn provoked() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bugs = here.join("../../kernel-configs/series/provoke/bugs.toml");
    let bugs = std::fs::read_to_string(bugs).expect("the bugs");
    let bugs: toml::Table = bugs.parse().expect("a table");
    let (mut wrong, mut silent) = (Vec::new(), Vec::new());
    for (name, bug) in &bugs {
        let Some(title) = bug.get("title").and_then(toml::Value::as_str) else { continue };
        let log = here.join(format!("tests/kernel_logs/provoke/{name}.log"));
        let Ok(log) = std::fs::read_to_string(log) else {
            silent.push(name);
            continue;
        };
        let found = first_report(&log).map(|report| report.title);
        if found.as_deref() != Some(title) {
            wrong.push(format!("{name}: {found:?} in place of {title}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Machines that die or hang in silence print nothing, and leaks are told elsewhere.
    assert_eq!(silent, ["flood", "halt", "leak", "reset", "spin-for-ever"]);
}

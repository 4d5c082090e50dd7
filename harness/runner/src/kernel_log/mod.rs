//! Reports of the kernel's own checkers on the console: found, cut out whole and named.

mod frame;
mod kind;
mod line;
mod sources;
mod symbols;
mod title;

use kind::Kind;
use line::Line;
pub use symbols::Symbols;

/// A report, cut out of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it says and where, without anything that differs from run to run or build to build:
    /// reports of one title are one bug.
    pub title: String,
    /// It and what follows, as printed.
    pub text: String,
    /// The same with file and line behind its frames and the source around the first of them, where the kernel's debug information is there.
    pub symbolized: Option<String>,
}

impl Report {
    /// The text that tells most.
    pub fn best_text(&self) -> &str {
        self.symbolized.as_deref().unwrap_or(&self.text)
    }
}

/// How many lines a report has at most. A list of held locks or of tasks can go on for ever.
const LINES: usize = 200;

/// The first report in what the console printed.
pub fn first_report(console: &str) -> Option<Report> {
    reports(console).next()
}

/// All reports in what the console printed, one after another.
pub fn reports(console: &str) -> impl Iterator<Item = Report> + '_ {
    let mut lines: Vec<Line<'_>> = console.lines().map(Line::read).collect();
    std::iter::from_fn(move || {
        let (first, kind) =
            lines.iter().enumerate().find_map(|(at, line)| Some((at, Kind::of(line.message)?)))?;
        lines.drain(..first);
        let places = cut(&lines, kind);
        let report: Vec<Line<'_>> = places.iter().map(|at| lines[*at]).collect();
        for at in places.iter().rev() {
            lines.remove(*at);
        }
        let messages: Vec<&str> = report.iter().map(|line| line.message).collect();
        let text: Vec<&str> = report.iter().map(|line| line.whole).collect();
        let title = title::of(kind, &messages);
        Some(Report { title, text: text.join("\n"), symbolized: None })
    })
}

/// Where the lines of the report are that begins with the first one. Other tasks and processors print in
/// between; where the kernel tells who prints (`CONFIG_PRINTK_CALLER`), their lines are left out.
fn cut(lines: &[Line<'_>], kind: Kind) -> Vec<usize> {
    let Some(first) = lines.first() else { return Vec::new() };
    let mut callers = vec![first.caller];
    let mut report = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if kind.is_told_by_others_too(line.message) {
            callers.push(line.caller);
        }
        if !callers.contains(&line.caller) {
            continue;
        }
        let begins = Kind::of(line.message).is_some_and(|it| it != kind || it.begins_each_time());
        let other = !report.is_empty() && begins;
        if other && !kind.goes_on(line.message, report.len()) {
            break;
        }
        report.push(at);
        if report.len() == LINES || kind.ends_with(line.message, report.len()) {
            break;
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_console_has_none() {
        let console = "[    0.0] Linux version 7.3.4\n\
            [    2.0] main (37): Using fanotify permission checks may lead to deadlock; tainting kernel\n\
            [    2.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 15999)\n";
        assert_eq!(first_report(console), None);
        assert_eq!(first_report(""), None);
    }

    #[test]
    fn a_report_is_cut_out_of_what_others_print() {
        let console = "[    0.1][    T1] booting\n\
            [    1.2][   T40] ==================================================================\n\
            [    1.2][   T40] BUG: KASAN: slab-use-after-free in fanotify_read+0x1a2/0x400\r\n\
            [    1.2][    C1] clocksource: a line of another processor\n\
            [    1.2][   T40] Read of size 8 at addr ffff888003e5f000 by task init/40\n\
            [    1.2][   T40] ==================================================================\n\
            [    1.3][   T40] a\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "KASAN: slab-use-after-free Read in fanotify_read");
        assert_eq!(report.text.lines().count(), 3, "{}", report.text);
        assert!(!report.text.contains("clocksource"), "{}", report.text);
    }

    #[test]
    fn a_panic_belongs_to_the_report_that_causes_it() {
        let console = "BUG: KASAN: slab-out-of-bounds in a+0x1/0x2\n\
            Write of size 4 at addr ffff888003e5f000 by task init/40\n\
            Kernel panic - not syncing: kasan.fault=panic set ...\n\
            a\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "KASAN: slab-out-of-bounds Write in a");
        assert!(report.text.ends_with("\na"), "{}", report.text);
    }

    #[test]
    fn one_report_ends_where_another_begins() {
        let console = "WARNING: fs/notify/mark.c:88 at fsnotify_put_mark+0x1/0x2, CPU#0: init/1\n\
            RIP: 0010:fsnotify_put_mark+0x1/0x2\n\
            BUG: KASAN: slab-out-of-bounds in a+0x1/0x2\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "WARNING in fsnotify_put_mark");
        assert_eq!(report.text.lines().count(), 2);
    }

    #[test]
    fn reports_of_two_processors_are_taken_apart() {
        let console = "[    T7] WARNING: fs/notify/mark.c:88 at fsnotify_put_mark+0x1/0x2, CPU#0: a/7\n\
            [    T9] BUG: KASAN: slab-out-of-bounds in fanotify_read+0x1/0x2\n\
            [    T7] RIP: 0010:fsnotify_put_mark+0x1/0x2\n\
            [    T9] Read of size 8 at addr ffff888003e5f000 by task b/9\n\
            [    T7] Call Trace:\n\
            [    T9]  fanotify_read+0x1/0x2\n\
            [    T7]  fsnotify_destroy_marks+0x3/0x4\n\
            [    C1] a line of an interrupt\n\
            [    T9] ==================================================================\n\
            [    T7] ---[ end trace 0000000000000000 ]---\n\
            [    T7] a\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "WARNING in fsnotify_put_mark");
        assert_eq!(report.text.lines().count(), 5, "{}", report.text);
        assert!(report.text.lines().all(|line| line.starts_with("[    T7] ")), "{}", report.text);
        let all: Vec<Report> = reports(console).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[1].title, "KASAN: slab-out-of-bounds Read in fanotify_read");
        assert_eq!(all[1].text.lines().count(), 4, "{}", all[1].text);
    }

    #[test]
    fn a_processor_that_is_asked_where_it_stands_belongs_to_the_report() {
        let console = "[    C0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n\
            [    C0] rcu: \t1-...0: (1 GPs behind) idle=3f6c/1/0x4000000000000000\n\
            [    C1] a line of an interrupt\n\
            [    T7] a line of a task\n\
            [    C1] NMI backtrace for cpu 1\n\
            [    C1] RIP: 0010:fanotify_handle_event+0x1/0x2\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "RCU stall in fanotify_handle_event");
        assert_eq!(report.text.lines().count(), 4, "{}", report.text);
    }

    #[test]
    fn a_warning_with_words_of_its_own_is_one_report() {
        let console = "list_del corruption, ffff888004d59e80->next is LIST_POISON1\n\
            WARNING: lib/list_debug.c:58 at __list_del_entry_valid_or_report+0x1/0x2, CPU#0: a/7\n\
            RIP: 0010:__list_del_entry_valid_or_report+0x1/0x2\n fanotify_read+0x1/0x2\n\
            ---[ end trace 0000000000000000 ]---\n";
        let report = first_report(console).expect("a report");
        assert_eq!(report.title, "list_del corruption in fanotify_read");
        assert_eq!(report.text.lines().count(), 5);
    }

    #[test]
    fn garbage_is_survived() {
        for garbage in
            ["\0\u{7f}BUG: ", "[", "[ 1.0][", "[x][y] WARNING: ", "RIP: ", "BUG: KASAN: "]
        {
            let _ = first_report(garbage);
        }
        let endless = "WARNING: a\n".repeat(10_000);
        assert_eq!(first_report(&endless).expect("a report").text.lines().count(), LINES);
        assert_eq!(reports(&endless).count(), 10_000 / LINES);
    }
}

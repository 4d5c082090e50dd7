//! Titles: what a report says, without addresses, numbers of tasks and lines, and offsets.

use super::frame;
use super::kind::Kind;

/// The title of a report of these lines: its kind, where they have no words for one.
pub(super) fn of(kind: Kind, lines: &[&str]) -> String {
    let title = told(kind, lines);
    if title.trim().is_empty() { format!("{kind:?}") } else { title }
}

fn told(kind: Kind, lines: &[&str]) -> String {
    let Some(first) = lines.first().map(|line| line.trim()) else { return String::new() };
    let culprit = match kind {
        Kind::Lockup | Kind::Stall => frame::interrupted(lines),
        _ => frame::culprit(lines),
    };
    let within = |what: &str| match culprit {
        Some(function) => format!("{what} in {function}"),
        None => what.to_owned(),
    };
    match kind {
        Kind::Kasan => kasan(lines, first),
        Kind::Kcsan => format!("KCSAN: {}", words(behind(first, "KCSAN: "))),
        Kind::Ubsan => {
            let what = behind(first, "UBSAN: ");
            within(&format!("UBSAN: {}", what.split(" in ").next().unwrap_or(what)))
        }
        Kind::Lockdep => lockdep(lines, first),
        Kind::Atomic => within(before_place(&words(behind(first, "BUG: ")))),
        Kind::List => within(first.split(['.', ',', ':']).next().unwrap_or(first)),
        Kind::Refcount => within(first.trim_end_matches('.')),
        Kind::Object => within(&object(first)),
        Kind::Leak => within("kmemleak: unreferenced object"),
        Kind::Hung => within("task hung"),
        Kind::Lockup => within(if first.contains("hard") { "hard lockup" } else { "soft lockup" }),
        Kind::Stall => within("RCU stall"),
        Kind::Fault => within(&fault(first)),
        Kind::Bug if first.starts_with("kernel BUG at ") => within("kernel BUG"),
        Kind::Bug => {
            let what = words(behind(first, "BUG: "));
            within(&format!("BUG: {}", before_place(&what)))
        }
        Kind::Warning => match warned(first) {
            Some(function) => format!("WARNING in {function}"),
            None if first == "WARNING:" || first.contains(".c:") => within("WARNING"),
            None => within(&words(first)),
        },
        Kind::Panic => words(first),
    }
}

/// `BUG: KASAN: slab-use-after-free in f+0x1/0x2`, and in the next line what was tried.
fn kasan(lines: &[&str], first: &str) -> String {
    let what = behind(first, "KASAN: ");
    let (what, place) = what.split_once(" in ").unwrap_or((what, ""));
    let tried = lines.iter().take(3).find_map(|line| {
        line.trim().split_once(" of size ").map(|(tried, _)| tried).filter(|it| it.len() < 6)
    });
    let tried = tried.map(|tried| format!(" {tried}")).unwrap_or_default();
    let function = frame::of_symbol(place.trim());
    // In a function that copies or locks it is the caller's bug.
    let function = function
        .filter(|name| !frame::is_plumbing(name))
        .or_else(|| frame::culprit(lines))
        .or(function);
    format!("KASAN: {what}{tried} in {}", function.unwrap_or("an unknown function"))
}

/// What the order of locks breaks, and where the last of them was taken.
fn lockdep(lines: &[&str], first: &str) -> String {
    let what = words(first.trim_matches(['[', ']', ' ']));
    let what = what.trim_end_matches(['!', '.']);
    let prefixes = ["WARNING: ", "INFO: "];
    let what = prefixes.iter().find_map(|prefix| what.strip_prefix(prefix)).unwrap_or(what);
    let what = what.strip_suffix(" detected").unwrap_or(what);
    let place = lines.iter().find_map(|line| frame::symbol_of_lock(line));
    let place = place.and_then(frame::of_symbol);
    let place = place.or_else(|| frame::culprit(lines));
    place.map_or_else(|| what.to_owned(), |place| format!("{what} in {place}"))
}

/// `ODEBUG: free active (active state 0) object: … object type: timer_list hint: 0x0`.
fn object(first: &str) -> String {
    let what = first.split(" (").next().unwrap_or(first);
    let of_type = behind(first, "object type: ").split(' ').next().unwrap_or_default();
    format!("{what} {of_type}")
}

/// `Oops: general protection fault, probably for …`.
fn fault(first: &str) -> String {
    let what = first.strip_prefix("Oops: ").unwrap_or(first);
    let what = what.split([',', ':']).map(str::trim).find(|part| *part != "BUG" && *part != "Oops");
    words(what.unwrap_or(first))
}

/// The function of `WARNING: fs/a.c:1 at f+0x1/0x2, CPU#0: …`, or with ` f+0x1/0x2` alone at the
/// end, as kernels before 6.19 have it.
fn warned(first: &str) -> Option<&str> {
    first.split([' ', ',']).find_map(frame::of_symbol)
}

/// The text up to where it says at what place, on which processor or in which task.
fn before_place(text: &str) -> &str {
    let ends = [" at ", " on CPU", ":"].into_iter().filter_map(|mark| text.find(mark));
    &text[..ends.min().unwrap_or(text.len())]
}

/// The text behind a mark, or all of it.
fn behind<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split_once(mark).map_or(text, |(_, rest)| rest)
}

/// The text without what is a number, an address or an offset.
fn words(text: &str) -> String {
    let kept = text.split_whitespace().filter_map(|word| {
        let bare = word.trim_matches(['#', ':', ',', '(', ')', '[', ']', '!']);
        let number = bare.strip_prefix("0x").unwrap_or(bare);
        let is_number = !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_hexdigit())
            && number.bytes().any(|byte| byte.is_ascii_digit());
        if is_number { None } else { Some(frame::of_symbol(word).unwrap_or(word)) }
    });
    kept.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::first_report;

    fn title(lines: &[&str]) -> String {
        first_report(&lines.join("\n")).expect("a report").title
    }

    #[test]
    fn no_title_is_empty() {
        assert_eq!(title(&[": undKASAN: null-ptr-deref"]), "Fault");
        assert_eq!(title(&["Kernel panic"]), "Kernel panic");
    }

    #[test]
    fn what_differs_between_runs_is_not_in_a_title() {
        let cases: &[(&[&str], &str)] = &[
            (
                &[
                    "BUG: KASAN: slab-use-after-free in _raw_spin_lock+0x2b/0x40",
                    "Write of size 4 at addr ffff888004d59e80 by task init/40",
                    "Call Trace:",
                    " kasan_report+0xce/0x100",
                    " _raw_spin_lock+0x2b/0x40",
                    " fanotify_poll+0x12/0x80",
                ],
                "KASAN: slab-use-after-free Write in fanotify_poll",
            ),
            (
                &["BUG: KCSAN: data-race in fanotify_read / fanotify_write"],
                "KCSAN: data-race in fanotify_read / fanotify_write",
            ),
            (
                &[
                    "UBSAN: shift-out-of-bounds in fs/notify/fanotify/fanotify.c:12:34",
                    " f+0x1/0x2",
                ],
                "UBSAN: shift-out-of-bounds in f",
            ),
            (
                &[
                    "BUG: sleeping function called from invalid context at mm/slab.c:12",
                    " __might_resched+0x1/0x2",
                    " fanotify_queue_release+0x1/0x2",
                ],
                "sleeping function called from invalid context in fanotify_queue_release",
            ),
            (
                &[
                    "list_del corruption. prev->next should be ffff888004d59e80, but was dead000000000100.",
                    "kernel BUG at lib/list_debug.c:62!",
                    "RIP: 0010:__list_del_entry_valid_or_report+0x1/0x2",
                    " fanotify_read+0x1/0x2",
                ],
                "list_del corruption in fanotify_read",
            ),
            (
                &[
                    "refcount_t: underflow; use-after-free.",
                    "RIP: 0010:refcount_warn_saturate+0x1/0x2",
                    " fsnotify_put_group+0x1/0x2",
                ],
                "refcount_t: underflow; use-after-free in fsnotify_put_group",
            ),
            (
                &[
                    "ODEBUG: free active (active state 0) object: ffff888004d59e80 object type: timer_list hint: f+0x0/0x2",
                    "WARNING: lib/debugobjects.c:629 at debug_print_object+0x1/0x2, CPU#0: init/41",
                    "RIP: 0010:debug_print_object+0x1/0x2",
                    " kfree+0x1/0x2",
                    " fsnotify_put_group+0x1/0x2",
                ],
                "ODEBUG: free active timer_list in fsnotify_put_group",
            ),
            (
                &[
                    "INFO: task init:41 blocked for more than 30 seconds.",
                    " __schedule+0x1/0x2",
                    " schedule+0x1/0x2",
                    " fanotify_handle_event+0x1/0x2",
                ],
                "task hung in fanotify_handle_event",
            ),
            (
                &[
                    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:41]",
                    "RIP: 0010:f+0x1/0x2",
                ],
                "soft lockup in f",
            ),
            (
                &["rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RIP: 0010:f+0x1/0x2"],
                "RCU stall in f",
            ),
            (
                &[
                    "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000001: 0000 [#1]",
                    "KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]",
                    "RIP: 0010:f+0x1/0x2",
                ],
                "general protection fault in f",
            ),
            (
                &[
                    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
                    "RIP: 0010:f+0x1/0x2",
                ],
                "kernel NULL pointer dereference in f",
            ),
            (&["kernel BUG at fs/notify/mark.c:88!", "RIP: 0010:f+0x1/0x2"], "kernel BUG in f"),
            (&["WARNING: CPU: 0 PID: 40 at fs/notify/mark.c:88 f+0x1/0x2"], "WARNING in f"),
            (&["WARNING: fs/notify/mark.c:88 at f+0x1/0x2, CPU#0: init/40"], "WARNING in f"),
            (
                &["Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"],
                "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
            ),
            (
                &[
                    "BUG: spinlock bad magic on CPU#0, init/1",
                    " do_raw_spin_lock+0x1/0x2",
                    " f+0x1/0x2",
                ],
                "BUG: spinlock bad magic in f",
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(title(lines), *expected);
        }
    }
}

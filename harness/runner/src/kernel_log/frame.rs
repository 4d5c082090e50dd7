//! Functions in a report.

/// What stands between a bug and its report: checkers, allocators, locks and the scheduler. They
/// are on the stack whatever the bug is.
const PLUMBING: &[&str] = &[
    "dump_stack",
    "__dump_stack",
    "print_",
    "show_",
    "kasan_",
    "__kasan_",
    "__asan_",
    "check_memory_region",
    "kcsan_",
    "__tsan_",
    "ubsan_",
    "__ubsan_",
    "__sanitizer_",
    "ktime_get",
    "lock_acquire",
    "register_lock_class",
    "spin_bug",
    "__lock_acquire",
    "check_",
    "validate_chain",
    "_raw_",
    "__raw_",
    "do_raw_",
    "mutex_lock",
    "__mutex_lock",
    "down_read",
    "down_write",
    "__might_",
    "might_",
    "___might_",
    "__schedule",
    "schedule",
    "preempt_schedule",
    "wait_for_completion",
    "__wait_for_common",
    "refcount_",
    "__list_",
    "list_",
    "kmemleak_",
    "kmalloc",
    "__kmalloc",
    "kmem_cache_",
    "kfree",
    "___slab",
    "__slab",
    "slab_",
    "kvmalloc",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "__warn",
    "report_bug",
    "handle_bug",
    "exc_",
    "asm_",
    "asm_exc_",
    "rcu_lockdep",
    "lockdep_",
    "__debug_object",
    "__debug_check",
    "debug_",
    "panic",
    "die",
    "__die",
    "ret_from_fork",
];

/// The function that a stack line names: `fanotify_read+0x1a2/0x400`, also behind an address. What
/// the unwinder is not sure of (`? f+0x1/0x2`) counts as none.
pub(super) fn of_stack(line: &str) -> Option<&str> {
    of_symbol(stack_symbol(line)?)
}

/// All of what such a line says of it: `fanotify_read+0x1a2/0x400`.
pub(super) fn stack_symbol(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('?') {
        return None;
    }
    let word = line.strip_suffix(']').and_then(|it| it.rsplit_once(" [")).map_or(line, |it| it.0);
    let word = word.strip_prefix("[<").and_then(|it| it.split_once(">] ")).map_or(word, |it| it.1);
    of_symbol(word).map(|_| word)
}

/// Where a lock was taken, in lockdep's line about it: `#0: … (&group->lock){…}, at: f+0x1/0x2`.
pub(super) fn symbol_of_lock(line: &str) -> Option<&str> {
    let (_, place) = line.rsplit_once(", at: ")?;
    of_symbol(place.trim()).map(|_| place.trim())
}

/// Where the processor stood, in the line that tells: `RIP: 0010:f+0x1/0x2`, `BUG: KASAN: … in
/// f+0x1/0x2`.
pub(super) fn symbol_where_it_stood(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(registers) = line.strip_prefix("RIP: ") {
        let word = registers.split_once(':')?.1.split(' ').next()?;
        return of_symbol(word).map(|_| word);
    }
    let begins = ["BUG: ", "WARNING: "].iter().any(|word| line.starts_with(word));
    begins.then(|| line.split([' ', ',']).find(|word| of_symbol(word).is_some()))?
}

/// Whether with the line begins what a processor or task was doing.
pub(super) fn is_trace(line: &str) -> bool {
    let line = line.trim();
    line == "Call Trace:" || ["RIP: ", "backtrace"].iter().any(|word| line.starts_with(word))
}

/// Whether the trace of one of the accesses of a data race follows (`print_report` in kernel/kcsan/report.c).
pub(super) fn is_access_of_race(line: &str) -> bool {
    [" to 0x", " bytes by ", " on cpu "].iter().all(|part| line.contains(part))
}

/// The function of `f+0x1/0x2`. What the compiler made of it (`f.isra.0`) is the same function.
pub(super) fn of_symbol(word: &str) -> Option<&str> {
    let (name, rest) = word.split_once("+0x")?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    if name.is_empty() || !name.bytes().all(is_name) || !rest.contains("/0x") {
        return None;
    }
    Some(name.split('.').next().unwrap_or(name))
}

/// Whether the function stands between a bug and its report.
pub(super) fn is_plumbing(name: &str) -> bool {
    PLUMBING.iter().any(|prefix| name.starts_with(prefix))
}

/// Called between any two branches where the kernel has KCOV; it calls nothing.
const LEAF: &str = "__sanitizer_cov_trace_pc";

/// The lines, of a processor that stood in a function that calls nothing with its caller as a frame like others:
/// the first thing above it that looks like a return address is one, though the unwinder is not sure of it.
pub(super) fn with_callers_of_leaves<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut stood_in_leaf = false;
    let with_callers = lines.iter().map(|&line| {
        let frame = line.trim().trim_start_matches("? ");
        if line.trim().starts_with("RIP: ") {
            stood_in_leaf = symbol_where_it_stood(line).and_then(of_symbol) == Some(LEAF);
        } else if stood_in_leaf && of_symbol(frame).is_some() {
            stood_in_leaf = false;
            return frame;
        }
        line
    });
    with_callers.collect()
}

/// The function in which a report says that it happened: where the processor stood, unless that is
/// plumbing, else the innermost on the stack that is none.
pub(super) fn culprit<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let registers = |line: &&&str| line.trim().starts_with("RIP: ");
    let stood = lines.iter().filter(registers).find_map(|line| symbol_where_it_stood(line));
    let stood = stood.and_then(of_symbol);
    let own = |name: &&str| !is_plumbing(name);
    let frames = with_callers_of_leaves(lines);
    stood.filter(own).or_else(|| frames.into_iter().filter_map(of_stack).find(own)).or(stood)
}

/// The same where an interrupt has only found it: what the interrupt itself does is left out, and how the
/// task was preempted behind it.
pub(super) fn interrupted<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let mut within = false;
    let of_task = lines.iter().filter(|line| {
        let line = line.trim();
        within = (within || line == "<IRQ>") && line != "</IRQ>";
        !within
    });
    let of_task: Vec<&str> = of_task.copied().collect();
    let is_entry = |name: &str| name.starts_with("asm_sysvec_") || name == "asm_common_interrupt";
    let entry = of_task.iter().rposition(|line| of_stack(line).is_some_and(is_entry));
    entry.and_then(|entry| culprit(&of_task[entry + 1..])).or_else(|| culprit(&of_task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_names_a_function() {
        assert_eq!(of_stack("  fanotify_read+0x1a2/0x400"), Some("fanotify_read"));
        assert_eq!(of_stack(" a.isra.0+0x1/0x2"), Some("a"));
        assert_eq!(of_stack(" a.cold+0x1/0x2 [module]"), Some("a"));
        assert_eq!(of_stack(" [<ffffffff81000000>] a+0x1/0x2"), Some("a"));
        assert_eq!(of_stack(" ? a+0x1/0x2"), None);
        assert_eq!(of_stack("Modules linked in:"), None);
        assert_eq!(of_stack("BUG: x in a+0x1/0x2"), None);
        assert_eq!(of_stack("]"), None);
    }

    #[test]
    fn what_stands_in_between_is_no_culprit() {
        let lines = [
            "RIP: 0010:refcount_warn_saturate+0x1/0x2",
            " refcount_warn_saturate+0x1/0x2",
            " fsnotify_put_group+0x1/0x2",
        ];
        assert_eq!(culprit(&lines), Some("fsnotify_put_group"));
        assert_eq!(culprit(&lines[..1]), Some("refcount_warn_saturate"));
        assert_eq!(culprit(&["RIP: 0010:a+0x1/0x2 extra"]), Some("a"));
        assert_eq!(culprit(&[]), None);
    }

    #[test]
    fn an_interrupt_that_looks_around_is_no_culprit() {
        let lines = [
            "Call Trace:",
            " <IRQ>",
            " sched_show_task+0x1/0x2",
            " </IRQ>",
            " <TASK>",
            " asm_sysvec_apic_timer_interrupt+0x1/0x2",
            "RIP: 0010:ktime_get+0x1/0x2",
            " fanotify_read+0x1/0x2",
        ];
        assert_eq!(interrupted(&lines), Some("fanotify_read"));
    }

    #[test]
    fn a_task_that_was_preempted_stands_where_it_was_interrupted() {
        let lines = [
            "Call Trace:",
            " <TASK>",
            " __schedule+0x1/0x2",
            " preempt_schedule_irq+0x1/0x2",
            " irqentry_exit+0x1/0x2",
            " sysvec_apic_timer_interrupt+0x1/0x2",
            " asm_sysvec_apic_timer_interrupt+0x1/0x2",
            "RIP: 0010:__sanitizer_cov_trace_pc+0x1/0x70",
            "Code: ce 5b 01",
            "RSP: 0018:ffffc90000427d40 EFLAGS: 00000293",
            " ? fanotify_read+0x1/0x2",
            " ? fanotify_poll+0x1/0x2",
            " vfs_read+0x1/0x2",
        ];
        assert_eq!(interrupted(&lines), Some("fanotify_read"));
        assert_eq!(interrupted(&lines[..7]), Some("irqentry_exit"));
    }
}

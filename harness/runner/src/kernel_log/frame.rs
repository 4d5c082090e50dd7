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

/// The function in which a report says that it happened: where the processor stood, unless that is
/// plumbing, else the innermost on the stack that is none.
pub(super) fn culprit<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let registers = |line: &&&str| line.trim().starts_with("RIP: ");
    let stood = lines.iter().filter(registers).find_map(|line| symbol_where_it_stood(line));
    let stood = stood.and_then(of_symbol);
    let own = |name: &&str| !is_plumbing(name);
    stood.filter(own).or_else(|| lines.iter().filter_map(|line| of_stack(line)).find(own)).or(stood)
}

/// The same where an interrupt has only found it: what the interrupt itself does is left out.
pub(super) fn interrupted<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let mut within = false;
    let of_task = lines.iter().filter(|line| {
        let line = line.trim();
        within = (within || line == "<IRQ>") && line != "</IRQ>";
        !within
    });
    culprit(&of_task.copied().collect::<Vec<_>>())
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
}

//! Kinds of reports, and how they begin and end.

/// A checker's way of reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Memory that is not there, freed or not initialized (mm/kasan/report.c).
    Kasan,
    /// Two accesses without an order (kernel/kcsan/report.c).
    Kcsan,
    /// Undefined behaviour (lib/ubsan.c).
    Ubsan,
    /// An order of locks, or a context in which one is taken (kernel/locking/lockdep.c).
    Lockdep,
    /// A call that may sleep where it must not, or a task that gave up the processor there
    /// (kernel/sched/core.c).
    Atomic,
    /// A list whose neighbours do not agree (lib/list_debug.c).
    List,
    /// A count of references that cannot be right (lib/refcount.c).
    Refcount,
    /// A timer or the like that is used or freed in a state in which it must not be
    /// (lib/debugobjects.c).
    Object,
    /// Objects that nothing refers to (mm/kmemleak.c).
    Leak,
    /// A task that waits too long (kernel/hung_task.c).
    Hung,
    /// A processor on which nothing else runs (kernel/watchdog.c).
    Lockup,
    /// A grace period that does not end (kernel/rcu/tree_stall.h).
    Stall,
    /// A fault in the kernel itself (arch/x86/mm/fault.c, arch/x86/kernel/traps.c).
    Fault,
    /// `BUG()` (lib/bug.c).
    Bug,
    /// `WARN()` (kernel/panic.c).
    Warning,
    /// The end, if nothing told why (kernel/panic.c).
    Panic,
}

/// What the first line of a report contains. The first that fits tells the kind.
const SIGNS: &[(&str, Kind)] = &[
    ("KASAN: maybe", Kind::Fault),
    ("KASAN: null-ptr-deref", Kind::Fault),
    ("KASAN: ", Kind::Kasan),
    ("KCSAN: ", Kind::Kcsan),
    ("UBSAN: ", Kind::Ubsan),
    ("WARNING: possible ", Kind::Lockdep),
    ("WARNING: suspicious RCU usage", Kind::Lockdep),
    ("WARNING: bad unlock balance", Kind::Lockdep),
    ("WARNING: lock held when returning", Kind::Lockdep),
    ("WARNING: held lock freed", Kind::Lockdep),
    ("WARNING: Nested lock was not taken", Kind::Lockdep),
    ("WARNING: inconsistent lock state", Kind::Lockdep),
    ("BUG: Invalid wait context", Kind::Lockdep),
    ("[ BUG: ", Kind::Lockdep),
    ("INFO: trying to register non-static key", Kind::Lockdep),
    ("BUG: sleeping function called from invalid context", Kind::Atomic),
    ("BUG: scheduling while atomic", Kind::Atomic),
    ("list_add corruption", Kind::List),
    ("list_add double add", Kind::List),
    ("list_del corruption", Kind::List),
    ("refcount_t: ", Kind::Refcount),
    (" (active state ", Kind::Object),
    ("kmemleak: ", Kind::Leak),
    ("unreferenced object ", Kind::Leak),
    ("INFO: task ", Kind::Hung),
    ("soft lockup", Kind::Lockup),
    ("hard LOCKUP", Kind::Lockup),
    ("INFO: rcu", Kind::Stall),
    ("rcu: INFO: ", Kind::Stall),
    ("general protection fault", Kind::Fault),
    ("BUG: kernel NULL pointer dereference", Kind::Fault),
    ("BUG: unable to handle ", Kind::Fault),
    ("Unable to handle kernel", Kind::Fault),
    ("double fault", Kind::Fault),
    ("stack-protector: ", Kind::Fault),
    ("Oops: ", Kind::Fault),
    ("kernel BUG at ", Kind::Bug),
    ("BUG: ", Kind::Bug),
    ("WARNING: ", Kind::Warning),
    ("Kernel panic", Kind::Panic),
];

/// Lines that look like reports and say that a checker has started.
const HARMLESS: &[&str] =
    &["kmemleak: Kernel memory leak detector initialized", "kmemleak: Automatic memory scanning"];

/// Lines with which other reports go on.
const CONSEQUENCES: &[&str] =
    &["Kernel panic", "Oops: ", "kernel BUG at lib/list_debug.c", "KASAN: "];

impl Kind {
    /// The kind of report that begins with the line, if one does.
    pub fn of(message: &str) -> Option<Self> {
        let sign = SIGNS.iter().find(|(sign, _)| message.contains(sign));
        let is_harmless = || HARMLESS.iter().any(|text| message.contains(text));
        sign.filter(|_| !is_harmless()).map(|(_, kind)| *kind)
    }

    /// Whether a report of this kind, of so many lines so far, goes on with a line that looks like the
    /// beginning of another.
    pub fn goes_on(self, message: &str, lines: usize) -> bool {
        let consequence = CONSEQUENCES.iter().any(|text| message.contains(text));
        // `WARN()` prints its words first (`__warn_printk` in kernel/panic.c).
        let has_words = matches!(self, Self::List | Self::Refcount | Self::Object) && lines == 1;
        (consequence && !message.contains("BUG: KASAN: "))
            || (has_words && Self::of(message) == Some(Self::Warning))
    }

    /// Whether every line that looks like the beginning of such a report is one, also within another of them that
    /// is cut short.
    pub fn begins_each_time(self) -> bool {
        matches!(self, Self::Kasan | Self::Kcsan)
    }

    /// Whether with this line somebody else begins to say their part of a report of this kind: of a
    /// processor that does not move another one asks where it stands (lib/nmi_backtrace.c).
    pub fn is_told_by_others_too(self, message: &str) -> bool {
        matches!(self, Self::Stall | Self::Lockup) && message.starts_with("NMI backtrace for cpu ")
    }

    /// Whether a report of this kind ends with its n-th line.
    pub fn ends_with(self, message: &str, number: usize) -> bool {
        match self {
            Self::Kasan | Self::Kcsan => number > 1 && is_rule(message),
            Self::Lockdep | Self::Hung | Self::Atomic => message.trim() == "</TASK>",
            Self::Leak => false,
            Self::Panic => message.starts_with("---[ end Kernel panic"),
            _ => message.starts_with("---[ end "),
        }
    }
}

/// Whether the line is one of equal signs.
fn is_rule(message: &str) -> bool {
    message.len() > 20 && message.bytes().all(|byte| byte == b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_sign_tells_the_kind() {
        let kind = |text| Kind::of(text).expect("a report");
        assert_eq!(kind("BUG: KASAN: slab-use-after-free in a+0x1/0x2"), Kind::Kasan);
        assert_eq!(kind("BUG: KCSAN: data-race in a / b"), Kind::Kcsan);
        assert_eq!(kind("WARNING: possible recursive locking detected"), Kind::Lockdep);
        assert_eq!(kind("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]"), Kind::Lockup);
        assert_eq!(kind("WARNING: fs/a.c:1 at b+0x1/0x2, CPU#0: c/1"), Kind::Warning);
        assert_eq!(kind("BUG: spinlock bad magic on CPU#0, a/1"), Kind::Bug);
        assert_eq!(Kind::of("kmemleak: Automatic memory scanning thread started"), None);
    }
}

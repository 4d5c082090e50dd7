//! What things are called in C.

use bitflags::Flags;
use refan_abi::{Errno, EventMask, FdFlags, InitFlags, MarkFlags, OpenFlags, Response};
use refan_program::{Fd, Path, PathKind, Program, Task, Var};

/// Words that C has a use for, or the program itself.
const TAKEN: [&str; 50] = [
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else",
    "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register",
    "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef",
    "union", "unsigned", "void", "volatile", "while", "asm", "typeof", "verdict", "why", "history",
    "steps", "files", "pids", "ended", "signaled", "orders", "latest", "round", "shift",
    "branches", "armed",
];

/// The member that holds what a variable does.
pub(super) fn member(program: &Program, var: Var) -> String {
    let name = program.var_name(var);
    if TAKEN.contains(&name) || name == "instant" || name == "linux" || name == "unix" {
        format!("{name}_")
    } else {
        name.to_owned()
    }
}

/// An fd as an expression.
pub(super) fn fd(program: &Program, fd: Fd) -> String {
    match fd {
        Fd::Var(var) => format!("v->{}", member(program, var)),
        Fd::Number(number) => number.to_string(),
    }
}

/// A task's constant.
pub(super) fn task(program: &Program, task: Task) -> String {
    format!("task_{}", program.task_name(task))
}

/// A path's constant.
pub(super) fn path(path: Path) -> String {
    let name = path.to_string().to_uppercase();
    match path.kind {
        PathKind::Child => format!("PATH_{}", name.replace('/', "_")),
        _ => format!("PATH_{name}"),
    }
}

/// A string literal.
pub(super) fn literal(text: &str) -> String {
    let mut literal = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal += "\\n",
            ' '..='~' => literal.push(c),
            // Three octal digits end the escape, whatever follows.
            _ => c.to_string().bytes().for_each(|byte| literal += &format!("\\{byte:03o}")),
        }
    }
    literal + "\""
}

fn words<F: Flags>(flags: F, zero: &str, prefix: &str, bits: impl Fn(F) -> u64) -> String {
    let mut rest = bits(F::from_bits_retain(flags.bits()));
    let mut words = Vec::new();
    if !zero.is_empty() {
        words.push(zero.to_owned());
    }
    for (name, flag) in flags.iter_names() {
        words.push(format!("{prefix}{name}"));
        rest &= !bits(flag);
    }
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    if words.is_empty() { "0".to_owned() } else { words.join(" | ") }
}

/// Flags of `fanotify_init()`; the one under test is called as the API profile has it.
pub(super) fn init(flags: InitFlags, under_test: &str) -> String {
    let zero = if flags.intersects(InitFlags::CLASS) { "" } else { "FAN_CLASS_NOTIF" };
    words(flags, zero, "FAN_", |flags| flags.bits())
        .replace(&format!("FAN_{UNDER_TEST}"), under_test)
}

/// What the flag under test is called whatever its profile.
const UNDER_TEST: &str = "RESTARTABLE";

pub(super) fn mark(flags: MarkFlags) -> String {
    words(flags, "", "FAN_MARK_", |flags| flags.bits().into())
}

pub(super) fn mask(mask: EventMask) -> String {
    words(mask, "", "FAN_", |mask| mask.bits())
}

pub(super) fn open(flags: OpenFlags) -> String {
    let zero = if flags.intersects(OpenFlags::ACCMODE) { "" } else { "O_RDONLY" };
    words(flags, zero, "", |flags| flags.bits().into())
}

/// Status flags, among which the access mode is none.
pub(super) fn status(flags: OpenFlags) -> String {
    words(flags, "", "", |flags| flags.bits().into())
}

pub(super) fn fd_flags(flags: FdFlags) -> String {
    words(flags, "", "FD_", |flags| flags.bits().into())
}

pub(super) fn response(response: Response) -> String {
    let plain = words(response.without_errno(), "", "FAN_", |flags| flags.bits().into());
    match response.errno() {
        None => plain,
        Some(Errno(number)) => {
            let errno = Errno(number).to_string();
            let number = if errno.starts_with('E') { errno } else { format!("{number}u") };
            // FAN_DENY_ERRNO() of newer headers.
            format!("{plain} | ({number} << 24)")
        }
    }
}

/// What headers of some years ago lack: names and values.
pub(super) const NEW: [(&str, &str); 20] = [
    ("FAN_REPORT_PIDFD", "0x00000080"),
    ("FAN_REPORT_NAME", "0x00000800"),
    ("FAN_REPORT_DIR_FID", "0x00000400"),
    ("FAN_REPORT_TARGET_FID", "0x00001000"),
    ("FAN_REPORT_FD_ERROR", "0x00002000"),
    ("FAN_REPORT_MNT", "0x00004000"),
    ("FAN_MARK_EVICTABLE", "0x00000200"),
    ("FAN_MARK_IGNORE", "0x00000400"),
    ("FAN_FS_ERROR", "0x00008000"),
    ("FAN_RENAME", "0x10000000"),
    ("FAN_PRE_ACCESS", "0x00100000"),
    ("FAN_EVENT_INFO_TYPE_PIDFD", "4"),
    ("FAN_EVENT_INFO_TYPE_RANGE", "6"),
    ("FAN_INFO", "0x20"),
    ("FAN_AUDIT", "0x10"),
    ("SYS_userfaultfd", "323"),
    ("SYS_pidfd_open", "434"),
    ("SYS_pidfd_getfd", "438"),
    ("UFFD_API", "((__u64)0xAA)"),
    ("SCHED_RESET_ON_FORK", "0x40000000"),
];

//! What fdinfo shows of a group: `fanotify_show_fdinfo` in fs/notify/fdinfo.c.

use refan_abi::{Errno, InitFlags, MarkFlags};
use refan_program::Task;

use crate::context::Context;
use crate::mark::{Mark, On};
use crate::rules::{C4, MAINLINE, Q3};
use crate::state::{FileKind, GroupNo, State};
use crate::violation::Allowed;
use crate::{Seen, Stop};

impl State {
    /// The lines of `/proc/self/fdinfo/N` that begin with `fanotify`.
    pub(crate) fn fdinfo(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        if self.fds_left(task) == Some(0) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EMFILE));
        }
        let (rule, group) = match self.file(task, fd).map(|(_, file)| &file.kind) {
            None => return self.finish(cx, task, MAINLINE, &fail(Errno::ENOENT)),
            Some(FileKind::Control(group)) => (C4, Some(*group)),
            Some(FileKind::Classic(group)) => (MAINLINE, Some(*group)),
            Some(FileKind::Queue(_)) => (Q3, None),
            Some(_) => (MAINLINE, None),
        };
        let expected = group.map_or_else(Vec::new, |group| self.lines(cx, group));
        self.foresee(cx, task, 0, Seen::Text(expected.join("\n")));
        let back = cx.returns(self, task, rule, &[Allowed::Value(0)])?;
        let text = match &back.data {
            Seen::Text(text) => text.as_str(),
            _ => "",
        };
        let seen: Vec<&str> = text.lines().collect();
        // Marks stand in no particular order, and a mark's line goes on with a file handle.
        let mut left = seen.clone();
        for line in &expected {
            let at = left.iter().position(|seen| {
                seen.strip_prefix(line.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
                    || (line.contains("*") && matches_unknown(line, seen))
            });
            let Some(at) = at else {
                return Err(cx.broken(rule, expected.join("; "), seen.join("; ")));
            };
            left.remove(at);
        }
        if !left.is_empty() {
            let none = || "no fanotify lines".to_owned();
            let expected = if expected.is_empty() { none() } else { expected.join("; ") };
            return Err(cx.broken(rule, expected, seen.join("; ")));
        }
        self.leave(cx, task)
    }

    fn lines(&self, cx: &Context<'_>, group: GroupNo) -> Vec<String> {
        let of = self.group(group);
        // FANOTIFY_INIT_FLAGS leaves FAN_ENABLE_AUDIT out.
        let audit = InitFlags::ENABLE_AUDIT.bits() as u32;
        let first = format!(
            "fanotify flags:{:x} event-flags:{:x}",
            of.flag_bits & !audit,
            of.event_flags.bits()
        );
        std::iter::once(first).chain(of.marks.iter().map(|mark| mark_line(cx, mark))).collect()
    }
}

/// A mark's line up to its file handle; `*` stands for what the program does not tell.
fn mark_line(cx: &Context<'_>, mark: &Mark) -> String {
    let mut flags = MarkFlags::empty();
    flags.set(MarkFlags::IGNORED_SURV_MODIFY, mark.survives_modify);
    flags.set(MarkFlags::EVICTABLE, mark.evictable);
    flags.set(MarkFlags::IGNORE, mark.ignore_flags);
    let place = match mark.on {
        On::Inode(inode) => match cx.number_of(inode) {
            Some(number) => format!("ino:{number:x} sdev:*"),
            None => "ino:* sdev:*".to_owned(),
        },
        On::Mount(_) => "mnt_id:*".to_owned(),
        On::Super(_) => "sdev:*".to_owned(),
    };
    format!(
        "fanotify {place} mflags:{:x} mask:{:x} ignored_mask:{:x}",
        flags.bits(),
        mark.mask.bits(),
        mark.ignored.bits()
    )
}

/// Whether the seen line is the expected one, word by word, where a `*` ends a word of any end.
fn matches_unknown(expected: &str, seen: &str) -> bool {
    let mut seen = seen.split(' ');
    expected.split(' ').all(|word| {
        let Some(seen) = seen.next() else { return false };
        match word.strip_suffix('*') {
            Some(start) => seen.starts_with(start),
            None => word == seen,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::matches_unknown;

    #[test]
    fn a_star_ends_a_word() {
        let line = "fanotify ino:2a sdev:* mflags:0 mask:10000 ignored_mask:0";
        let seen = "fanotify ino:2a sdev:19 mflags:0 mask:10000 ignored_mask:0 fhandle-bytes:c";
        assert!(matches_unknown(line, seen));
        assert!(!matches_unknown(line, &seen.replace("10000", "20000")));
        assert!(!matches_unknown(line, "fanotify ino:2a"));
    }
}

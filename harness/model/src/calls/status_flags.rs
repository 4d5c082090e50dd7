//! The status flags of open files.

use refan_abi::{Errno, OpenFlags};
use refan_program::{PathKind, Rule, Task};

use crate::access::DIRECT;
use crate::context::Context;
use crate::rules::{MAINLINE, Q1};
use crate::state::{FileKind, FileNo, State};
use crate::violation::Allowed;
use crate::{Seen, Stop};

/// `SETFL_MASK` of fs/fcntl.c, with `O_DIRECT`.
const SETTABLE: OpenFlags =
    OpenFlags::O_APPEND.union(OpenFlags::O_NONBLOCK).union(OpenFlags::O_NOATIME).union(DIRECT);

/// Flags that `F_GETFL` shows and that say something: no O_CLOEXEC, which only event fds show, no
/// O_LARGEFILE, which the kernel adds, and none that newer kernels have and older ones drop.
const SHOWN: OpenFlags = OpenFlags::ACCMODE
    .union(SETTABLE)
    .union(OpenFlags::O_DSYNC)
    .union(OpenFlags::O_DIRECTORY)
    .union(OpenFlags::O_NOFOLLOW)
    .union(OpenFlags::O_PATH);

impl State {
    pub(super) fn rule_of_flags(&self, file: Option<FileNo>) -> Rule {
        match file.and_then(|file| self.files.get(&file)).map(|file| &file.kind) {
            Some(FileKind::Control(_)) => crate::rules::CONTROL_FLAGS,
            Some(FileKind::Queue(_)) => Q1,
            _ => MAINLINE,
        }
    }

    pub(super) fn getfl(&mut self, cx: &mut Context<'_>, task: Task, fd: i32) -> Result<(), Stop> {
        let Some((number, file)) = self.file(task, fd) else {
            return self.finish(cx, task, MAINLINE, &[Allowed::Errno(Errno::EBADF)]);
        };
        let rule = self.rule_of_flags(Some(number));
        let expected = file.status.bits() & SHOWN.bits();
        self.foresee(cx, task, expected.into(), Seen::Nothing);
        let back = cx.returns(self, task, rule, &[Allowed::Any])?;
        if u32::try_from(back.value).ok().map(|flags| flags & SHOWN.bits()) != Some(expected) {
            return Err(cx.broken(rule, flags_text(expected), flags_text(back.value as u32)));
        }
        self.leave(cx, task)
    }

    pub(super) fn setfl(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        flags: OpenFlags,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some((number, file)) = self.file(task, fd).map(|(number, file)| (number, file.clone()))
        else {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        };
        if matches!(file.kind, FileKind::Handle(_)) {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        }
        let rule = self.rule_of_flags(Some(number));
        // Only the owner may, who is root but of sockets.
        let adds_noatime = (flags - file.status).contains(OpenFlags::O_NOATIME);
        if self.task(task).uid != 0 && adds_noatime {
            let allowed = [Allowed::Errno(Errno::EPERM), Allowed::Value(0)];
            let may_own = file.kind == FileKind::Socket;
            let back = cx.returns(self, task, rule, &allowed[..1 + usize::from(may_own)])?;
            if back.value < 0 {
                return self.leave(cx, task);
            }
        }
        let takes_direct =
            matches!(file.kind, FileKind::File { path, .. } if path.kind != PathKind::Dir);
        if flags.contains(DIRECT) && !takes_direct {
            // FMODE_CAN_ODIRECT
            return self.finish(cx, task, rule, &fail(Errno::EINVAL));
        }
        if let Some(file) = self.files.get_mut(&number) {
            file.status = (flags & SETTABLE) | (file.status - SETTABLE);
        }
        self.finish(cx, task, rule, &[Allowed::Value(0)])
    }
}

fn flags_text(bits: u32) -> String {
    let flags = OpenFlags::from_bits_retain(bits);
    let mut names: Vec<String> = flags
        .iter_names()
        .filter(|(_, flag)| !flag.is_empty())
        .map(|(name, _)| name.to_owned())
        .collect();
    if (flags & OpenFlags::ACCMODE).is_empty() {
        names.insert(0, "O_RDONLY".to_owned());
    }
    names.join(" | ")
}

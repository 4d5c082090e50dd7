//! Groups and their queues come to be.

use refan_abi::{Errno, InitFlags, OpenFlags};
use refan_program::{Rule, Task};

use crate::Stop;
use crate::context::Context;
use crate::group::Init;
use crate::rules::{C2, I1, I3, MAINLINE};
use crate::state::{FileKind, GroupNo, State};
use crate::violation::Allowed;

impl State {
    pub(super) fn make_group(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        flags: InitFlags,
        event_flags: OpenFlags,
    ) -> Result<(), Stop> {
        let (rule, group, errors) = match self.init(cx.kernel, task, flags, event_flags) {
            Init::Only(rule, allowed) => return self.finish(cx, task, rule, &allowed),
            Init::Made(rule, group, errors) => (rule, group, errors),
        };
        let allowed: Vec<Allowed> = [Allowed::Fd].into_iter().chain(errors).collect();
        // A success or failure that is not allowed breaks I1, or I3 where limits decide.
        let full = cx.peek_of(self, task).is_some_and(|back| back.is(Errno::EMFILE));
        let refusal = match group.restartable {
            true if full => I3,
            true => I1,
            false => rule,
        };
        let back = cx.returns(self, task, refusal, &allowed)?;
        let audits = flags.contains(InitFlags::ENABLE_AUDIT);
        if let Some(errno) = Errno::from_return(back.value) {
            if audits && errno == Errno::EINVAL {
                self.audit = Some(false);
            }
            return self.leave(cx, task);
        }
        if audits {
            self.audit = Some(true);
        }
        let number = GroupNo(self.groups.len());
        let nonblock = if flags.contains(InitFlags::NONBLOCK) {
            OpenFlags::O_NONBLOCK
        } else {
            OpenFlags::empty()
        };
        let (kind, status) = if group.restartable {
            (FileKind::Control(number), OpenFlags::O_RDONLY)
        } else {
            (FileKind::Classic(number), OpenFlags::O_RDWR | nonblock)
        };
        self.groups.push(*group);
        let file = self.add_file(task, kind, status);
        self.install(task, back.value as i32, file, flags.contains(InitFlags::CLOEXEC));
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }

    pub(super) fn open_queue(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        rule: Rule,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let group = match self.file(task, fd).map(|(_, file)| &file.kind) {
            None | Some(FileKind::Handle(_)) => {
                return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
            }
            Some(FileKind::Control(group)) => *group,
            Some(FileKind::Classic(_) | FileKind::Queue(_)) => {
                return self.finish(cx, task, C2, &fail(Errno::ENOTTY));
            }
            Some(_) => return self.finish(cx, task, MAINLINE, &fail(Errno::ENOTTY)),
        };
        let full = self.fds_left(task) == Some(0);
        if self.group(group).queue.is_some() {
            let errors = [Errno::EBUSY, Errno::EMFILE].map(Allowed::Errno);
            return self.finish(cx, task, rule, &errors[..1 + usize::from(full)]);
        }
        if full {
            return self.finish(cx, task, rule, &fail(Errno::EMFILE));
        }
        let back = cx.returns(self, task, rule, &[Allowed::Fd])?;
        let flags = self.group(group).flags;
        let nonblock = if flags.contains(InitFlags::NONBLOCK) {
            OpenFlags::O_NONBLOCK
        } else {
            OpenFlags::empty()
        };
        let file = self.add_file(task, FileKind::Queue(group), OpenFlags::O_RDWR | nonblock);
        self.group_mut(group).queue = Some(file);
        self.install(task, back.value as i32, file, flags.contains(InitFlags::CLOEXEC));
        self.bind_fd(cx, task, back.value as i32);
        self.leave(cx, task)
    }
}

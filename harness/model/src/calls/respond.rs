//! Responses, and what else is written.

use refan_abi::{AuditRule, Errno, InitFlags, RESPONSE_LEN, Response};
use refan_program::{PathKind, Task};

use super::refused_at_position;
use crate::Stop;
use crate::access::Direction;
use crate::context::Context;
use crate::group::Class;
use crate::latest::Latest;
use crate::rules::{A1, C1, K3, MAINLINE, Q6, R3, R4, S2};
use crate::state::{Answer, FileKind, GroupNo, State};
use crate::violation::Allowed;

/// A response as a call writes it.
#[derive(Clone, Copy)]
pub(super) struct Written {
    event: i32,
    response: Response,
    /// Bytes that the call is told of, and how many of them are memory.
    len: usize,
    good: usize,
}

impl Written {
    pub(super) fn new(
        event: i32,
        response: Response,
        size: Option<u32>,
        good: Option<u32>,
    ) -> Self {
        let info = if response.contains(Response::INFO) { AuditRule::LEN } else { 0 };
        let len = size.map_or(RESPONSE_LEN + info, |size| size as usize);
        let good = good.map_or(len, |good| len.min(good as usize));
        Self { event, response, len, good }
    }

    /// The bytes, zeros beyond the response's end.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.event.to_ne_bytes().to_vec();
        bytes.extend(self.response.bits().to_ne_bytes());
        if self.response.contains(Response::INFO) {
            let rule = AuditRule { rule_number: 0, subject_trust: 0, object_trust: 0 };
            bytes.extend(rule.to_bytes());
        }
        bytes.resize(self.len, 0);
        bytes
    }
}

impl State {
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        fd: i32,
        written: Written,
    ) -> Result<(), Stop> {
        let fail = |errno| [Allowed::Errno(errno)];
        let Some((number, file)) = self.file(task, fd) else {
            return self.finish(cx, task, MAINLINE, &fail(Errno::EBADF));
        };
        match file.kind {
            FileKind::Control(_) => self.finish(cx, task, C1, &fail(Errno::EBADF)),
            FileKind::Classic(group) | FileKind::Queue(group) => {
                self.respond(cx, task, group, written)
            }
            FileKind::File { path, .. }
                if (!file.writable() || path.kind == PathKind::Dir)
                    && self.position_is_held(number) =>
            {
                Err(refused_at_position())
            }
            // generic_read_dir() has no counterpart: a directory lacks FMODE_CAN_WRITE.
            FileKind::File { path, .. } if file.writable() && path.kind == PathKind::Dir => {
                self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL))
            }
            FileKind::File { .. } if file.writable() => {
                self.set_rule(task, A1);
                let write = Direction::Write { bytes: written.bytes(), good: written.good };
                self.transfer(cx, task, number, write, true)
            }
            FileKind::Pidfd => self.finish(cx, task, MAINLINE, &fail(Errno::EINVAL)),
            FileKind::Socket => self.write_socket(cx, task, number, written.len, written.good),
            FileKind::File { .. } | FileKind::Handle(_) => {
                self.finish(cx, task, MAINLINE, &fail(Errno::EBADF))
            }
        }
    }

    /// `process_access_response` in fs/notify/fanotify/fanotify_user.c.
    pub(super) fn respond(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        group: GroupNo,
        written: Written,
    ) -> Result<(), Stop> {
        let Written { event: fd, response, len, good } = written;
        let of = self.group(group);
        let rule = if of.restartable { Q6 } else { MAINLINE };
        if len >= RESPONSE_LEN && good < RESPONSE_LEN {
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
        }
        let decision = response & (Response::ALLOW | Response::DENY);
        let known = Response::ALLOW | Response::DENY | Response::AUDIT | Response::INFO;
        let errno = response.errno();
        const ERRNOS: [Errno; 7] = [
            Errno::EIO,
            Errno::EPERM,
            Errno::EBUSY,
            Errno::ETXTBSY,
            Errno::EAGAIN,
            Errno::ENOSPC,
            Errno::EDQUOT,
        ];
        let well_formed = len >= RESPONSE_LEN
            && (response.without_errno() - known).is_empty()
            && match (decision, errno) {
                (Response::ALLOW, errno) => errno.is_none(),
                (Response::DENY, None) => true,
                (Response::DENY, Some(errno)) => {
                    of.class == Class::PreContent && ERRNOS.contains(&errno)
                }
                _ => false,
            }
            && (!response.contains(Response::AUDIT) || of.flags.contains(InitFlags::ENABLE_AUDIT))
            && (!response.contains(Response::INFO) || len == RESPONSE_LEN + AuditRule::LEN);
        if well_formed && good < len {
            // The info record is fetched before the number is looked at.
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EFAULT)]);
        }
        let answers_nothing = response.contains(Response::INFO) && fd == refan_abi::NO_FD;
        if !well_formed || (fd < 0 && !answers_nothing) {
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::EINVAL)]);
        }
        let written =
            RESPONSE_LEN + if response.contains(Response::INFO) { AuditRule::LEN } else { 0 };
        let written = Allowed::Value(written as i64);
        let down = of.restartable && of.down;
        if answers_nothing {
            // S2 makes every well-formed write ENOENT, this one never looked for an event.
            let allowed = [written, Allowed::Errno(Errno::ENOENT)];
            return self.finish(cx, task, rule, &allowed[..1 + usize::from(down)]);
        }
        // A group that has stopped may still have events that it has not allowed yet.
        let Some(at) = of.pending.iter().position(|pending| pending.fd == fd) else {
            let answers = cx.peek_of(self, task).is_some_and(|back| back.value >= 0);
            let rule = match rule {
                Q6 if down => S2,
                Q6 if answers && of.void_fds.contains(&fd) => R4,
                Q6 if answers && self.vars.contains(&fd) => R3,
                rule => rule,
            };
            return self.finish(cx, task, rule, &[Allowed::Errno(Errno::ENOENT)]);
        };
        let canceled = self.events.get(&of.pending[at].event).is_some_and(|event| event.canceled);
        let rule = if canceled && of.restartable { K3 } else { rule };
        cx.returns(self, task, rule, &[written])?;
        let of = self.group_mut(group);
        of.answers = Latest::by(R3);
        let event = of.pending.remove(at).event;
        let answer = match decision {
            Response::ALLOW => Answer::allow(rule),
            _ => Answer::deny(errno.unwrap_or(Errno::EPERM), rule),
        };
        self.answer(event, answer);
        self.leave(cx, task)
    }
}

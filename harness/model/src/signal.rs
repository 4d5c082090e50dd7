//! Signals other than SIGKILL (K1, Q4).
//!
//! A task handles one when its call is over. Of the sleeps here only that of a reader is
//! interruptible: an accessor waits killably (`fanotify_get_response` in fs/notify/fanotify/fanotify.c),
//! and whoever waits for a file's position (`fdget_pos` in fs/file.c) or closes a group waits for
//! nothing else.

use refan_abi::{Errno, OpenFlags};
use refan_program::Task;

use crate::Stop;
use crate::context::Context;
use crate::rules::{MAINLINE, Q4};
use crate::state::{At, Life, Reading, State};
use crate::violation::Allowed;

impl State {
    /// `signal(a)`: the task sends it to another, or to itself.
    pub(crate) fn signal(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        to: Task,
        restart: bool,
    ) -> Result<(), Stop> {
        let mut allowed = vec![Allowed::Value(0)];
        if !self.is_admin(task) {
            // It is a matter of both users (kill_ok_by_cred in kernel/signal.c).
            allowed.push(Allowed::Errno(Errno::EPERM));
        }
        let back = cx.returns(self, task, MAINLINE, &allowed)?;
        let sent = back.value == 0;
        self.leave(cx, task)?;
        if sent && to != task && self.task(to).life != Life::Ended {
            self.is_signaled(cx, to, restart)?;
        }
        Ok(())
    }

    fn is_signaled(&mut self, cx: &mut Context<'_>, to: Task, restart: bool) -> Result<(), Stop> {
        match self.task(to).call.as_ref().map(|call| call.at.clone()) {
            // It handles it at once, and sleeps on.
            None => Ok(()),
            // What it executes has no handler.
            Some(At::Waiting) => self.die(cx, to),
            Some(At::Reading(reading)) => self.interrupt(cx, to, &reading, restart),
            Some(_) => {
                self.task_mut(to).signaled = true;
                Ok(())
            }
        }
    }

    /// A reader of an empty queue is woken: it looks at its file's flags anew, and then the call ends
    /// or is begun anew, which comes to the same as to sleep on.
    fn interrupt(
        &mut self,
        cx: &mut Context<'_>,
        reader: Task,
        reading: &Reading,
        restart: bool,
    ) -> Result<(), Stop> {
        let rule = if self.group(reading.group).restartable { Q4 } else { MAINLINE };
        let flags = self.files.get(&reading.file).map(|file| file.status);
        let error = if flags.is_some_and(|flags| flags.contains(OpenFlags::O_NONBLOCK)) {
            Errno::EAGAIN
        } else if restart {
            return Ok(());
        } else {
            Errno::EINTR
        };
        self.finish(cx, reader, rule, &[Allowed::Errno(error)])
    }
}

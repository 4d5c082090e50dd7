//! Reading events from a queue: `fanotify_read` and `copy_event_to_user` in
//! fs/notify/fanotify/fanotify_user.c, with the contract's rules on top.

use refan_abi::{Errno, Event, EventMask, InfoRecord, InitFlags, NO_FD, OpenFlags};
use refan_program::{Bind, Path, Rule, Task};

use crate::context::Context;
use crate::group::{Pending, Unread};
use crate::rules::{A1, F2, MAINLINE, Q4, Q7, Q8, Q9, Q10, R1, R2, R6, R9, S2};
use crate::state::{Answer, At, EventNo, FileKind, FileNo, GroupNo, Raises, State};
use crate::violation::{Allowed, mask_text, returned};
use crate::{Object, Seen, SeenEvent, Stop};

/// `FAN_NOPIDFD` and `FAN_EPIDFD`.
const NO_PIDFD: i32 = -1;
const FAILED_PIDFD: i32 = -2;

/// An event that a read has to deliver.
struct Due {
    what: Option<EventNo>,
    mask: EventMask,
    path: Option<Path>,
    pid: i32,
    range: Option<(u64, u64)>,
    len: usize,
    restarted: bool,
    fd: DueFd,
    pidfd: Option<DueFd>,
}

/// What stands in place of an fd.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DueFd {
    /// A new fd.
    New,
    /// One of these numbers.
    Number(&'static [i32]),
}

impl Due {
    /// The event in words.
    fn text(&self, cx: &Context<'_>, by: Option<Task>) -> String {
        let mut text = mask_text(self.mask);
        if let Some(path) = self.path {
            text += &format!(" {path}");
        }
        if let Some(task) = by {
            text += &format!(" by {}", cx.name(task));
        }
        text
    }
}

/// A seen event in words.
fn seen_text(state: &State, cx: &Context<'_>, seen: &SeenEvent) -> String {
    let mut text = mask_text(seen.event.mask);
    match seen.object {
        Object::Path(path) => text += &format!(" {path}"),
        Object::Foreign => text += " of a file that is none of the program's",
        Object::None => text += " without an fd",
    }
    let by = (0u8..).zip(&state.tasks).find(|(_, task)| task.pid == seen.event.pid);
    match by {
        Some((number, _)) => text + " by " + cx.name(Task(number)),
        None => text + &format!(" by pid {}", seen.event.pid),
    }
}

impl State {
    /// A read from a group's queue: it returns, or the task waits for an event.
    pub(crate) fn read_queue(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        group: GroupNo,
        file: FileNo,
        size: u32,
    ) -> Result<(), Stop> {
        let of = self.group(group);
        let rule = if of.restartable { Q4 } else { MAINLINE };
        if of.hears_of_others {
            return Err(Stop::Unjudgeable(
                "the group hears of other than permission events, which the model does not cover"
                    .to_owned(),
            ));
        }
        if of.restartable && of.down {
            return self.finish(cx, task, S2, &[Allowed::Value(0)]);
        }
        let nonblocking =
            self.files.get(&file).is_some_and(|file| file.status.contains(OpenFlags::O_NONBLOCK));
        let reports_errors = of.flags.contains(InitFlags::REPORT_FD_ERROR);
        let reports_pidfds = of.flags.contains(InitFlags::REPORT_PIDFD);
        let mut fds_left = self.fds_left(task);
        let mut take_fd = || match &mut fds_left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        };
        let mut due: Vec<Due> = Vec::new();
        let mut room = size as usize;
        let mut error = None;
        while error.is_none() {
            let Some(&next) = self.group(group).unread.first() else {
                if due.is_empty() {
                    if !nonblocking {
                        self.wait_for_event(task, file, size, rule);
                        return Ok(());
                    }
                    error = Some((rule, Errno::EAGAIN));
                }
                break;
            };
            let len = self.event_len(group, next);
            if len > room {
                if due.is_empty() {
                    error = Some((rule, Errno::EINVAL));
                }
                break;
            }
            self.group_mut(group).unread.remove(0);
            self.touched = true;
            let event = match next {
                Unread::Event(number) => self.events.get(&number).cloned().map(|of| (number, of)),
                Unread::Overflow => None,
            };
            let Some((number, event)) = event else {
                room -= len;
                due.push(Due {
                    what: None,
                    mask: EventMask::Q_OVERFLOW,
                    path: None,
                    pid: 0,
                    range: None,
                    len,
                    restarted: false,
                    // With FAN_REPORT_FD_ERROR mainline shows -EBADF, the contract FAN_NOFD.
                    fd: DueFd::Number(if reports_errors { &[NO_FD, -9] } else { &[NO_FD] }),
                    // -ESRCH or FAN_NOPIDFD.
                    pidfd: reports_pidfds.then_some(DueFd::Number(if reports_errors {
                        &[-3]
                    } else {
                        &[NO_PIDFD]
                    })),
                });
                continue;
            };
            let has_fd = take_fd();
            if !has_fd {
                self.answer(number, Answer::deny(Errno::EPERM, Q7));
                if !reports_errors {
                    if due.is_empty() {
                        error = Some((F2, Errno::EMFILE));
                    }
                    break;
                }
            }
            room -= len;
            let has_pidfd = reports_pidfds && take_fd();
            const EMFILE: &[i32] = &[-24];
            due.push(Due {
                what: has_fd.then_some(number),
                mask: event.mask,
                path: Some(event.path),
                pid: self.task(event.accessor).pid,
                range: event.range,
                len,
                restarted: event.restarted,
                fd: if has_fd { DueFd::New } else { DueFd::Number(EMFILE) },
                pidfd: reports_pidfds.then_some(if has_pidfd {
                    DueFd::New
                } else if reports_errors {
                    DueFd::Number(EMFILE)
                } else {
                    DueFd::Number(&[FAILED_PIDFD])
                }),
            });
        }
        match error {
            Some((rule, errno)) => self.finish(cx, task, rule, &[Allowed::Errno(errno)]),
            None => self.deliver(cx, task, group, due),
        }
    }

    /// The queue is empty: the task sleeps until an event comes or the group is shut down.
    fn wait_for_event(&mut self, task: Task, file: FileNo, size: u32, rule: Rule) {
        if let Some(call) = &mut self.task_mut(task).call {
            call.at = At::Reading { file, size };
            call.rule = rule;
        }
    }

    /// The read returns these events, of which there is at least one.
    fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        group: GroupNo,
        due: Vec<Due>,
    ) -> Result<(), Stop> {
        let restartable = self.group(group).restartable;
        let step = self.task(task).call.as_ref().map_or(cx.step, |call| call.step);
        let texts: Vec<String> = due
            .iter()
            .map(|one| {
                let by = (0u8..)
                    .zip(&self.tasks)
                    .find(|(_, task)| one.pid != 0 && task.pid == one.pid)
                    .map(|(number, _)| Task(number));
                one.text(cx, by)
            })
            .collect();
        let allowed = texts.join(", ");
        // Which rule loses an event that does not come.
        let lost = match due.iter().find(|one| one.restarted) {
            _ if !restartable => MAINLINE,
            Some(_) => R1,
            None if due.iter().any(|one| one.what.is_none() && one.path.is_none()) => Q9,
            None => R6,
        };
        let Some(back) = cx.peek(step) else {
            let bytes: usize = due.iter().map(|one| one.len).sum();
            cx.foresee(step, bytes as i64, Seen::Events(self.as_read(task, &due)));
            return Err(cx.broken(lost, allowed, cx.seen_instead(task)));
        };
        self.matched.insert(step);
        let seen: &[SeenEvent] = match &back.data {
            Seen::Events(events) => events,
            _ => &[],
        };
        if back.value <= 0 || seen.is_empty() {
            let rule = if back.value == -i64::from(Errno::EAGAIN.0) { lost } else { Q4 };
            let rule = if restartable { rule } else { MAINLINE };
            return Err(cx.broken(rule, allowed, returned(back.value)));
        }
        let observed =
            seen.iter().map(|one| seen_text(self, cx, one)).collect::<Vec<_>>().join(", ");
        for (number, one) in due.iter().enumerate() {
            let Some(seen) = seen.get(number) else {
                return Err(cx.broken(if restartable { Q4 } else { MAINLINE }, allowed, observed));
            };
            if let Some((rule, what)) = self.differs(one, seen) {
                let later = due[number + 1..].iter().any(|other| self.is_same(other, seen))
                    || self.is_unread(group, seen);
                let rule = match (restartable, later) {
                    (false, _) => MAINLINE,
                    (true, true) => {
                        if self.any_restarted(group, &due) {
                            R2
                        } else {
                            Q4
                        }
                    }
                    (true, false) => rule,
                };
                let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
                return Err(cx.broken(rule, allowed, format!("{observed}{what}")));
            }
        }
        let bytes: usize = due.iter().map(|one| one.len).sum();
        if seen.len() > due.len() || back.value != bytes as i64 {
            let rule = if !restartable {
                MAINLINE
            } else if seen.len() > due.len() {
                R6
            } else {
                Q10
            };
            return Err(cx.broken(
                rule,
                format!("{allowed}: {bytes} bytes"),
                format!("{observed}: {} bytes", back.value),
            ));
        }
        self.hand_over(cx, task, group, &due, seen)?;
        self.leave(cx, task)
    }

    /// The events as a right kernel delivers them.
    fn as_read(&self, task: Task, due: &[Due]) -> Vec<SeenEvent> {
        let fds = &self.task(task).fds;
        let mut free = (0..).filter(|fd| !fds.contains_key(fd));
        let mut number = |fd| match fd {
            DueFd::New => free.next().unwrap_or(NO_FD),
            DueFd::Number(numbers) => numbers.first().copied().unwrap_or(NO_FD),
        };
        due.iter()
            .map(|one| {
                let fd = number(one.fd);
                let pidfd = one.pidfd.map(|pidfd| InfoRecord::Pidfd(number(pidfd)));
                let range = one.range.map(|(offset, count)| InfoRecord::Range { offset, count });
                let event = Event {
                    len: one.len as u32,
                    mask: one.mask,
                    fd,
                    pid: one.pid,
                    info: pidfd.into_iter().chain(range).collect(),
                };
                let object = match one.path {
                    Some(path) if fd >= 0 => Object::Path(path),
                    _ => Object::None,
                };
                SeenEvent { event, object }
            })
            .collect()
    }

    /// The fds are the task's from now on, and the events are pending.
    fn hand_over(
        &mut self,
        cx: &Context<'_>,
        task: Task,
        group: GroupNo,
        due: &[Due],
        seen: &[SeenEvent],
    ) -> Result<(), Stop> {
        let event_flags = self.group(group).event_flags;
        let cloexec = event_flags.contains(OpenFlags::O_CLOEXEC);
        for (one, seen) in due.iter().zip(seen) {
            if let (DueFd::New, Some(path)) = (one.fd, one.path) {
                let kind = FileKind::File { path, raises: Raises::Nothing, pos: 0 };
                self.take_number(cx, task, seen.event.fd, kind, event_flags, cloexec)?;
            }
            if let (Some(DueFd::New), Some(fd)) = (one.pidfd, pidfd_of(seen)) {
                // pidfd_prepare() sets close-on-exec.
                let kind = FileKind::Pidfd;
                self.take_number(cx, task, fd, kind, OpenFlags::O_RDWR, true)?;
            }
            if let Some(event) = one.what {
                let fd = seen.event.fd;
                self.group_mut(group).void_fds.remove(&fd);
                self.group_mut(group).pending.push(Pending { event, fd });
            }
        }
        // A spawned task's variables are nobody's.
        let step = self.task(task).call.as_ref().map_or(cx.step, |call| call.step);
        if let Some(Bind::Events(vars)) = cx.program.steps.get(step).map(|step| &step.bind) {
            for (var, seen) in vars.iter().zip(seen) {
                if let Some(value) = self.vars.get_mut(usize::from(var.0)) {
                    *value = seen.event.fd;
                }
            }
        }
        Ok(())
    }

    fn take_number(
        &mut self,
        cx: &Context<'_>,
        task: Task,
        fd: i32,
        kind: FileKind,
        status: OpenFlags,
        cloexec: bool,
    ) -> Result<(), Stop> {
        if self.task(task).fds.contains_key(&fd) {
            let rule = Q7;
            return Err(cx.broken(rule, "a new fd", format!("fd {fd}, which is in use")));
        }
        let file = self.add_file(kind, status);
        self.install(task, fd, file, cloexec);
        Ok(())
    }

    /// The rule that a seen event breaks as this one, and in what.
    fn differs(&self, due: &Due, seen: &SeenEvent) -> Option<(Rule, String)> {
        let event = &seen.event;
        let kept = if due.restarted {
            R9
        } else if due.path.is_none() {
            Q9
        } else {
            A1
        };
        if event.mask != due.mask {
            return Some((kept, String::new()));
        }
        if event.pid != due.pid {
            return Some((kept, format!("pid {} where {} waits", event.pid, due.pid)));
        }
        let range = event.info.iter().find_map(|info| match info {
            InfoRecord::Range { offset, count } => Some((*offset, *count)),
            _ => None,
        });
        if range != due.range {
            return Some((kept, format!("range {range:?} where {:?} is accessed", due.range)));
        }
        match due.fd {
            DueFd::New if event.fd < 0 => {
                return Some((Q7, format!("fd {} where one could be made", event.fd)));
            }
            DueFd::Number(numbers) if !numbers.contains(&event.fd) => {
                return Some((Q7, format!("fd {}, allowed {numbers:?}", event.fd)));
            }
            _ => {}
        }
        if due.fd == DueFd::New && seen.object != due.path.map_or(Object::None, Object::Path) {
            return Some((kept, "the event fd is open on it".to_owned()));
        }
        let pidfd = pidfd_of(seen);
        match due.pidfd {
            Some(DueFd::New) if pidfd.is_none_or(|fd| fd < 0) => {
                return Some((due.rule_of_fds(), format!("pidfd {pidfd:?}")));
            }
            Some(DueFd::Number(numbers)) if pidfd.is_none_or(|fd| !numbers.contains(&fd)) => {
                return Some((due.rule_of_fds(), format!("pidfd {pidfd:?}, allowed {numbers:?}")));
            }
            None if pidfd.is_some() => return Some((Q10, "a pidfd".to_owned())),
            _ => {}
        }
        let foreign = event.info.iter().any(|info| matches!(info, InfoRecord::Other { .. }));
        if event.len as usize != due.len || foreign {
            return Some((Q10, format!("an event of {} bytes, not {}", event.len, due.len)));
        }
        None
    }

    /// Whether the seen event is this one by what does not depend on the reader.
    fn is_same(&self, due: &Due, seen: &SeenEvent) -> bool {
        seen.event.mask == due.mask
            && seen.event.pid == due.pid
            && matches!(seen.object, Object::Path(path) if due.path == Some(path))
    }

    fn is_unread(&self, group: GroupNo, seen: &SeenEvent) -> bool {
        self.group(group).unread.iter().any(|entry| match entry {
            Unread::Overflow => seen.event.mask == EventMask::Q_OVERFLOW,
            Unread::Event(number) => self.events.get(number).is_some_and(|event| {
                event.mask == seen.event.mask
                    && self.task(event.accessor).pid == seen.event.pid
                    && matches!(seen.object, Object::Path(path) if path == event.path)
            }),
        })
    }

    fn any_restarted(&self, group: GroupNo, due: &[Due]) -> bool {
        due.iter().any(|one| one.restarted)
            || self.group(group).unread.iter().any(|entry| match entry {
                Unread::Overflow => false,
                Unread::Event(number) => {
                    self.events.get(number).is_some_and(|event| event.restarted)
                }
            })
    }
}

impl Due {
    fn rule_of_fds(&self) -> Rule {
        if self.restarted { R9 } else { Q8 }
    }
}

fn pidfd_of(seen: &SeenEvent) -> Option<i32> {
    seen.event.info.iter().find_map(|info| match info {
        InfoRecord::Pidfd(fd) => Some(*fd),
        _ => None,
    })
}

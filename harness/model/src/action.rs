//! Calls as sequences of atomic actions (X4).

use std::collections::{BTreeMap, BTreeSet};

use refan_abi::Errno;
use refan_program::{Call, Rule, Task};

use crate::Stop;
use crate::access::Then;
use crate::context::Context;
use crate::latest::Latest;
use crate::read::events_of;
use crate::rules::{K1, MAINLINE, S1};
use crate::state::{
    At, Closed, EventNo, FdEntry, FileKind, FileNo, GroupNo, Life, Message, Next, OpenFile,
    Running, State,
};
use crate::violation::Allowed;

impl State {
    /// The task's call goes on with this action: at once if that comes to the same, else when it
    /// is the task's turn again.
    pub(crate) fn goes_on(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        next: Next,
    ) -> Result<(), Stop> {
        if cx.in_one_go {
            return self.act(cx, task, next);
        }
        self.sleeps(task, At::Next(next));
        Ok(())
    }

    /// The task's call stands here from now on.
    pub(crate) fn sleeps(&mut self, task: Task, at: At) {
        if let Some(call) = &mut self.task_mut(task).call {
            call.at = at;
        }
    }

    /// The rule that decides how the task's call goes on.
    pub(crate) fn set_rule(&mut self, task: Task, rule: Rule) {
        if let Some(call) = &mut self.task_mut(task).call {
            call.rule = rule;
        }
    }

    /// One action of the task.
    fn act(&mut self, cx: &mut Context<'_>, task: Task, next: Next) -> Result<(), Stop> {
        match next {
            Next::Begin => {
                let step = self.step_of(task).and_then(|step| cx.program.steps.get(step));
                match step.map(|step| step.call.innermost()) {
                    Some(call) => self.call(cx, task, call),
                    None => Err(Stop::Unjudgeable("a call of no step".to_owned())),
                }
            }
            Next::Raise { mask, path, range, then } => {
                self.raise(cx, task, mask, path, range, then)
            }
            Next::LookUp { walk, then } => self.look_up(cx, task, walk, then),
            Next::Queue { group, walk, then } => self.ask(cx, task, group, walk, then),
            Next::After { then, refusal } => self.after(cx, task, then, refusal),
            Next::Take(reading) => self.take(cx, task, reading),
            Next::HandOver { event, fd, reading } => {
                self.hand_over(task, reading.group, event, fd);
                self.read_on(cx, task, reading)
            }
            Next::Release { file, then } => self.release(cx, task, file, then),
            Next::Allow { group, then } => self.allow_next(cx, task, group, then),
            Next::TearDown { group, then } => {
                self.tear_down(group);
                self.sleeps(task, At::Closing { group, then });
                if cx.in_one_go && can_go_on(self, cx, task) {
                    return self.go_on(cx, task);
                }
                Ok(())
            }
            Next::Exit => self.exit_on(cx, task),
            Next::Exec => self.exec_on(cx, task),
        }
    }

    /// A task begins the call of a step.
    pub(crate) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        step: usize,
        call: &Call,
    ) -> Result<(), Stop> {
        self.task_mut(task).call =
            Some(Running { step, rule: MAINLINE, at: At::Next(Next::Begin) });
        self.call(cx, task, call)
    }

    /// The task goes on, which can go on.
    pub(crate) fn go_on(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        let Some(call) = self.task(task).call.clone() else { return Ok(()) };
        match call.at {
            At::Next(next) => self.act(cx, task, next),
            At::Asking { .. } => self.answered(cx, task),
            At::Reading(reading) => self.take(cx, task, reading),
            At::CopyingOut(transit) => self.copied_out(cx, task, *transit),
            At::Waiting => Ok(()),
            At::Closing { group, then } => {
                self.group_mut(group).gone = true;
                self.closed(cx, task, then)
            }
            At::Position { then, .. } => match *then {
                Then::AccessPerm(transfer) => self.pre_access(cx, task, transfer),
                _ => {
                    let why = "a position is waited for by what has none";
                    Err(Stop::Unjudgeable(why.to_owned()))
                }
            },
        }
    }

    /// A group's file without references is released.
    fn release(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        file: FileNo,
        then: Closed,
    ) -> Result<(), Stop> {
        match self.files.remove(&file).map(|file| file.kind) {
            Some(FileKind::Queue(group)) => {
                if self.group(group).down {
                    self.group_mut(group).queue = None;
                } else {
                    self.restarts_without_memory(cx, task)?;
                    self.restart(group, then == Closed::Exit);
                }
                self.closed(cx, task, then)
            }
            Some(FileKind::Classic(group) | FileKind::Control(group)) => {
                self.stop(group);
                self.allow_in_hand(cx, group);
                self.goes_on(cx, task, Next::Allow { group, then })
            }
            _ => self.closed(cx, task, then),
        }
    }

    /// Of a group that has stopped accessors are allowed: at first all that nobody else can allow
    /// or kill meanwhile, then the others one by one, whichever.
    fn allow_next(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        group: GroupNo,
        then: Closed,
    ) -> Result<(), Stop> {
        let events = self.to_be_allowed(group);
        let contested: Vec<EventNo> = if cx.in_one_go {
            Vec::new()
        } else {
            events.iter().copied().filter(|event| self.is_contested(cx, group, *event)).collect()
        };
        if events.is_empty() || contested.len() < events.len() {
            for event in events.into_iter().filter(|event| !contested.contains(event)) {
                self.allow(group, event);
            }
            // Who is let through can come to stand before another group while the marks are still there, and pin them.
            // Whether it has is the same if the close ends here.
            let has_others = self.groups.iter().any(|other| !other.down && !other.marks.is_empty());
            if has_others && !is_seen_to_close(self, cx, task, then) {
                cx.in_one_go = false;
            }
            if contested.is_empty() {
                return self.goes_on(cx, task, Next::TearDown { group, then });
            }
        } else {
            let event = contested[cx.choose(contested.len())];
            self.allow(group, event);
        }
        self.goes_on(cx, task, Next::Allow { group, then })
    }

    /// Whether a call of the block can answer the event, or its accessor is killed.
    fn is_contested(&self, cx: &Context<'_>, group: GroupNo, event: EventNo) -> bool {
        if cx.dies(self, event.0) {
            return true;
        }
        let pending = self.group(group).pending.iter().find(|pending| pending.event == event);
        pending.is_some_and(|pending| {
            let read_now = cx.seen.returns.iter().flat_map(events_of);
            let named = cx
                .program
                .block_of(cx.step)
                .flat_map(|step| cx.program.steps[step].call.fds().map(|fd| self.number(fd)));
            named.chain(read_now.map(|seen| seen.event.fd)).any(|fd| fd == pending.fd)
        })
    }

    /// A file has been closed.
    pub(crate) fn closed(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        then: Closed,
    ) -> Result<(), Stop> {
        match then {
            Closed::Return(value) => {
                let rule = self.task(task).call.as_ref().map_or(MAINLINE, |c| c.rule);
                cx.returns(self, task, rule, &[Allowed::Value(value)])?;
                if let Ok(fd) = i32::try_from(value) {
                    self.bind_fd(cx, task, fd);
                }
                self.leave(cx, task)
            }
            Closed::Exit => self.goes_on(cx, task, Next::Exit),
            Closed::Exec => self.goes_on(cx, task, Next::Exec),
        }
    }

    /// A reference to the file goes; with the last one it is released.
    pub(crate) fn put(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        file: FileNo,
        then: Closed,
    ) -> Result<(), Stop> {
        if self.drop_ref(file) {
            return self.goes_on(cx, task, Next::Release { file, then });
        }
        self.closed(cx, task, then)
    }

    /// One reference to the file goes; whether it was the last to a file whose release does more
    /// than to forget it.
    pub(crate) fn drop_ref(&mut self, file: FileNo) -> bool {
        let Some(open) = self.files.get_mut(&file) else { return false };
        open.refs = open.refs.saturating_sub(1);
        if open.refs == 0 && open.group().is_none() {
            self.files.remove(&file);
            self.drop_in_flight(file);
            return false;
        }
        open.refs == 0
    }

    /// The socket is gone: with it go the references that it held, within the same call.
    fn drop_in_flight(&mut self, socket: FileNo) {
        for message in self.in_flight.remove(&socket).unwrap_or_default() {
            self.drop_message(message);
        }
    }

    /// A message is gone, and with it the reference that it had.
    pub(crate) fn drop_message(&mut self, message: Message) {
        if let Some(file) = message.file
            && self.drop_ref(file)
        {
            self.release_at_once(file);
        }
    }

    /// A group's file without references is released, and nobody looks meanwhile.
    pub(crate) fn release_at_once(&mut self, file: FileNo) {
        match self.files.remove(&file).map(|file| file.kind) {
            Some(FileKind::Queue(group)) if self.group(group).down => {
                self.group_mut(group).queue = None;
            }
            Some(FileKind::Queue(group)) => self.restart(group, false),
            Some(FileKind::Classic(group) | FileKind::Control(group)) => {
                self.stop(group);
                for event in self.to_be_allowed(group) {
                    self.allow(group, event);
                }
                self.tear_down(group);
                self.group_mut(group).gone = true;
            }
            _ => {}
        }
    }

    /// The task exits: its fds go.
    pub(crate) fn exit(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        let step = self.step_of(task).unwrap_or(cx.step);
        let of = self.task_mut(task);
        of.life = Life::Ended;
        (of.killed, of.signaled) = (false, false);
        of.call = Some(Running { step, rule: S1, at: At::Next(Next::Exit) });
        self.goes_on(cx, task, Next::Exit)
    }

    /// An exiting task lets go of one more fd.
    fn exit_on(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        match self.next_to_close(cx, task, |_| true) {
            Some(file) => self.put(cx, task, file, Closed::Exit),
            None => {
                let of = self.task_mut(task);
                (of.call, of.runs) = (None, None);
                Ok(())
            }
        }
    }

    /// An exec lets go of one more fd with close-on-exec (`begin_new_exec`), and then the task is
    /// the program that waits.
    fn exec_on(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        match self.next_to_close(cx, task, |entry| entry.cloexec) {
            Some(file) => self.put(cx, task, file, Closed::Exec),
            None => {
                self.sleeps(task, At::Waiting);
                Ok(())
            }
        }
    }

    /// Of the fds that are closed at once the next: those of files of groups in any order (S4),
    /// and of what keeps an exec off, behind all others.
    fn next_to_close(
        &mut self,
        cx: &mut Context<'_>,
        task: Task,
        which: impl Fn(&FdEntry) -> bool,
    ) -> Option<FileNo> {
        let fds = self.task(task).fds.clone();
        let mut of_groups = Vec::new();
        // Who is let through on the way finds a writer or not.
        let keeps_off =
            |entry: &FdEntry| self.files.get(&entry.file).is_some_and(|file| self.keeps_off(file));
        let contested: BTreeSet<FileNo> =
            fds.values().filter(|entry| keeps_off(entry)).map(|entry| entry.file).collect();
        if !contested.is_empty() || self.closes_wait_for_each_other(&fds) {
            cx.in_one_go = false;
        }
        for (fd, entry) in fds.into_iter().filter(|(_, entry)| which(entry)) {
            if contested.contains(&entry.file)
                || self.files.get(&entry.file).is_some_and(|file| file.group().is_some())
            {
                of_groups.push((fd, entry.file));
                continue;
            }
            self.task_mut(task).fds.remove(&fd);
            self.drop_ref(entry.file);
        }
        if of_groups.is_empty() {
            return None;
        }
        let next = if cx.in_one_go { 0 } else { cx.choose(of_groups.len()) };
        let (fd, file) = of_groups[next];
        self.task_mut(task).fds.remove(&fd);
        Some(file)
    }

    /// Whether files of several groups go for whose accessors one of the closes can wait (S1).
    fn closes_wait_for_each_other(&self, fds: &BTreeMap<i32, FdEntry>) -> bool {
        let files = fds.values().filter_map(|entry| self.files.get(&entry.file));
        let groups: BTreeSet<GroupNo> = files.filter_map(OpenFile::group).collect();
        groups.len() > 1 && self.events.values().any(|event| groups.contains(&event.group))
    }

    /// A task that was killed dies where it stands.
    pub(crate) fn die(&mut self, cx: &mut Context<'_>, task: Task) -> Result<(), Stop> {
        match self.task(task).call.as_ref().map(|call| call.at.clone()) {
            Some(At::Asking { event, .. }) => {
                self.unpin(task);
                self.abandon(event);
                self.task_mut(task).ends_by = Latest::by(K1);
            }
            Some(At::CopyingOut(transit)) => self.drop_in_hand(cx, *transit),
            _ => {}
        }
        self.exit(cx, task)
    }
}

/// Whether the task is in a call that does not sleep.
pub(crate) fn can_go_on(state: &State, cx: &Context<'_>, task: Task) -> bool {
    let Some(call) = &state.task(task).call else { return false };
    match &call.at {
        At::Next(_) => true,
        At::Asking { event, .. } => {
            state.events.get(event).is_none_or(|event| event.answer.is_some())
        }
        At::Reading(reading) => {
            let group = state.group(reading.group);
            // Woken, it looks at its file's flags anew.
            let gives_up = state.files.get(&reading.file).is_some_and(OpenFile::is_nonblocking)
                && cx.peek(call.step).is_some_and(|back| back.is(Errno::EAGAIN));
            gives_up || !group.unread.is_empty() || (group.restartable && group.down)
        }
        // Marks of the group may be pinned or not, so the close may sleep or not (S1).
        At::Closing { group, then } => {
            !state.is_pinned(*group) || cx.open_ended || is_seen_to_close(state, cx, task, *then)
        }
        At::CopyingOut(transit) => !transit.reading.missing,
        At::Position { file, .. } => !state.position_is_held(*file),
        At::Waiting => false,
    }
}

/// Whether the close in which the task is was seen to come to its end.
fn is_seen_to_close(state: &State, cx: &Context<'_>, task: Task, then: Closed) -> bool {
    match then {
        Closed::Return(_) => state.step_of(task).is_some_and(|step| cx.peek(step).is_some()),
        Closed::Exit => cx.seen.ended.iter().any(|(ended, _)| *ended == task),
        // What it becomes sleeps, too.
        Closed::Exec => false,
    }
}

/// Whether a task that was killed can die where it stands: between calls, or where it sleeps
/// killably.
pub(crate) fn can_die(state: &State, task: Task) -> bool {
    let of = state.task(task);
    of.killed
        && of.life != Life::Ended
        && match of.call.as_ref().map(|call| &call.at) {
            None | Some(At::Asking { .. } | At::Reading(_) | At::CopyingOut(_) | At::Waiting) => {
                true
            }
            Some(At::Next(_) | At::Closing { .. } | At::Position { .. }) => false,
        }
}

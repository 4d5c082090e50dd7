//! What each task can do next, and what comes of it.

use std::collections::BTreeMap;

use refan_abi::{Errno, Event, EventMask, InitFlags, MarkFlags, OpenFlags, PollFlags, Response};
use refan_program::{Bind, Call, Fd, Path, PathKind, Program, Task};

use super::{
    Actor, At, Doing, File, Group, Kind, Life, Move, Naive, Reading, Shown, Spot, Then, Waiting,
    Walk,
};
use crate::testing::MAIN_PID;
use crate::{Object, Seen, SeenEvent};

const EVENT: usize = 24;

fn fails(errno: Errno) -> At {
    At::Done(-i64::from(errno.0), Seen::Nothing)
}

fn returns(value: usize) -> At {
    At::Done(value as i64, Seen::Nothing)
}

/// Which fd number the kernel gives, where a call makes one: of what is free.
pub(super) type Choose<'c> = dyn Fn(usize, usize) -> Option<i32> + 'c;

impl<'a> Naive<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        let actor = Actor {
            life: Life::Unborn,
            fds: BTreeMap::new(),
            doing: None,
            limit: i32::MAX,
            killed: false,
            may_return: false,
        };
        let mut actors = vec![actor; program.tasks.len()];
        actors[0].life = Life::Steps;
        let vars = vec![-1; program.vars.len()];
        Self {
            program,
            actors,
            files: Vec::new(),
            groups: Vec::new(),
            events: Vec::new(),
            vars,
            texts: BTreeMap::new(),
        }
    }

    pub(super) fn actor(&self, task: Task) -> &Actor {
        &self.actors[usize::from(task.0)]
    }

    pub(super) fn actor_mut(&mut self, task: Task) -> &mut Actor {
        &mut self.actors[usize::from(task.0)]
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = Task> + use<> {
        (0..self.actors.len() as u8).map(Task)
    }

    fn value(&self, fd: Fd) -> i32 {
        match fd {
            Fd::Number(number) => number,
            Fd::Var(var) => self.vars[usize::from(var.0)],
        }
    }

    fn file_of(&self, task: Task, fd: i32) -> Option<usize> {
        self.actor(task).fds.get(&fd).copied()
    }

    /// A spawned task is made, with the fds that its call names.
    pub(super) fn make(&mut self, spawner: Task, child: Task, call: &Call) {
        self.actor_mut(child).life = Life::Once;
        let names = if matches!(call, Call::Write { .. }) { 1 } else { usize::MAX };
        for fd in call.fds().take(names) {
            let fd = self.value(fd);
            if let Some(file) = self.file_of(spawner, fd)
                && self.actor_mut(child).fds.insert(fd, file).is_none()
            {
                self.files[file].refs += 1;
            }
        }
    }

    /// In how many ways the task can go on with its call.
    pub(super) fn ways(&self, task: Task) -> usize {
        let Some(doing) = &self.actor(task).doing else { return 0 };
        match &doing.at {
            At::Walk(walk) => self.next_groups(walk).len().max(1),
            At::Wait(_, event) => usize::from(self.events[*event].answer.is_some()),
            At::Position(file) => usize::from(!self.files[*file].locked),
            At::Take(reading) => {
                let group = &self.groups[reading.group];
                let sleeps = group.unread.is_empty()
                    && !group.stopped
                    && reading.got.is_empty()
                    && !self.files[reading.file].nonblocking;
                usize::from(!sleeps)
            }
            At::Stopped(group, _) => self.to_allow(*group).len().max(1),
            At::Exit => self.actor(task).fds.len().max(1),
            At::Done(..) => 0,
            _ => 1,
        }
    }

    /// Whether a killed task dies where it stands: nowhere but where it sleeps killably, or where
    /// it would go back to what it did.
    pub(super) fn can_die(&self, task: Task) -> bool {
        let actor = self.actor(task);
        actor.killed
            && matches!(actor.life, Life::Steps | Life::Once)
            && match actor.doing.as_ref().map(|doing| &doing.at) {
                None | Some(At::Done(..) | At::Wait(..) | At::Entered) => true,
                Some(At::Take(_)) => self.ways(task) == 0,
                _ => false,
            }
    }

    /// The groups that the walk can ask next.
    fn next_groups(&self, walk: &Walk) -> Vec<usize> {
        let floor = walk.asked.iter().map(|group| self.groups[*group].class).min();
        let left: Vec<usize> = (0..self.groups.len())
            .filter(|group| !walk.asked.contains(group))
            .filter(|group| floor.is_none_or(|floor| self.groups[*group].class <= floor))
            .filter(|group| self.groups[*group].wants(walk.path).contains(walk.mask))
            .collect();
        let class = left.iter().map(|group| self.groups[*group].class).max();
        left.into_iter().filter(|group| Some(self.groups[*group].class) == class).collect()
    }

    fn to_allow(&self, group: usize) -> Vec<usize> {
        let group = &self.groups[group];
        group.pending.iter().map(|(_, event)| *event).chain(group.unread.iter().copied()).collect()
    }

    /// Makes a move. None where the chosen number is not to be had.
    pub(super) fn apply(&mut self, what: Move, fd: &Choose<'_>) -> Option<Shown> {
        match what {
            Move::Enter(task, step) => {
                self.actor_mut(task).doing = Some(Doing { step, at: At::Entered });
                Some(Shown::Enter(step))
            }
            Move::Return(task) => {
                let Some(Doing { step, at: At::Done(value, data) }) =
                    self.actor(task).doing.clone()
                else {
                    return Some(Shown::Nothing);
                };
                self.bind(step, value, &data);
                if self.actor(task).life == Life::Once {
                    self.exit(task, step);
                } else {
                    self.actor_mut(task).doing = None;
                }
                Some(Shown::Return(step, value, data))
            }
            Move::Die(task) => {
                let step = self.actor(task).doing.as_ref().map_or(0, |doing| doing.step);
                if let Some(At::Wait(walk, event)) =
                    self.actor(task).doing.as_ref().map(|doing| doing.at.clone())
                {
                    self.unlock(&walk.then);
                    let group = &mut self.groups[self.events[event].group];
                    match group.unread.iter().position(|unread| *unread == event) {
                        Some(at) => {
                            group.unread.remove(at);
                        }
                        None => self.events[event].canceled = true,
                    }
                }
                self.exit(task, step);
                Some(Shown::Nothing)
            }
            Move::Act(task, way) => {
                let doing = self.actor_mut(task).doing.take()?;
                let step = doing.step;
                let next = self.act(task, step, doing.at, way, fd)?;
                let gone = matches!(next, At::Exit) && self.actor(task).fds.is_empty();
                if gone && self.actor(task).life == Life::Dead {
                    return Some(Shown::Ended(task));
                }
                self.actor_mut(task).doing = Some(Doing { step, at: next });
                Some(Shown::Nothing)
            }
        }
    }

    fn exit(&mut self, task: Task, step: usize) {
        self.actor_mut(task).life = Life::Dead;
        self.actor_mut(task).doing = Some(Doing { step, at: At::Exit });
    }

    /// What a call returned gets its name.
    fn bind(&mut self, step: usize, value: i64, data: &Seen) {
        match (&self.program.steps[step].bind, data) {
            (Bind::Fd(var), _) if value >= 0 => self.vars[usize::from(var.0)] = value as i32,
            (Bind::Events(vars), Seen::Events(events)) => {
                for (var, seen) in vars.iter().zip(events) {
                    self.vars[usize::from(var.0)] = seen.event.fd;
                }
            }
            _ => {}
        }
    }

    fn act(&mut self, task: Task, step: usize, at: At, way: usize, fd: &Choose<'_>) -> Option<At> {
        Some(match at {
            At::Entered => {
                let call = self.program.steps[step].call.innermost();
                return self.call(task, step, call, fd);
            }
            At::Walk(mut walk) => match self.next_groups(&walk).get(way) {
                None => At::Answered(walk),
                Some(group) => {
                    walk.asked.insert(*group);
                    At::Queue(walk, *group)
                }
            },
            At::Queue(walk, group) if self.groups[group].stopped => At::Walk(walk),
            At::Queue(walk, group) => {
                let event = self.events.len();
                let (mask, path) = (walk.mask, walk.path);
                self.events.push(Waiting {
                    group,
                    by: task,
                    mask,
                    path,
                    answer: None,
                    canceled: false,
                });
                self.groups[group].unread.push(event);
                At::Wait(walk, event)
            }
            At::Wait(walk, event) => match self.events[event].answer {
                Some(true) => At::Walk(walk),
                _ => {
                    self.unlock(&walk.then);
                    fails(Errno::EPERM)
                }
            },
            At::Answered(walk) => match walk.then {
                Then::Open { watched } => {
                    let kind = Kind::File { path: walk.path, watched };
                    return self.open(task, step, kind, false, fd);
                }
                Then::Read { file, size, good, positioned } => {
                    self.unlock(&walk.then);
                    let text = self.text(walk.path);
                    let from = if positioned { self.files[file].position } else { 0 };
                    let from = from.min(text.len());
                    let mut bytes = text[from..(from + size).min(text.len())].to_vec();
                    if good == 0 && !bytes.is_empty() {
                        return Some(fails(Errno::EFAULT));
                    }
                    bytes.truncate(good);
                    if positioned {
                        self.files[file].position += bytes.len();
                    }
                    At::Done(bytes.len() as i64, Seen::Bytes(bytes))
                }
            },
            At::Position(_) => {
                let call = self.program.steps[step].call.innermost();
                return self.call(task, step, call, fd);
            }
            At::Take(reading) => return self.take(task, step, reading, fd),
            At::Hand(reading, event, number) => {
                let group = &mut self.groups[reading.group];
                if group.stopped {
                    self.answer(event, true);
                } else {
                    group.pending.push((number, event));
                }
                At::Take(reading)
            }
            At::Release(file, exits) => self.release(file, exits),
            At::Stopped(group, exits) => match self.to_allow(group).get(way).copied() {
                Some(event) => {
                    let of = &mut self.groups[group];
                    of.pending.retain(|(_, pending)| *pending != event);
                    of.unread.retain(|unread| *unread != event);
                    self.answer(event, true);
                    At::Stopped(group, exits)
                }
                None => {
                    self.groups[group].marks.clear();
                    if exits { At::Exit } else { returns(0) }
                }
            },
            At::Exit => {
                let Some((&number, &file)) = self.actor(task).fds.iter().nth(way) else {
                    return Some(At::Exit);
                };
                self.actor_mut(task).fds.remove(&number);
                self.drop_file(file, true)
            }
            At::Done(..) => return None,
        })
    }

    fn unlock(&mut self, then: &Then) {
        if let Then::Read { file, positioned: true, .. } = then {
            self.files[*file].locked = false;
        }
    }

    fn answer(&mut self, event: usize, allow: bool) {
        self.events[event].answer = Some(allow);
    }

    /// A file is there from now on, under a new number.
    fn open(
        &mut self,
        task: Task,
        step: usize,
        kind: Kind,
        nonblocking: bool,
        fd: &Choose<'_>,
    ) -> Option<At> {
        let file = self.files.len();
        self.files.push(File { kind, refs: 0, nonblocking, position: 0, locked: false });
        let number = self.install(task, step, 0, file, fd)?;
        Some(returns(number as usize))
    }

    fn install(
        &mut self,
        task: Task,
        step: usize,
        nth: usize,
        file: usize,
        fd: &Choose<'_>,
    ) -> Option<i32> {
        let fds = &self.actor(task).fds;
        let lowest = (0..).find(|number| !fds.contains_key(number))?;
        let number = fd(step, nth).unwrap_or(lowest);
        if number < 0 || fds.contains_key(&number) {
            return None;
        }
        self.actor_mut(task).fds.insert(number, file);
        self.files[file].refs += 1;
        Some(number)
    }

    /// Whether every number is in use that the task can have.
    fn is_full(&self, task: Task) -> bool {
        let Actor { fds, limit, .. } = self.actor(task);
        (0..*limit).all(|number| fds.contains_key(&number))
    }

    /// A reference to the file goes.
    fn drop_file(&mut self, file: usize, exits: bool) -> At {
        self.files[file].refs -= 1;
        if self.files[file].refs == 0 {
            At::Release(file, exits)
        } else if exits {
            At::Exit
        } else {
            returns(0)
        }
    }

    fn release(&mut self, file: usize, exits: bool) -> At {
        match self.files[file].kind {
            Kind::Group(group) => {
                self.groups[group].stopped = true;
                return At::Stopped(group, exits);
            }
            Kind::Queue(group) => {
                let of = &mut self.groups[group];
                of.queue_open = false;
                if !of.stopped {
                    let mut events: Vec<usize> =
                        of.pending.drain(..).map(|(_, event)| event).collect();
                    events.retain(|event| !self.events[*event].canceled);
                    events.sort_unstable();
                    events.append(&mut of.unread);
                    of.unread = events;
                }
            }
            Kind::File { .. } => {}
        }
        if exits { At::Exit } else { returns(0) }
    }

    fn take(&mut self, task: Task, step: usize, reading: Reading, fd: &Choose<'_>) -> Option<At> {
        let done = |reading: Reading| {
            At::Done((EVENT * reading.got.len()) as i64, Seen::Events(reading.got))
        };
        let of = &mut self.groups[reading.group];
        let first = reading.got.is_empty();
        if of.stopped {
            return Some(if first { returns(0) } else { done(reading) });
        }
        if of.unread.is_empty() {
            return Some(if first { fails(Errno::EAGAIN) } else { done(reading) });
        }
        if reading.room < EVENT {
            return Some(if first { fails(Errno::EINVAL) } else { done(reading) });
        }
        let event = of.unread.remove(0);
        if self.is_full(task) {
            self.answer(event, false);
            return Some(if first { fails(Errno::EMFILE) } else { done(reading) });
        }
        if reading.good < EVENT {
            self.answer(event, false);
            return Some(fails(Errno::EFAULT));
        }
        let Waiting { by, mask, path, .. } = self.events[event].clone();
        let file = self.files.len();
        let kind = Kind::File { path, watched: false };
        self.files.push(File { kind, refs: 0, nonblocking: false, position: 0, locked: false });
        let number = self.install(task, step, reading.got.len(), file, fd)?;
        let pid = MAIN_PID + i32::from(by.0);
        let seen = Event { len: EVENT as u32, mask, fd: number, pid, info: Vec::new() };
        let (room, good) = (reading.room - EVENT, reading.good - EVENT);
        let mut reading = Reading { room, good, ..reading };
        reading.got.push(SeenEvent { event: seen, object: Object::File(path.inode()) });
        Some(At::Hand(reading, event, number))
    }

    /// The first action of a call.
    fn call(&mut self, task: Task, step: usize, call: &Call, fd: &Choose<'_>) -> Option<At> {
        let named = call.fds().next().map(|fd| self.value(fd));
        let file = named.and_then(|number| self.file_of(task, number));
        let kind = file.map(|file| self.files[file].kind);
        let bad = || Some(fails(Errno::EBADF));
        Some(match call {
            Call::FanotifyInit { flags, .. } => {
                let group = self.groups.len();
                let restartable = flags.contains(InitFlags::RESTARTABLE);
                let nonblocking = flags.contains(InitFlags::NONBLOCK);
                self.groups.push(Group {
                    restartable,
                    class: if flags.contains(InitFlags::CLASS_PRE_CONTENT) { 2 } else { 1 },
                    nonblocking,
                    marks: BTreeMap::new(),
                    unread: Vec::new(),
                    pending: Vec::new(),
                    queue_open: false,
                    stopped: false,
                });
                let waits = nonblocking && !restartable;
                return self.open(task, step, Kind::Group(group), waits, fd);
            }
            Call::FanotifyMark { flags, mask, path, .. } => match kind {
                None => return bad(),
                Some(Kind::Group(group)) => self.mark(group, *flags, *mask, *path),
                Some(_) => fails(Errno::EINVAL),
            },
            Call::OpenQueue { .. } => match kind {
                None => return bad(),
                Some(Kind::Group(group)) if self.groups[group].restartable => {
                    if self.groups[group].queue_open {
                        return Some(fails(Errno::EBUSY));
                    }
                    if self.is_full(task) {
                        return Some(fails(Errno::EMFILE));
                    }
                    self.groups[group].queue_open = true;
                    let waits = self.groups[group].nonblocking;
                    return self.open(task, step, Kind::Queue(group), waits, fd);
                }
                Some(_) => fails(Errno::ENOTTY),
            },
            Call::Read { size, .. } | Call::ReadFault { size, .. } => match (file, kind) {
                (Some(_), Some(Kind::Group(group))) if self.groups[group].restartable => {
                    fails(Errno::EINVAL)
                }
                (Some(file), Some(Kind::Group(group) | Kind::Queue(group))) => {
                    let room = *size as usize;
                    let good = good_of(call).unwrap_or(room);
                    let reading = Reading { file, group, room, good, got: Vec::new() };
                    let group = &self.groups[group];
                    if group.unread.is_empty() && !group.stopped && !self.files[file].nonblocking {
                        return Some(At::Take(reading));
                    }
                    return self.take(task, step, reading, fd);
                }
                (Some(file), Some(Kind::File { path, watched })) => {
                    if self.files[file].locked {
                        return Some(At::Position(file));
                    }
                    self.files[file].locked = true;
                    let size = *size as usize;
                    let good = good_of(call).unwrap_or(size);
                    transfer(path, watched, Then::Read { file, size, good, positioned: true })
                }
                _ => return bad(),
            },
            Call::Pread { size, .. } => match (file, kind) {
                (Some(file), Some(Kind::File { path, watched })) => {
                    let size = *size as usize;
                    transfer(
                        path,
                        watched,
                        Then::Read { file, size, good: size, positioned: false },
                    )
                }
                (Some(_), Some(_)) => fails(Errno::ESPIPE),
                _ => return bad(),
            },
            Call::Write { event, response, .. } => match kind {
                Some(Kind::Group(group)) if self.groups[group].restartable => return bad(),
                Some(Kind::Group(group) | Kind::Queue(group)) => {
                    self.respond(group, self.value(*event), *response)
                }
                Some(Kind::File { .. }) | None => return bad(),
            },
            Call::Close { .. } => match (named, file) {
                (Some(number), Some(file)) => {
                    self.actor_mut(task).fds.remove(&number);
                    self.drop_file(file, false)
                }
                _ => return bad(),
            },
            Call::Dup { .. } => match file {
                Some(_) if self.is_full(task) => fails(Errno::EMFILE),
                Some(file) => {
                    let number = self.install(task, step, 0, file, fd)?;
                    returns(number as usize)
                }
                None => return bad(),
            },
            Call::Poll { .. } if self.actor(task).limit == 0 => fails(Errno::EINVAL),
            Call::Poll { .. } => returns(self.poll(named, kind).bits().into()),
            Call::SetFl { flags, .. } => match file {
                None => return bad(),
                Some(file) => {
                    self.files[file].nonblocking = flags.contains(OpenFlags::O_NONBLOCK);
                    returns(0)
                }
            },
            Call::Fionread { .. } => match (kind, file) {
                (None, _) | (_, None) => return bad(),
                (Some(Kind::Group(group)), _) if self.groups[group].restartable => {
                    fails(Errno::ENOTTY)
                }
                (Some(Kind::Group(group) | Kind::Queue(group)), _) => {
                    let of = &self.groups[group];
                    returns(if of.stopped { 0 } else { EVENT * of.unread.len() })
                }
                (Some(Kind::File { path, .. }), Some(file)) => {
                    let len = self.text(path).len() as i64;
                    At::Done(len - self.files[file].position as i64, Seen::Nothing)
                }
            },
            Call::Open { .. } if self.is_full(task) => fails(Errno::EMFILE),
            Call::Open { path, flags } => {
                let path = match path.kind {
                    PathKind::Symlink if flags.contains(OpenFlags::O_NOFOLLOW) => {
                        return Some(fails(Errno::ELOOP));
                    }
                    PathKind::Symlink => Path { kind: PathKind::File, ..*path },
                    _ => *path,
                };
                let wanted = self
                    .groups
                    .iter()
                    .fold(EventMask::empty(), |all, group| all | group.wants(path));
                let watched = wanted.contains(EventMask::ACCESS_PERM);
                let walk = Walk {
                    mask: EventMask::OPEN_PERM,
                    path,
                    asked: Default::default(),
                    then: Then::Open { watched },
                };
                if wanted.contains(EventMask::OPEN_PERM) {
                    At::Walk(walk)
                } else {
                    At::Answered(walk)
                }
            }
            Call::Fork => {
                let Bind::Task(child) = self.program.steps[step].bind else { return None };
                let Actor { fds, limit, .. } = self.actor(task).clone();
                for file in fds.values() {
                    self.files[*file].refs += 1;
                }
                let actor = self.actor_mut(child);
                (actor.life, actor.fds, actor.limit) = (Life::Steps, fds, limit);
                returns(0)
            }
            Call::Exit => {
                self.actor_mut(task).life = Life::Dead;
                At::Exit
            }
            Call::RlimitNofile { more } => {
                let fds = &self.actor(task).fds;
                let limit = (0..).filter(|fd| !fds.contains_key(fd)).nth(usize::from(*more))?;
                self.actor_mut(task).limit = limit;
                returns(0)
            }
            Call::Truncate { path, size } => {
                let mut text = self.text(*path);
                text.resize(*size as usize, 0);
                self.texts.insert(path.index, text);
                returns(0)
            }
            Call::Signal { task: to, restart } => {
                let reads = match self.actor(*to).doing.as_ref().map(|doing| &doing.at) {
                    Some(At::Take(reading)) => Some(reading.file),
                    _ => None,
                };
                // Its flags are what they were when it fell asleep.
                assert!(reads.is_none_or(|file| !self.files[file].nonblocking));
                if reads.is_some()
                    && !restart
                    && let Some(doing) = &mut self.actor_mut(*to).doing
                {
                    doing.at = fails(Errno::EINTR);
                }
                returns(0)
            }
            Call::Kill { task: victim } => {
                let dead = matches!(self.actor(*victim).life, Life::Dead | Life::Unborn);
                if !dead {
                    self.actor_mut(*victim).kill();
                }
                returns(0)
            }
            call => panic!("the naive kernel knows no {:?}", call.name()),
        })
    }

    /// What a file holds.
    fn text(&self, path: Path) -> Vec<u8> {
        let file = Path { kind: PathKind::File, index: path.index };
        let text = self.texts.get(&path.index).cloned();
        text.or_else(|| file.inode().contents()).unwrap_or_default()
    }

    fn mark(&mut self, group: usize, flags: MarkFlags, mask: EventMask, path: Path) -> At {
        let marks = &mut self.groups[group].marks;
        let spot = if flags.contains(MarkFlags::MOUNT) {
            Spot::Mount { second: path.kind == PathKind::Mounted }
        } else if flags.contains(MarkFlags::FILESYSTEM) {
            Spot::FileSystem
        } else if path.kind == PathKind::Symlink && flags.contains(MarkFlags::DONT_FOLLOW) {
            Spot::Symlink(path.index)
        } else {
            Spot::File(path.index)
        };
        if flags.contains(MarkFlags::FLUSH) {
            marks.retain(|other, _| match (spot, other) {
                (Spot::Mount { .. }, other) => !matches!(other, Spot::Mount { .. }),
                (Spot::FileSystem, other) => *other != Spot::FileSystem,
                (_, other) => matches!(other, Spot::Mount { .. } | Spot::FileSystem),
            });
        } else if flags.contains(MarkFlags::REMOVE) {
            let Some(old) = marks.get_mut(&spot) else { return fails(Errno::ENOENT) };
            *old -= mask;
            if old.is_empty() {
                marks.remove(&spot);
            }
        } else {
            *marks.entry(spot).or_insert(EventMask::empty()) |= mask;
        }
        returns(0)
    }

    fn respond(&mut self, group: usize, number: i32, response: Response) -> At {
        if number < 0 {
            return fails(Errno::EINVAL);
        }
        let pending = &mut self.groups[group].pending;
        let Some(at) = pending.iter().position(|(fd, _)| *fd == number) else {
            return fails(Errno::ENOENT);
        };
        let (_, event) = pending.remove(at);
        self.answer(event, response.contains(Response::ALLOW));
        returns(8)
    }

    fn poll(&self, fd: Option<i32>, kind: Option<Kind>) -> PollFlags {
        let readable = PollFlags::IN | PollFlags::RDNORM;
        let always = readable | PollFlags::OUT | PollFlags::WRNORM;
        match kind {
            None if fd.is_some_and(|fd| fd < 0) => PollFlags::empty(),
            None => PollFlags::NVAL,
            Some(Kind::Group(group)) if self.groups[group].restartable => always,
            Some(Kind::File { .. }) => always,
            Some(Kind::Group(group) | Kind::Queue(group)) => {
                let of = &self.groups[group];
                if of.stopped {
                    PollFlags::HUP
                } else if of.unread.is_empty() {
                    PollFlags::empty()
                } else {
                    readable
                }
            }
        }
    }
}

impl Group {
    /// What its marks ask of an access to the file.
    fn wants(&self, path: Path) -> EventMask {
        let second = path.kind == PathKind::Mounted;
        [Spot::File(path.index), Spot::Mount { second }, Spot::FileSystem]
            .iter()
            .filter_map(|spot| self.marks.get(spot))
            .fold(EventMask::empty(), |all, mask| all | *mask)
    }
}

/// How much of the buffer is there, where some is not.
fn good_of(call: &Call) -> Option<usize> {
    match call {
        Call::ReadFault { good, .. } => Some(*good as usize),
        _ => None,
    }
}

/// A file is read whose use is watched, or is not.
fn transfer(path: Path, watched: bool, then: Then) -> At {
    let walk = Walk { mask: EventMask::ACCESS_PERM, path, asked: Default::default(), then };
    if watched { At::Walk(walk) } else { At::Answered(walk) }
}

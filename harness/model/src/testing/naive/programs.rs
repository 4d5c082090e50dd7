//! Random programs about the calls that the naive kernel knows.

use std::fmt::Write as _;

use refan_program::{Program, parse};

use super::random::Random;

/// What the names of a program stand for, as far as it is written.
#[derive(Clone, Default)]
struct Names {
    groups: Vec<String>,
    queues: Vec<String>,
    files: Vec<String>,
    events: Vec<String>,
    /// Tasks that make steps, other than `main`.
    forked: Vec<String>,
    spawned: Vec<String>,
}

struct Writer<'r> {
    random: &'r mut Random,
    text: String,
    names: Names,
    made: usize,
    small: bool,
}

/// A program; a small one is a few steps and a block of few calls, about one group.
pub(super) fn random_program(random: &mut Random, small: bool) -> Program {
    let mut writer =
        Writer { random, text: String::new(), names: Names::default(), made: 0, small };
    writer.set_up();
    let parts = if small { 1 } else { 1 + writer.random.below(3) };
    for _ in 0..parts {
        for _ in 0..writer.random.below(if small { 4 } else { 6 }) {
            writer.step();
        }
        writer.block();
    }
    if !small {
        for _ in 0..writer.random.below(6) {
            writer.step();
        }
    }
    parse(&writer.text).unwrap_or_else(|error| panic!("{}", error.render("program", &writer.text)))
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a line");
    }

    fn name(&mut self, letter: char) -> String {
        self.made += 1;
        format!("{letter}{}", 100 + self.made)
    }

    fn pick(&mut self, from: &[String]) -> Option<String> {
        (!from.is_empty()).then(|| from[self.random.below(from.len())].clone())
    }

    fn path(&mut self) -> &'static str {
        ["f0", "f0", "f0", "f0", "f1", "f1", "m0", "s0"][self.random.below(8)]
    }

    /// Which kind of mark: with the sign before it.
    fn on(&mut self) -> &'static str {
        match self.random.below(8) {
            0 | 1 => " | MOUNT",
            2 => " | FILESYSTEM",
            3 => " | DONT_FOLLOW",
            _ => "",
        }
    }

    fn set_up(&mut self) {
        // Where nobody asks about opens, what is read is opened before it can be shared.
        let asks_of_reads = self.random.one_in(4);
        let groups = if self.small { 1 } else { 1 + self.random.below(2) };
        for number in 0..groups {
            let group = self.name('c');
            // Now and then two of one class.
            let high = (number == 0) != self.random.one_in(8);
            let class = if high { "CLASS_PRE_CONTENT" } else { "CLASS_CONTENT" };
            let restartable = if self.random.one_in(6) { "" } else { " | RESTARTABLE" };
            let nonblock = if self.random.one_in(2) { " | NONBLOCK" } else { "" };
            self.line(&format!(
                "{group} = fanotify_init({class}{restartable}{nonblock}, O_RDONLY)"
            ));
            let both = !asks_of_reads && self.random.one_in(3);
            let mask = if asks_of_reads { "ACCESS_PERM" } else { "OPEN_PERM" };
            let masks = if both { "OPEN_PERM | ACCESS_PERM" } else { mask };
            self.line(&format!("fanotify_mark({group}, ADD, {masks}, f0)"));
            if self.random.one_in(2) {
                let (path, on) = (self.path(), self.on());
                self.line(&format!("fanotify_mark({group}, ADD{on}, {mask}, {path})"));
            }
            if restartable.is_empty() {
                self.names.queues.push(group.clone());
            } else if !self.random.one_in(4) {
                let queue = self.name('q');
                self.line(&format!("{queue} = open_queue({group})"));
                self.names.queues.push(queue);
            }
            self.names.groups.push(group);
        }
        if asks_of_reads {
            let file = self.name('f');
            self.line(&format!("{file} = open(f0, O_RDONLY)"));
            self.names.files.push(file);
        }
        for _ in 0..1 + self.random.below(2) {
            let task = self.name('d');
            self.line(&format!("{task} = fork()"));
            self.names.forked.push(task);
        }
        for _ in 0..self.random.below(3) {
            self.spawn_access();
        }
    }

    /// An access by a task of its own: an open, or a read of what is open.
    fn spawn_access(&mut self) {
        let (task, path) = (self.name('a'), self.path());
        let call = match self.pick(&self.names.files.clone()) {
            Some(file) if !self.random.one_in(3) => {
                format!("{}({file}, 5)", if self.random.one_in(3) { "pread" } else { "read" })
            }
            _ => format!("open({path}, O_RDONLY)"),
        };
        self.line(&format!("{task} = spawn {call}"));
        self.names.spawned.push(task);
    }

    /// One that may sleep until it is woken for what it cannot take.
    fn spawn_read(&mut self) {
        if let Some(queue) = self.pick(&self.names.queues.clone()) {
            let (task, read) = (self.name('a'), self.read(&queue));
            self.line(&format!("{task} = spawn {read}"));
            self.names.spawned.push(task);
        }
    }

    /// A read from a queue, into a buffer that is or is not large enough, or that is not there.
    fn read(&mut self, queue: &str) -> String {
        if self.random.one_in(6) {
            let sizes = ["24, 12", "48, 24", "48, 30", "72, 0"];
            return format!("read_fault({queue}, {})", sizes[self.random.below(sizes.len())]);
        }
        let sizes = ["", ", 24", ", 24", ", 48", ", 10"];
        format!("read({queue}{})", sizes[self.random.below(sizes.len())])
    }

    /// A step in no block.
    fn step(&mut self) {
        let names = self.names.clone();
        match self.random.below(16) {
            0 | 1 => self.spawn_access(),
            5 => self.spawn_read(),
            6 if self.random.one_in(2) => {
                let (actor, more) = (self.actor(&names), self.random.below(3));
                self.line(&format!("{actor}rlimit_nofile({more})"));
            }
            2 => {
                if let Some(victim) = self.victim(&names) {
                    self.line(&format!("kill({victim})"));
                }
            }
            4 => {
                let of = if self.random.one_in(2) { &names.forked } else { &names.spawned };
                if let Some(task) = self.pick(of) {
                    let restart = if self.random.one_in(3) { ", RESTART" } else { "" };
                    self.line(&format!("signal({task}{restart})"));
                }
            }
            3 if !self.small => {
                let task = self.name('d');
                self.line(&format!("{task} = fork()"));
                self.names.forked.push(task);
            }
            _ => {
                let actor = self.actor(&names);
                let mut own = names.clone();
                if let Some(call) = self.call(&mut own, &actor) {
                    self.line(&call);
                }
                self.names = own;
            }
        }
    }

    /// Who makes a step: `main` without a prefix.
    fn actor(&mut self, names: &Names) -> String {
        match self.pick(&names.forked) {
            Some(task) if self.random.one_in(2) => format!("{task}: "),
            _ => String::new(),
        }
    }

    fn victim(&mut self, names: &Names) -> Option<String> {
        let of = if self.random.one_in(3) { &names.forked } else { &names.spawned };
        self.pick(of)
    }

    /// A call with names that its task knows, and gives new ones to it.
    fn call(&mut self, names: &mut Names, actor: &str) -> Option<String> {
        let queue = self.pick(&names.queues);
        let group = self.pick(&names.groups)?;
        let blocks_main = actor.is_empty() && !self.random.one_in(8);
        Some(match self.random.below(25) {
            0..=5 => {
                let (event, read) = (self.name('e'), self.read(&queue?));
                let text = format!("{actor}{event} = {read}");
                names.events.push(event);
                text
            }
            6..=11 => {
                let answer = if self.random.one_in(3) { "DENY" } else { "ALLOW" };
                let event = match self.pick(&names.events) {
                    Some(event) => event,
                    None => format!("{}", self.random.below(6)),
                };
                format!("{actor}write({}, {event}, {answer})", queue?)
            }
            12 | 13 => {
                let new = self.name('q');
                let text = format!("{actor}{new} = open_queue({group})");
                names.queues.push(new);
                text
            }
            14 | 15 => format!("{actor}close({})", queue?),
            16 if self.random.one_in(2) => format!("{actor}close({group})"),
            16 => {
                let new = self.name('q');
                let text = format!("{actor}{new} = dup({})", queue?);
                names.queues.push(new);
                text
            }
            17 => format!("{actor}poll({})", queue?),
            18 => {
                let file = self.pick(&names.files).filter(|_| self.random.one_in(2));
                format!("{actor}fionread({})", file.or(queue)?)
            }
            19 if !self.small => {
                let command = ["ADD", "ADD", "REMOVE", "FLUSH"][self.random.below(4)];
                let (path, on) = (self.path(), self.on());
                let (mask, on) = match (command, on) {
                    // FLUSH takes no other flag.
                    ("FLUSH", " | DONT_FOLLOW") => ("0", ""),
                    ("FLUSH", on) => ("0", on),
                    (_, on) => ("OPEN_PERM", on),
                };
                format!("{actor}fanotify_mark({group}, {command}{on}, {mask}, {path})")
            }
            20 | 21 if !blocks_main => {
                let (new, path) = (self.name('f'), self.path());
                let flags = if self.random.one_in(4) { "O_NOFOLLOW" } else { "O_RDONLY" };
                let text = format!("{actor}{new} = open({path}, {flags})");
                names.files.push(new);
                text
            }
            22 if !blocks_main => {
                let file = self.pick(&names.files)?;
                let call = if self.random.one_in(2) { "read" } else { "pread" };
                format!("{actor}{call}({file}, 5)")
            }
            23 if self.random.one_in(2) => {
                format!("{actor}truncate({}, {})", self.path(), self.random.below(12))
            }
            // Nobody sleeps who would have to be woken by that.
            24 => format!("{actor}setfl({}, O_RDONLY)", queue?),
            _ => return None,
        })
    }

    fn block(&mut self) {
        let before = self.names.clone();
        self.text += "par {\n";
        let mut actors = vec![String::new()];
        actors.extend(before.forked.iter().map(|task| format!("{task}: ")));
        let mut names: Vec<Names> = vec![before.clone(); actors.len()];
        let mut new = before.clone();
        let most = if self.small { 3 } else { 5 };
        let mut made = 0;
        let mut victims = Vec::new();
        while made == 0 || (made < most && !self.random.one_in(most)) {
            let which = self.random.below(actors.len());
            match self.random.below(10) {
                0 | 1 => {
                    let (task, path) = (self.name('a'), self.path());
                    self.line(&format!("    {task} = spawn open({path}, O_RDONLY)"));
                    new.spawned.push(task);
                }
                2 => {
                    let Some(queue) = self.pick(&before.queues) else { continue };
                    let task = self.name('a');
                    let event = self.pick(&before.events).unwrap_or_else(|| "2".to_owned());
                    let call = match self.random.below(3) {
                        0 => format!("read({queue}, 24)"),
                        1 => format!("write({queue}, {event}, ALLOW)"),
                        _ => format!("poll({queue})"),
                    };
                    self.line(&format!("    {task} = spawn {call}"));
                    new.spawned.push(task);
                }
                3 => {
                    let Some(victim) = self.victim(&before) else { continue };
                    // One kill of a task, and none of a branch that goes on.
                    if victims.contains(&victim) {
                        continue;
                    }
                    self.line(&format!("    {}kill({victim})", actors[which]));
                    victims.push(victim);
                }
                _ => {
                    let actor = actors[which].clone();
                    let mut own = names[which].clone();
                    let Some(call) = self.call(&mut own, &actor) else { continue };
                    self.line(&format!("    {call}"));
                    names[which] = own;
                }
            }
            made += 1;
        }
        self.text += "}\n";
        // What the branches bound is known to all from now on.
        for own in names {
            let extend = |all: &mut Vec<String>, old: &[String], own: Vec<String>| {
                all.extend(own.into_iter().skip(old.len()));
            };
            extend(&mut new.queues, &before.queues, own.queues);
            extend(&mut new.files, &before.files, own.files);
            extend(&mut new.events, &before.events, own.events);
        }
        self.names = new;
    }
}

//! The steps of a program as C: what the first process does, and what tasks do that it orders to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use refan_abi::MarkFlags;
use refan_program::{Bind, Call, Fd, Offset, Program, Start, Step, Task};

use super::call::Caller;
use super::expected::{BLOCKED, Expected, Part, has_result};
use super::{NoForm, Source, names};

/// The functions that make the steps.
pub(super) struct Story {
    /// What tasks do that are told what to do: the cases of a switch.
    pub cases: String,
    /// What the first process does.
    pub steps: String,
}

/// Writes the steps of a program that come to this.
pub(super) struct Writer<'a> {
    source: &'a Source<'a>,
    expected: &'a Expected,
    end: usize,
    /// Whether the first process is the task `main`.
    main_is_first: bool,
    /// How the call of each step stands, as far as that is certain.
    stands: BTreeMap<usize, String>,
    cases: String,
    steps: String,
}

impl<'a> Writer<'a> {
    pub(super) fn new(source: &'a Source<'a>, expected: &'a Expected, end: usize) -> Self {
        let mut writer = Self {
            source,
            expected,
            end,
            main_is_first: false,
            stands: BTreeMap::new(),
            cases: String::new(),
            steps: String::new(),
        };
        writer.main_is_first = writer.can_main_be_first();
        writer
    }

    fn program(&self) -> &'a Program {
        self.source.program
    }

    /// Whether the task `main` never sleeps in a call, and needs no table of fds to itself.
    fn can_main_be_first(&self) -> bool {
        let steps = &self.program().steps[..self.end];
        let numbers = |step: &Step| {
            let names_a_number = step.call.fds().any(|fd| matches!(fd, Fd::Number(0..)));
            names_a_number || matches!(step.call.innermost(), Call::RlimitNofile { .. })
        };
        let sleeps = |part: &Part| part.blocked.contains(&Task::MAIN);
        self.expected.ways.is_empty()
            && !steps.iter().any(numbers)
            && !self.expected.certain.iter().any(sleeps)
    }

    /// Writes all steps.
    pub(super) fn write(mut self) -> Result<Story, NoForm> {
        if self.main_is_first {
            self.line(1, "v->pids[task_main] = getpid();");
        } else {
            self.line(1, "if (new_process(task_main)) {");
            self.line(2, "close_all();");
            self.line(2, "serve();");
            self.line(1, "}");
        }
        let expected = self.expected;
        let mut at = 0;
        for part in &expected.certain {
            self.certain(part)?;
            at = part.steps.end;
        }
        if at < self.end {
            self.line(0, "");
            self.line(1, "/* What follows can go in several ways. */");
            self.line(1, &format!("forget({at});"));
        }
        while at < self.end {
            let part = self.program().block_of(at);
            at = part.end;
            if self.program().steps[part.start].block.is_some() {
                self.block(&part)?;
            } else {
                self.uncertain(part.start)?;
            }
        }
        self.line(0, "");
        self.line(1, "kill_all();");
        if !expected.ways.is_empty() {
            self.line(1, "judge();");
        }
        Ok(Story { cases: self.cases, steps: self.steps })
    }

    fn line(&mut self, indent: usize, text: &str) {
        add_line(&mut self.steps, indent, text);
    }

    fn text(&self, step: usize) -> String {
        names::literal(&self.program().step_text(&self.program().steps[step]))
    }

    fn task(&self, task: Task) -> String {
        names::task(self.program(), task)
    }

    /// What stands above a step.
    fn tell(&mut self, number: usize) {
        let step = &self.program().steps[number];
        let mut lines = step.comments.clone();
        if lines.is_empty() {
            lines.push(telling(self.program(), step));
        }
        if self.source.found.as_ref().is_some_and(|found| found.step == Some(number)) {
            lines.push("Here the kernel goes wrong.".to_owned());
        }
        self.line(0, "");
        match &lines[..] {
            [one] => self.line(1, &format!("/* {} */", plain(one))),
            _ => {
                self.line(1, "/*");
                for line in &lines {
                    self.line(1, &format!(" * {}", plain(line)));
                }
                self.line(1, " */");
            }
        }
    }

    /// A step of which it is certain what it comes to.
    fn certain(&mut self, part: &Part) -> Result<(), NoForm> {
        let number = part.steps.start;
        let step = &self.program().steps[number];
        self.tell(number);
        if !part.is_made {
            let text = plain(&self.program().step_text(step));
            self.line(
                1,
                &format!("/* `{text}` is not made: its task is gone, or still in a call. */"),
            );
            return Ok(());
        }
        self.make(number)?;
        let mut told = BTreeSet::new();
        for (of, text) in &part.changes {
            self.expect(*of, text);
            told.insert(*of);
            self.stands.insert(*of, text.clone());
        }
        if let Call::Await { task } = step.call {
            let mut before = self.program().steps[..number].iter().enumerate().rev();
            let latest = before
                .find(|(of, step)| step.caller() == Some(task) && self.stands.contains_key(of));
            if let Some((of, _)) = latest
                && !told.contains(&of)
                && let Some(text) = self.stands.get(&of).cloned()
            {
                self.expect(of, &text);
                told.insert(of);
            }
        }
        if lets_go(&step.call) || part.steps.end == self.end {
            for of in part.still.iter().filter(|of| !told.contains(of)) {
                self.expect(*of, BLOCKED);
            }
        }
        Ok(())
    }

    fn expect(&mut self, step: usize, text: &str) {
        self.line(1, &format!("expect({}, {});", step + 1, names::literal(text)));
    }

    /// A step that may come to several things, or not be made.
    fn uncertain(&mut self, number: usize) -> Result<(), NoForm> {
        let step = &self.program().steps[number];
        self.tell(number);
        let who = match (&step.call, step.caller()) {
            (Call::Await { .. } | Call::Sleep { .. }, _) => None,
            (Call::Kill { task }, None) => Some(*task),
            _ => Some(step.task),
        };
        match who {
            // Whoever is in a call can be killed.
            Some(task) if !matches!(step.call, Call::Kill { .. }) => {
                let guard = format!("if (ready({})) {{", self.task(task));
                self.line(1, &guard);
                self.indented(|writer| writer.make(number))?;
                self.line(1, "}");
            }
            _ => self.make(number)?,
        }
        self.line(1, &format!("note({});", number + 1));
        Ok(())
    }

    /// Writes something one step further in.
    fn indented(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), NoForm>,
    ) -> Result<(), NoForm> {
        let before = std::mem::take(&mut self.steps);
        let result = write(self);
        let inner = std::mem::replace(&mut self.steps, before);
        for line in inner.lines() {
            add_line(&mut self.steps, usize::from(!line.is_empty()), line);
        }
        result
    }

    /// Makes a step that stands in no block.
    fn make(&mut self, number: usize) -> Result<(), NoForm> {
        let step = &self.program().steps[number];
        let (at, text) = (number + 1, self.text(number));
        if !has_result(step) {
            self.line(1, &format!("next({at}, {text});"));
        }
        let is_first = self.main_is_first && step.task == Task::MAIN;
        match (&step.call, &step.bind) {
            (Call::Await { .. }, _) => {}
            (Call::Sleep { ms }, _) => self.line(1, &format!("sleep_ms({ms});")),
            (Call::Kill { task }, _) => {
                let victim = self.task(*task);
                self.line(1, &format!("kill_task({victim});"));
            }
            (Call::Spawn { .. }, Bind::Task(task)) => {
                let child = self.task(*task);
                self.line(1, &format!("begin({at}, {child}, {text});"));
                if is_first {
                    let lines = self.in_child(number, false)?;
                    lines.iter().for_each(|(indent, line)| self.line(1 + indent, line));
                } else {
                    let lines = self.in_child(number, false)?;
                    self.add_case(number, &lines);
                    self.order(step.task, number);
                    self.line(1, &format!("await_birth({child});"));
                }
            }
            (Call::Fork, Bind::Task(task)) => {
                let child = self.task(*task);
                if is_first {
                    self.line(1, &format!("if (new_process({child}))"));
                    self.line(2, "serve();");
                } else {
                    let lines = self.in_task(number)?;
                    self.add_case(number, &lines);
                    self.order(step.task, number);
                    self.line(1, &format!("await_birth({child});"));
                }
            }
            (Call::Exit, _) => {
                self.add_case(number, &[(0, "_exit(0);".to_owned())]);
                self.order(step.task, number);
                let task = self.task(step.task);
                self.line(1, &format!("ends({task});"));
            }
            _ => {
                let caller = self.task(step.task);
                self.line(1, &format!("begin({at}, {caller}, {text});"));
                if is_first {
                    let statement = self.statement(number)?;
                    self.line(1, &statement);
                } else {
                    let lines = self.in_task(number)?;
                    self.add_case(number, &lines);
                    self.order(step.task, number);
                }
            }
        }
        Ok(())
    }

    fn order(&mut self, task: Task, number: usize) {
        let task = self.task(task);
        self.line(1, &format!("order({task}, {});", number + 1));
    }

    fn add_case(&mut self, number: usize, lines: &[(usize, String)]) {
        add_line(&mut self.cases, 2, &format!("case {}:", number + 1));
        lines.iter().for_each(|(indent, line)| add_line(&mut self.cases, 3 + indent, line));
        if lines.last().is_none_or(|(_, line)| !line.starts_with("_exit(")) {
            add_line(&mut self.cases, 3, "break;");
        }
    }

    fn statement(&self, number: usize) -> Result<String, NoForm> {
        Caller {
            program: self.program(),
            init_flag: self.source.init_flag,
            step: number,
            any: self.expected.any.contains(&number),
        }
        .statement(&self.program().steps[number])
    }

    /// What a task does in a step: lines, and how far in they stand.
    fn in_task(&self, number: usize) -> Result<Vec<(usize, String)>, NoForm> {
        let step = &self.program().steps[number];
        Ok(match (&step.call, &step.bind) {
            (Call::Fork, Bind::Task(task)) => vec![
                (0, format!("if (new_process({}))", self.task(*task))),
                (1, "serve();".to_owned()),
            ],
            (Call::Exit, _) => vec![(0, "_exit(0);".to_owned())],
            _ => vec![(0, self.statement(number)?)],
        })
    }

    /// What makes the task of a spawned call, and has it make that.
    fn in_child(&self, number: usize, waits: bool) -> Result<Vec<(usize, String)>, NoForm> {
        let step = &self.program().steps[number];
        let Bind::Task(task) = step.bind else {
            return Err(NoForm::Call { step: number, call: "spawn".to_owned() });
        };
        let mut fds: Vec<String> =
            step.call.own_fds().map(|fd| names::fd(self.program(), fd)).collect();
        fds.dedup();
        let count = fds.len();
        let keeps: String = fds.iter().map(|fd| format!(", {fd}")).collect();
        let mut lines = vec![(0, format!("if (spawned({}, {count}{keeps})) {{", self.task(task)))];
        if waits {
            lines.push((1, "wait_for_start();".to_owned()));
        }
        lines.push((1, self.statement(number)?));
        lines.push((1, "_exit(0);".to_owned()));
        lines.push((0, "}".to_owned()));
        Ok(lines)
    }

    /// A block: its branches begin at a common instant.
    fn block(&mut self, block: &Range<usize>) -> Result<(), NoForm> {
        let program = self.program();
        self.line(0, "");
        self.line(1, "/* What follows happens at the same time. */");
        let mut branches: Vec<(Task, Vec<usize>)> = Vec::new();
        for number in block.clone() {
            let step = &program.steps[number];
            let Some(task) = step.caller() else {
                let call = step.call.name().unwrap_or("waiting for a task").to_owned();
                return Err(NoForm::Call { step: number, call });
            };
            match branches.iter_mut().find(|(of, _)| *of == task) {
                Some((_, steps)) => steps.push(number),
                None => branches.push((task, vec![number])),
            }
        }
        // Whoever makes a task in the block does it before the instant.
        branches
            .sort_by_key(|(_, steps)| !matches!(program.steps[steps[0]].call, Call::Spawn { .. }));
        for (task, steps) in &branches {
            self.branch(*task, steps)?;
        }
        self.line(1, &format!("go({});", block.end));
        Ok(())
    }

    fn branch(&mut self, task: Task, steps: &[usize]) -> Result<(), NoForm> {
        let program = self.program();
        let (first, rest) = (steps[0], &steps[1..]);
        let step = &program.steps[first];
        let (name, maker) = (self.task(task), self.task(step.task));
        for comment in steps.iter().flat_map(|number| &program.steps[*number].comments) {
            self.line(1, &format!("/* {} */", plain(comment)));
        }
        self.line(1, &format!("if (ready({maker})) {{"));
        for number in rest {
            let text = self.text(*number);
            self.line(2, &format!("later({}, {name}, {text});", number + 1));
        }
        for number in steps.iter().filter(|number| !has_result(&program.steps[**number])) {
            self.line(2, &format!("v->steps[{}].untold = 1;", number + 1));
        }
        let (text, (ns, priority)) = (self.text(first), start(step.start));
        self.line(2, &format!("begin_at({}, {name}, {text}, {ns}, {priority});", first + 1));
        let spawns = matches!(step.call, Call::Spawn { .. });
        let mut lines = if spawns {
            self.in_child(first, true)?
        } else {
            let mut lines = vec![(0, "wait_for_start();".to_owned())];
            lines.extend(self.in_task(first)?);
            lines
        };
        for number in rest {
            lines.push((0, format!("if (!goes_on({}))", number + 1)));
            lines.push((1, "break;".to_owned()));
            lines.extend(self.in_task(*number)?);
        }
        self.add_case(first, &lines);
        self.line(2, &format!("order({maker}, {});", first + 1));
        if spawns {
            self.line(2, &format!("await_birth({name});"));
        }
        self.line(1, "}");
        Ok(())
    }
}

/// When a branch begins, in nanoseconds, and its priority; -1 is with the others.
fn start(start: Option<Start>) -> (i64, u8) {
    match start {
        None => (-1, 0),
        Some(Start { at: Offset::Nanoseconds(at), priority }) => (at.into(), priority),
        Some(Start { at: Offset::Sweep, priority }) => (0, priority),
    }
}

fn add_line(text: &mut String, indent: usize, line: &str) {
    if !line.is_empty() {
        text.extend(std::iter::repeat_n('\t', indent));
        *text += line;
    }
    text.push('\n');
}

/// Text that can stand in a comment.
pub(super) fn plain(text: &str) -> String {
    text.replace("*/", "* /")
}

/// Whether who is blocked could be let go by the call, though it must not be.
fn lets_go(call: &Call) -> bool {
    match call.innermost() {
        Call::FanotifyMark { flags, .. } => flags.intersects(MarkFlags::REMOVE | MarkFlags::FLUSH),
        Call::Close { .. }
        | Call::Dup2 { .. }
        | Call::Exit
        | Call::Kill { .. }
        | Call::Signal { .. }
        | Call::Write { .. }
        | Call::WriteFault { .. }
        | Call::PageIn { .. }
        | Call::OpenQueue { .. } => true,
        _ => false,
    }
}

/// A sentence on a step.
fn telling(program: &Program, step: &Step) -> String {
    let who = program.task_name(step.caller().unwrap_or(step.task));
    match step.call.innermost() {
        Call::FanotifyInit { .. } if step.call.asks_for_restartable() => {
            format!("{who} makes a group of restartable permission events.")
        }
        Call::FanotifyInit { .. } => format!("{who} makes a group."),
        Call::FanotifyMark { flags, path, .. } if flags.contains(MarkFlags::ADD) => {
            format!("{who} puts a mark, by {path}.")
        }
        Call::FanotifyMark { .. } => format!("{who} takes marks away."),
        Call::OpenQueue { .. } | Call::OpenQueue32 { .. } => {
            format!("{who} opens the group's queue.")
        }
        Call::Read { .. } => format!("{who} reads."),
        Call::ReadFault { .. } => format!("{who} reads into a buffer that ends too early."),
        Call::ReadMissing { .. } => {
            format!("{who} reads, and stalls in copy-out where its buffer is not there yet.")
        }
        Call::PageIn { task } => format!("The buffer of {} is let in.", program.task_name(*task)),
        Call::Write { .. } => format!("{who} answers."),
        Call::Close { .. } => format!("{who} closes its fd."),
        Call::Open { path, .. } => format!("{who} opens {path}."),
        Call::Exec { path } => format!("{who} executes {path}."),
        Call::Fork => format!("{} forks.", program.task_name(step.task)),
        Call::Exit => format!("{who} exits."),
        Call::Kill { task } => format!("{} is killed.", program.task_name(*task)),
        Call::Signal { task, .. } => format!("{} gets a signal.", program.task_name(*task)),
        Call::Await { task } => format!("How the call of {} stands:", program.task_name(*task)),
        Call::Sleep { ms } => format!("{ms} ms pass."),
        Call::Dup { .. } => format!("{who} duplicates its fd."),
        call => format!("{who}: {}", call.name().unwrap_or_default()),
    }
}

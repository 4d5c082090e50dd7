//! Programs, steps and the names in them.

use std::ops::Range;

use crate::{Call, Expect, Facility, Mount, Path, Rule};

/// A program: what is run, judged, stored and shrunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Comment lines at the top, without `# `. The first one of a scenario names its rules:
    /// `R1, Q2: what it shows`.
    pub header: Vec<String>,
    /// Names of the tasks. The first is `main`, which runs every step that names no other task.
    pub tasks: Vec<String>,
    /// Names of what steps bind, other than tasks.
    pub vars: Vec<VarDecl>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// A task of a program: an index into [`Program::tasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task(pub u8);

impl Task {
    /// The task that the program starts with.
    pub const MAIN: Self = Self(0);
}

/// A variable of a program: an index into [`Program::vars`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u16);

/// Name and kind of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarDecl {
    /// As it is written in the text form.
    pub name: String,
    /// What it stands for.
    pub kind: VarKind,
}

/// What a variable stands for. Both are fd numbers to the calls that use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VarKind {
    /// An fd that a call returned.
    Fd,
    /// An event that a read returned; as an fd, its event fd.
    Event,
}

/// One step: a task makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Comment lines above the step, without `# `.
    pub comments: Vec<String>,
    /// Who makes the call.
    pub task: Task,
    /// The `par` block that the step stands in: its calls are made at the same time as those of the
    /// block's other branches.
    pub block: Option<Block>,
    /// When its branch of the block begins; only of a branch's first step.
    pub start: Option<Start>,
    /// What gets a name by it.
    pub bind: Bind,
    /// What is called.
    pub call: Call,
    /// What is expected of it, beside what the model says.
    pub expect: Option<Expect>,
}

/// A `par` block of a program, by its number: they count from 0 in the order of the steps, and
/// neighbours of the same number stand in the same block.
///
/// The steps of one task in a block are a *branch*: they are made one after another, and branches
/// run at the same time. A spawned task is a branch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block(pub u16);

/// When a branch of a block begins: `@ 2300ns prio 2`. It preempts what runs then. A branch without
/// a start is preempted by all that have one, and enters its first call at the block's common
/// instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// How long after the common instant.
    pub at: Offset,
    /// The branch's priority among those with a start, 1 to [`Program::MAX_PRIORITY`]: the higher one
    /// preempts the lower.
    pub priority: u8,
}

/// A time after a block's common instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offset {
    /// `@ 2300ns`: this many nanoseconds.
    Nanoseconds(u32),
    /// `@ sweep`: one run after another, each of the times at which the branch preempts the others
    /// at another place.
    Sweep,
}

/// What a step binds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bind {
    /// Nothing.
    #[default]
    None,
    /// The fd that the call returns.
    Fd(Var),
    /// The events that the read returns, from the first on.
    Events(Vec<Var>),
    /// The task that the call makes.
    Task(Task),
}

impl Step {
    /// The task that makes the call: of a spawn the new one. None makes what is the executor's own:
    /// an await, a sleep, a look at the kernel's log, and a kill that stands in no block.
    pub fn caller(&self) -> Option<Task> {
        match (&self.call, &self.bind) {
            (Call::Spawn { .. }, Bind::Task(task)) => Some(*task),
            (Call::Await { .. } | Call::Sleep { .. } | Call::KernelLog, _) => None,
            (Call::Kill { .. }, _) if self.block.is_none() => None,
            _ => Some(self.task),
        }
    }
}

impl Program {
    /// A program with the task `main` and no steps.
    pub fn new() -> Self {
        Self { tasks: vec!["main".to_owned()], ..Self::default() }
    }

    /// The rules that the first header line names: `R1, Q2: …`.
    pub fn rules(&self) -> Vec<Rule> {
        let Some((names, _)) = self.header.first().and_then(|line| line.split_once(':')) else {
            return Vec::new();
        };
        names
            .split(',')
            .map(|name| name.trim().parse())
            .collect::<Result<_, _>>()
            .unwrap_or_default()
    }

    /// What the first header line says behind the rules, or the whole line if it names none.
    pub fn title(&self) -> &str {
        let line = self.header.first().map_or("", String::as_str);
        if self.rules().is_empty() {
            line
        } else {
            line.split_once(':').map_or("", |(_, title)| title.trim())
        }
    }

    /// The name of a task.
    pub fn task_name(&self, task: Task) -> &str {
        self.tasks.get(usize::from(task.0)).map_or("?", String::as_str)
    }

    /// The name of a variable.
    pub fn var_name(&self, var: Var) -> &str {
        self.vars.get(usize::from(var.0)).map_or("?", |decl| decl.name.as_str())
    }

    /// The steps of the block that a step stands in; of a step in no block, that step alone.
    pub fn block_of(&self, step: usize) -> Range<usize> {
        let Some(block) = self.steps.get(step).and_then(|step| step.block) else {
            return step..step + 1;
        };
        let inside = |step: &&Step| step.block == Some(block);
        let before = self.steps[..step].iter().rev().take_while(inside).count();
        let behind = self.steps[step..].iter().take_while(inside).count();
        step - before..step + behind
    }

    /// The step whose branch is swept, if there is one.
    pub fn swept(&self) -> Option<usize> {
        let sweeps = |step: &Step| step.start.is_some_and(|start| start.at == Offset::Sweep);
        self.steps.iter().position(sweeps)
    }

    /// Whether a branch of it begins at a time, or is swept.
    pub fn is_timed(&self) -> bool {
        self.steps.iter().any(|step| step.start.is_some())
    }

    /// What it needs of the kernel that not every kernel has, each once.
    pub fn needs(&self) -> impl Iterator<Item = Facility> {
        let on_ext4 = |path: Path| path.mount() == Mount::Ext4;
        let needs = move |call: &Call, facility| match facility {
            Facility::Ext4 => call.path().is_some_and(on_ext4),
            _ => call.needs() == Some(facility),
        };
        let any = move |one: &Facility| self.steps.iter().any(|step| needs(&step.call, *one));
        Facility::ALL.into_iter().filter(any)
    }

    /// Whether a group of this program asks for the feature under test.
    pub fn is_restartable(&self) -> bool {
        self.steps.iter().any(|step| step.call.innermost().asks_for_restartable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_need_their_file_system() {
        let needs = |text| crate::parse(text).expect("a program").needs().collect::<Vec<_>>();
        assert_eq!(needs("open(f0, O_RDONLY)\n"), []);
        assert_eq!(needs("a = spawn open(ext0, O_RDONLY)\n"), [Facility::Ext4]);
        assert_eq!(needs("socket()\nopen(ext0, O_RDONLY)\n"), [Facility::Sockets, Facility::Ext4]);
    }

    #[test]
    fn a_block_is_its_neighbours_of_the_same_number() {
        let text = "poll(0)\npar {\n    poll(1)\n    a = spawn poll(2) @ sweep\n}\npar {\n    poll(3)\n}\n";
        let program = crate::parse(text).expect("a program");
        let blocks: Vec<_> = (0..4).map(|step| program.block_of(step)).collect();
        assert_eq!(blocks, [0..1, 1..3, 1..3, 3..4]);
        assert_eq!(program.swept(), Some(2));
    }

    #[test]
    fn rules_stand_before_the_colon() {
        let mut program = Program::new();
        program.header = vec!["Q2, R1: a second queue is refused".to_owned()];
        assert_eq!(program.rules().iter().map(Rule::to_string).collect::<Vec<_>>(), ["Q2", "R1"]);
        assert_eq!(program.title(), "a second queue is refused");
        program.header = vec!["Note: no rules here".to_owned()];
        assert!(program.rules().is_empty());
        assert_eq!(program.title(), "Note: no rules here");
    }
}

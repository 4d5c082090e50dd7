//! A program that is being changed: references may dangle and places may be wrong until it is
//! finished, which mends or leaves out what is not valid where it stands.

use std::collections::BTreeMap;

use crate::binary::visible_vars;
use crate::valid::{Origin, Role, Scope};
use crate::{Bind, Block, Fd, Program, Step, Task, Var};

/// Steps with variables and tasks by numbers that stay theirs wherever a step is moved.
pub(crate) struct Draft {
    pub(crate) steps: Vec<Step>,
    /// What each variable is, by its number.
    roles: Vec<Role>,
    /// How each task comes into being, by its number.
    origins: Vec<Origin>,
}

impl Draft {
    /// Begins to change a program: expectations and comments, which may not be true of another one,
    /// are left out.
    pub(crate) fn of(program: &Program) -> Self {
        let steps = program.bare().steps;
        let (roles, origins) = made_by(&steps);
        Self { steps, roles, origins }
    }

    /// What a variable is.
    pub(crate) fn role(&self, var: Var) -> Option<Role> {
        self.roles.get(usize::from(var.0)).copied()
    }

    /// The variables and tasks of these, in the order of their numbers.
    pub(crate) fn vars_of(&self, role: Role) -> Vec<Var> {
        let all = (0u16..).zip(&self.roles);
        all.filter(|(_, of)| **of == role).map(|(var, _)| Var(var)).collect()
    }

    /// Those of the steps before a place.
    pub(crate) fn tasks_before(&self, at: usize, is: impl Fn(Origin) -> bool) -> Vec<Task> {
        let main = std::iter::once(Task::MAIN);
        let made = self.steps[..at].iter().filter_map(|step| match step.bind {
            Bind::Task(task) => Some(task),
            _ => None,
        });
        main.chain(made).filter(|task| is(self.origins[usize::from(task.0)])).collect()
    }

    /// A number for one more variable.
    pub(crate) fn new_var(&mut self, role: Role) -> Var {
        self.roles.push(role);
        Var((self.roles.len() - 1) as u16)
    }

    /// A number for one more task.
    pub(crate) fn new_task(&mut self, origin: Origin) -> Task {
        self.origins.push(origin);
        Task((self.origins.len() - 1) as u8)
    }

    /// Puts steps of a valid program that begins with `before` behind that beginning: what they
    /// refer to in it keeps its number.
    pub(crate) fn insert_behind(&mut self, before: usize, new: Vec<Step>) {
        let (vars, tasks) = made_by(&self.steps[..before]);
        let mut all = self.steps[..before].to_vec();
        all.extend(new.iter().cloned());
        let (roles, origins) = made_by(&all);
        self.insert(before, new, (vars.len(), tasks.len()), &roles, &origins);
    }

    /// Puts steps of another program at a place; they refer to no step of this one.
    pub(crate) fn insert_foreign(&mut self, at: usize, other: &Self, new: Vec<Step>) {
        // `main` is the same task in all programs.
        self.insert(at, new, (0, 1), &other.roles, &other.origins);
    }

    /// Numbers from `known` on get new ones.
    fn insert(
        &mut self,
        at: usize,
        mut new: Vec<Step>,
        known: (usize, usize),
        roles: &[Role],
        origins: &[Origin],
    ) {
        let (vars, tasks) = (self.roles.len(), self.origins.len());
        if tasks + origins.len() > usize::from(u8::MAX) {
            return;
        }
        let var = |Var(var): Var| {
            let behind = usize::from(var).checked_sub(known.0);
            Var(behind.map_or(var, |behind| (vars + behind) as u16))
        };
        let task = |Task(task): Task| {
            let behind = usize::from(task).checked_sub(known.1);
            Task(behind.map_or(task, |behind| (tasks + behind) as u8))
        };
        for step in &mut new {
            refer(step, |old| Some(var(old)), |old| Some(task(old)));
            match &mut step.bind {
                Bind::None => {}
                Bind::Fd(old) => *old = var(*old),
                Bind::Events(old) => old.iter_mut().for_each(|old| *old = var(*old)),
                Bind::Task(old) => *old = task(*old),
            }
        }
        self.roles.extend(roles.get(known.0..).unwrap_or_default());
        self.origins.extend(origins.get(known.1..).unwrap_or_default());
        self.steps.splice(at..at, new);
    }

    /// The program that comes of it.
    pub(crate) fn finish(self) -> Program {
        let mut mend = Mend {
            draft: &self,
            scope: Scope::new(),
            vars: BTreeMap::new(),
            tasks: BTreeMap::from([(Task::MAIN, Task::MAIN)]),
            block: None,
        };
        let steps: Vec<Step> = self.steps.iter().filter_map(|step| mend.step(step)).collect();
        Program::of_steps(steps)
    }
}

/// What valid steps make.
fn made_by(steps: &[Step]) -> (Vec<Role>, Vec<Origin>) {
    let mut scope = Scope::new();
    for step in steps {
        let admitted = scope.admit(step);
        debug_assert!(admitted.is_ok(), "{step:?} of a valid program");
    }
    (scope.vars().to_vec(), scope.tasks().map(|(_, origin)| origin).collect())
}

/// Changes what a step refers to; whether there is something in the place of each.
fn refer(
    step: &mut Step,
    mut var: impl FnMut(Var) -> Option<Var>,
    task: impl Fn(Task) -> Option<Task>,
) -> bool {
    let mut found = true;
    for fd in step.call.fds_mut() {
        if let Fd::Var(old) = fd {
            match var(*old) {
                Some(new) => *fd = Fd::Var(new),
                None => found = false,
            }
        }
    }
    for old in [Some(&mut step.task), step.call.task_mut()].into_iter().flatten() {
        match task(*old) {
            Some(new) => *old = new,
            None => found = false,
        }
    }
    found
}

/// The valid steps so far.
struct Mend<'d> {
    draft: &'d Draft,
    scope: Scope,
    /// The numbers that variables and tasks have got.
    vars: BTreeMap<Var, Var>,
    tasks: BTreeMap<Task, Task>,
    /// The block of the last step, before and now.
    block: Option<(Block, Block)>,
}

impl Mend<'_> {
    /// The step as it is valid here; none if nothing makes it so.
    fn step(&mut self, old: &Step) -> Option<Step> {
        let block = match (old.block, self.block) {
            (Some(block), Some((before, now))) if before == block => Some(now),
            (block, _) => block.map(|_| self.scope.next_block()),
        };
        let placed = Step { block, ..old.clone() };
        let plain = Step { start: None, ..placed.clone() };
        let alone = Step { block: None, ..plain.clone() };
        let by_main = Step { task: Task::MAIN, ..alone.clone() };
        let step = [placed, plain, alone, by_main].into_iter().find_map(|step| self.admit(step))?;
        self.block = old.block.zip(step.block);
        self.learn(&old.bind, &step.bind);
        Some(step)
    }

    fn admit(&mut self, mut step: Step) -> Option<Step> {
        let seen = visible_vars(&self.scope, &step);
        let var = |old: Var| {
            let new = self.vars.get(&old).copied().filter(|new| seen.contains(new));
            new.or_else(|| {
                let role = self.draft.role(old)?;
                let same = |var: &&Var| self.scope.vars()[usize::from(var.0)] == role;
                seen.iter().find(same).copied()
            })
        };
        let task = |old: Task| {
            let origin = self.draft.origins.get(usize::from(old.0))?;
            let same = || self.scope.tasks().rev().find(|(_, of)| of == origin);
            self.tasks.get(&old).copied().or_else(|| same().map(|(task, _)| task))
        };
        if !refer(&mut step, var, task) {
            return None;
        }
        let vars = self.scope.vars().len() as u16;
        match &mut step.bind {
            Bind::None => {}
            Bind::Fd(var) => *var = Var(vars),
            Bind::Events(bound) => {
                bound.iter_mut().zip(vars..).for_each(|(bound, var)| *bound = Var(var));
            }
            Bind::Task(task) => *task = Task(self.scope.tasks().count() as u8),
        }
        self.scope.admit(&step).ok().map(|()| step)
    }

    fn learn(&mut self, old: &Bind, new: &Bind) {
        match (old, new) {
            (Bind::Fd(old), Bind::Fd(new)) => drop(self.vars.insert(*old, *new)),
            (Bind::Events(old), Bind::Events(new)) => {
                self.vars.extend(old.iter().copied().zip(new.iter().copied()));
            }
            (Bind::Task(old), Bind::Task(new)) => drop(self.tasks.insert(*old, *new)),
            _ => {}
        }
    }
}

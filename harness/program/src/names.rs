//! Names for what nobody has named.

use std::collections::HashMap;

use crate::valid::{MAIN, Origin, Role, Scope};
use crate::{Program, Step, VarDecl};

impl Program {
    /// The same steps without what only people need: no comments, no expectations, and names as
    /// the decoder gives them.
    pub fn bare(&self) -> Self {
        Self::of_steps(self.steps.iter().map(|step| Step {
            comments: Vec::new(),
            expect: None,
            ..step.clone()
        }))
    }

    /// A program of those steps that are valid behind each other.
    pub(crate) fn of_steps(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut scope = Scope::new();
        let steps = steps.into_iter().filter(|step| scope.admit(step).is_ok()).collect();
        let mut numbers = HashMap::new();
        let mut number = |word: &str| {
            let number = numbers.entry(word.to_owned()).or_insert(0);
            *number += 1;
            if *number == 1 { word.to_owned() } else { format!("{word}{number}") }
        };
        let tasks = scope.tasks().map(|(_, origin)| match origin {
            Origin::Main => MAIN.to_owned(),
            Origin::Spawned => number("a"),
            Origin::Forked => number("p"),
        });
        let tasks = tasks.collect();
        let vars = scope.vars().iter().map(|role| VarDecl {
            name: number(match role {
                Role::Group => "c",
                Role::Queue => "q",
                Role::File => "file",
                Role::Event => "e",
            }),
            kind: role.kind(),
        });
        Self { header: Vec::new(), tasks, vars: vars.collect(), steps }
    }
}

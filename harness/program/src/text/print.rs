//! A program as text.

use std::fmt;

use super::call::write_call;
use super::expect::write_expect;
use crate::{Bind, Expect, Fd, Program, Step, Task, Var};

/// Column in which expectations begin, from 0, unless the step is longer.
const EXPECT_COLUMN: usize = 25;

impl fmt::Display for Program {
    /// The canonical text of a valid program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_comments(f, &self.header)?;
        for step in &self.steps {
            write_comments(f, &step.comments)?;
            let call = self.step_text(step);
            match &step.expect {
                Some(expect) => {
                    let width = EXPECT_COLUMN - 1;
                    writeln!(f, "{call:width$} -> {}", self.expect_text(expect))?;
                }
                None => writeln!(f, "{call}")?,
            }
        }
        Ok(())
    }
}

impl Program {
    /// A step as it stands in the text form, without its expectation.
    pub fn step_text(&self, step: &Step) -> String {
        Line { program: self, step }.to_string()
    }

    /// An expectation as it stands behind the arrow.
    pub fn expect_text(&self, expect: &Expect) -> String {
        Expected { program: self, expect }.to_string()
    }
}

/// The names of a program.
#[derive(Clone, Copy)]
pub(super) struct Names<'a>(pub(super) &'a Program);

impl Names<'_> {
    pub(super) fn write_fd(self, f: &mut fmt::Formatter<'_>, fd: Fd) -> fmt::Result {
        match fd {
            Fd::Var(var) => f.write_str(self.0.var_name(var)),
            Fd::Number(number) => write!(f, "{number}"),
        }
    }

    fn write_vars(self, f: &mut fmt::Formatter<'_>, vars: &[Var]) -> fmt::Result {
        for (i, var) in vars.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, self.0.var_name(*var))?;
        }
        f.write_str(" = ")
    }
}

struct Line<'a> {
    program: &'a Program,
    step: &'a Step,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, step } = self;
        if step.task != Task::MAIN {
            write!(f, "{}: ", program.task_name(step.task))?;
        }
        match &step.bind {
            Bind::None => (),
            Bind::Fd(var) => Names(program).write_vars(f, &[*var])?,
            Bind::Events(vars) => Names(program).write_vars(f, vars)?,
            Bind::Task(task) => write!(f, "{} = ", program.task_name(*task))?,
        }
        write_call(f, Names(program), &step.call)
    }
}

struct Expected<'a> {
    program: &'a Program,
    expect: &'a Expect,
}

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_expect(f, Names(self.program), self.expect)
    }
}

fn write_comments(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    for line in lines {
        writeln!(f, "{}", if line.is_empty() { "#".to_owned() } else { format!("# {line}") })?;
    }
    Ok(())
}

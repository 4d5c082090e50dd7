//! A program as text.

use std::fmt;

use super::call::write_call;
use super::expect::write_expect;
use super::start::write_start;
use crate::{Bind, Expect, Fd, Program, Start, Step, Task, Var};

/// Column in which expectations begin, from 0 and from the step's own, unless the step is longer.
/// In a block it is that of starts.
const COLUMN: usize = 25;
/// Column in which expectations begin in a block with starts.
const BEHIND_STARTS: usize = 44;
/// What stands before a step in a block.
const INDENT: &str = "    ";

impl fmt::Display for Program {
    /// The canonical text of a valid program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_comments(f, "", &self.header)?;
        for (number, step) in self.steps.iter().enumerate() {
            let Some(_) = step.block else {
                write_comments(f, "", &step.comments)?;
                self.write_step(f, step, COLUMN)?;
                continue;
            };
            let block = self.block_of(number);
            if number == block.start {
                write_comments(f, "", &step.comments)?;
                writeln!(f, "par {{")?;
            } else {
                write_comments(f, INDENT, &step.comments)?;
            }
            f.write_str(INDENT)?;
            let starts = self.steps[block.clone()].iter().any(|step| step.start.is_some());
            self.write_step(f, step, if starts { BEHIND_STARTS } else { COLUMN })?;
            if number + 1 == block.end {
                writeln!(f, "}}")?;
            }
        }
        Ok(())
    }
}

impl Program {
    fn write_step(
        &self,
        f: &mut fmt::Formatter<'_>,
        step: &Step,
        expect_column: usize,
    ) -> fmt::Result {
        let mut line = Line { program: self, step }.to_string();
        if let Some(start) = step.start {
            let width = COLUMN - 1;
            line = format!("{line:width$} {}", Starts(start));
        }
        match &step.expect {
            Some(expect) => {
                let width = expect_column - 1;
                writeln!(f, "{line:width$} -> {}", self.expect_text(expect))
            }
            None => writeln!(f, "{line}"),
        }
    }

    /// A step as it stands in the text form, without its expectation.
    pub fn step_text(&self, step: &Step) -> String {
        let line = Line { program: self, step };
        match step.start {
            Some(start) => format!("{line} {}", Starts(start)),
            None => line.to_string(),
        }
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

struct Starts(Start);

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_start(f, self.0)
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

fn write_comments(f: &mut fmt::Formatter<'_>, indent: &str, lines: &[String]) -> fmt::Result {
    for line in lines {
        let text = if line.is_empty() { "#".to_owned() } else { format!("# {line}") };
        writeln!(f, "{indent}{text}")?;
    }
    Ok(())
}

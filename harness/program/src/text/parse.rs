//! A text as a program.

use super::call::{Resolve, read_call};
use super::cursor::{Cursor, Kind};
use super::error::{ParseError, near_miss};
use super::expect::read_expect;
use super::start::read_start;
use crate::valid::{Binds, Fault, Part, Scope, check_comment, check_name};
use crate::{Bind, Block, Fd, Path, Program, Step, Task, Var, VarDecl, VarKind};

/// The word that begins a block.
const PAR: &str = "par";

/// Reads a program from its text form.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    let mut parser =
        Parser { program: Program::new(), scope: Scope::new(), bound: Vec::new(), block: None };
    let mut comments = Vec::new();
    let mut last = 0;
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim_end();
        match text.trim_start().strip_prefix('#') {
            Some(comment) => {
                let comment = comment.strip_prefix(' ').unwrap_or(comment);
                check_comment(comment).map_err(|fault| at(line, 1, fault))?;
                comments.push(comment.to_owned());
                last = line;
            }
            None if text.is_empty() => (),
            None => {
                let mut cursor = Cursor::new(line, text)?;
                if parser.brace(&mut cursor, &comments)? {
                    continue;
                }
                if parser.program.steps.is_empty() {
                    parser.program.header = std::mem::take(&mut comments);
                }
                parser.step(line, &mut cursor, std::mem::take(&mut comments))?;
            }
        }
    }
    if let Some((_, line)) = parser.block {
        return Err(at(line, 1, Fault::new("a block without an end", "`}` on a line below it")));
    }
    if parser.program.steps.is_empty() {
        parser.program.header = comments;
    } else if !comments.is_empty() {
        let fault = Fault::new("a comment at the end", "a step below it");
        return Err(at(last, 1, fault));
    }
    Ok(parser.program)
}

fn at(line: usize, column: usize, fault: Fault) -> ParseError {
    ParseError {
        line,
        column,
        found: fault.found,
        expected: vec![fault.expected],
        suggestion: None,
    }
}

struct Parser {
    program: Program,
    scope: Scope,
    /// Each name that a step has bound, with its line.
    bound: Vec<(String, usize)>,
    /// The block that the next step stands in, and the line in which it begins.
    block: Option<(Block, usize)>,
}

impl Parser {
    /// Reads `par {` or `}`, if it is there.
    fn brace(&mut self, cursor: &mut Cursor, comments: &[String]) -> Result<bool, ParseError> {
        let column = cursor.column();
        if *cursor.peek() == Kind::Word(PAR.to_owned()) {
            if let Some((_, line)) = self.block {
                let found = format!("`{PAR}` in the block of line {line}");
                return Err(cursor.error_at(column, found, &["a step", "`}`"]));
            }
            cursor.skip();
            cursor.mark("{")?;
            self.block = Some((self.scope.next_block(), cursor.line()));
        } else if cursor.takes("}") {
            let found = "`}`".to_owned();
            let Some((block, _)) = self.block.take() else {
                return Err(cursor.error_at(column, found, &["a step", "`par {`"]));
            };
            if !comments.is_empty() {
                let found = "a comment at the end of a block".to_owned();
                return Err(cursor.error_at(column, found, &["a step below it"]));
            }
            if block == self.scope.next_block() {
                return Err(cursor.error_at(column, found, &["a step"]));
            }
        } else {
            return Ok(false);
        }
        if *cursor.peek() == Kind::End {
            Ok(true)
        } else {
            Err(cursor.error(&["the end of the line"]))
        }
    }

    fn step(
        &mut self,
        line: usize,
        cursor: &mut Cursor,
        comments: Vec<String>,
    ) -> Result<(), ParseError> {
        let task_column = cursor.column();
        let task = self.actor(cursor)?;
        let bind_column = cursor.column();
        let new = self.new_names(cursor)?;
        let call_column = cursor.column();
        let call = read_call(cursor, self)?;
        let bind = match (Binds::of(&call), new.as_slice()) {
            (_, []) => Bind::None,
            (Binds::Fd, [_]) => Bind::Fd(Var(self.program.vars.len() as u16)),
            (Binds::Task, [_]) => Bind::Task(Task(self.program.tasks.len() as u8)),
            (Binds::Events, new) => {
                let first = self.program.vars.len() as u16;
                Bind::Events((first..).take(new.len()).map(Var).collect())
            }
            (Binds::Nothing, [..]) => {
                let expected = "the call alone: it returns nothing that could be named";
                let found = "a name".to_owned();
                return Err(cursor.error_at(bind_column, found, &[expected]));
            }
            (Binds::Fd | Binds::Task, [_, (name, column), ..]) => {
                return Err(cursor.error_at(*column, format!("`{name}`"), &["one name"]));
            }
        };
        let names = new.into_iter().map(|(name, _)| name);
        for name in names {
            self.bound.push((name.clone(), line));
            match &bind {
                Bind::Task(_) => self.program.tasks.push(name),
                Bind::Events(_) => self.program.vars.push(VarDecl { name, kind: VarKind::Event }),
                _ => self.program.vars.push(VarDecl { name, kind: VarKind::Fd }),
            }
        }
        let start_column = cursor.column();
        let start = if cursor.takes("@") { Some(read_start(cursor)?) } else { None };
        let arrow = cursor.takes("->");
        let expect_column = cursor.column();
        let expect =
            if arrow { Some(read_expect(cursor, self, self.scope.returns(&call))?) } else { None };
        if *cursor.peek() != Kind::End {
            let ends = ["`->`", "the end of the line"];
            return Err(cursor.error(if arrow { &ends[1..] } else { &ends }));
        }
        let block = self.block.map(|(block, _)| block);
        let step = Step { comments, task, block, start, bind, call, expect };
        self.scope.admit(&step).map_err(|(part, fault)| {
            let column = match part {
                Part::Task => task_column,
                Part::Bind => bind_column,
                Part::Call => call_column,
                Part::Start => start_column,
                Part::Expect => expect_column,
            };
            at(line, column, fault)
        })?;
        self.program.steps.push(step);
        Ok(())
    }

    /// Reads `TASK:`, if it is there.
    fn actor(&self, cursor: &mut Cursor) -> Result<Task, ParseError> {
        match (cursor.peek().clone(), cursor.peek_second()) {
            (Kind::Word(name), Kind::Mark(":")) => {
                let task = self.task(cursor, &name)?;
                cursor.skip();
                cursor.skip();
                Ok(task)
            }
            _ => Ok(Task::MAIN),
        }
    }

    /// Reads `NAME, NAME =`, if it is there: each name with its column.
    fn new_names(&self, cursor: &mut Cursor) -> Result<Vec<(String, usize)>, ParseError> {
        let mut names: Vec<(String, usize)> = Vec::new();
        if !matches!(cursor.peek_second(), Kind::Mark("=" | ",")) {
            return Ok(names);
        }
        loop {
            let Kind::Word(name) = cursor.peek().clone() else {
                return Err(cursor.error(&["a name"]));
            };
            let column = cursor.column();
            let fault = |fault: Fault| {
                let expected = fault.expected;
                cursor.error_at(column, fault.found, &[&expected])
            };
            check_name(&name).map_err(fault)?;
            if let Some((_, line)) = self.bound.iter().find(|(bound, _)| *bound == name) {
                let found = format!("`{name}`, which line {line} binds");
                return Err(fault(Fault::new(found, "a new name")));
            }
            if names.iter().any(|(earlier, _)| *earlier == name) {
                return Err(fault(Fault::new(format!("`{name}` again"), "a new name")));
            }
            names.push((name, column));
            cursor.skip();
            if cursor.takes("=") {
                return Ok(names);
            }
            if !cursor.takes(",") {
                return Err(cursor.error(&["`,`", "`=`"]));
            }
        }
    }

    fn has_task(&self, name: &str) -> Option<Task> {
        let at = self.program.tasks.iter().position(|task| task == name)?;
        Some(Task(at as u8))
    }

    fn has_var(&self, name: &str) -> Option<Var> {
        let at = self.program.vars.iter().position(|decl| decl.name == name)?;
        Some(Var(at as u16))
    }
}

impl Resolve for Parser {
    fn fd(&self, cursor: &Cursor, name: &str) -> Result<Fd, ParseError> {
        if let Some(var) = self.has_var(name) {
            return Ok(Fd::Var(var));
        }
        let what = if self.has_task(name).is_some() {
            "a task"
        } else if name.parse::<Path>().is_ok() {
            "a file"
        } else {
            "which no earlier step binds"
        };
        let found = format!("`{name}`, {what}");
        let error = cursor.error_at(cursor.column(), found, &["an fd", "an event", "a number"]);
        let suggestion = near_miss(name, self.program.vars.iter().map(|decl| decl.name.as_str()));
        Err(ParseError { suggestion, ..error })
    }

    fn task(&self, cursor: &Cursor, name: &str) -> Result<Task, ParseError> {
        if let Some(task) = self.has_task(name) {
            return Ok(task);
        }
        let what = match self.has_var(name).map(|var| self.program.vars[usize::from(var.0)].kind) {
            Some(VarKind::Fd) => "an fd",
            Some(VarKind::Event) => "an event",
            None => "which no earlier step makes",
        };
        let error = cursor.error_at(cursor.column(), format!("`{name}`, {what}"), &["a task"]);
        let suggestion = near_miss(name, self.program.tasks.iter().map(String::as_str));
        Err(ParseError { suggestion, ..error })
    }
}

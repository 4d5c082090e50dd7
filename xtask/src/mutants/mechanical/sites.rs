//! Where a function can be told to do otherwise at run time: its statements, conditions and
//! initializers.

use std::ops::Range;

use super::tokens::{Kind, Token, closing};

/// A place in a function, as a range of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The function.
    pub function: String,
    /// What it is.
    pub form: Form,
    /// All that another text may stand for.
    pub range: Range<usize>,
}

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What stands in the brackets of `if`, `while` and `for`, between semicolons there.
    Condition,
    /// A call or assignment, with its semicolon.
    Statement,
    /// `goto`, `break` or `continue`, with its semicolon.
    Jump,
    /// `return` with its semicolon. The last one of a function has nothing behind it.
    Return {
        /// Whether the function ends with it.
        last: bool,
    },
    /// What a variable begins with.
    Initializer,
    /// What is locked up to the end of the block.
    Guard,
}

/// Macros that declare a variable, or check at compile time.
const DECLARING: &[&str] =
    &["CLASS", "LIST_HEAD", "HLIST_HEAD", "BUILD_BUG_ON", "BUILD_BUG_ON_MSG"];

/// Calls that only tell or check: without them the kernel does the same.
const TELLING: &[&str] =
    &["pr_debug", "pr_warn", "pr_err", "assert_spin_locked", "lockdep_assert_held", "might_sleep"];

/// Words that a declaration begins with, beside a type's own name.
const TYPE_WORDS: &[&str] = &[
    "const", "static", "struct", "union", "enum", "unsigned", "signed", "volatile", "void", "bool",
    "char", "short", "int", "long",
];

/// All places of all functions of a file.
pub fn sites(tokens: &[Token<'_>]) -> Vec<Site> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text != "{" {
            at += 1;
            continue;
        }
        let end = closing(tokens, at);
        if let Some(function) = function_before(tokens, at) {
            let mut parser = Parser { tokens, function, at: at + 1, end, sites: &mut all };
            while parser.at < end {
                parser.statement(true);
            }
        }
        at = end + 1;
    }
    all
}

/// The name of the function whose body opens at `open`, if it is one.
fn function_before(tokens: &[Token<'_>], open: usize) -> Option<String> {
    let mut close = open.checked_sub(1)?;
    loop {
        if tokens[close].text != ")" {
            return None;
        }
        let begin = opening(tokens, close)?;
        let word = tokens[begin.checked_sub(1)?];
        if word.kind != Kind::Word {
            return None;
        }
        // An annotation such as `__releases(lock)` stands behind the parameters.
        let before = begin.checked_sub(2).filter(|&before| tokens[before].text == ")");
        if let Some(before) = before.filter(|_| word.text.starts_with("__")) {
            close = before;
            continue;
        }
        let is_macro = word.text.starts_with("SYSCALL_DEFINE");
        return Some(if is_macro { tokens[begin + 1].text } else { word.text }.to_owned());
    }
}

fn opening(tokens: &[Token<'_>], close: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for index in (0..=close).rev() {
        match tokens[index].text {
            ")" => depth += 1,
            "(" => {
                depth -= 1;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    function: String,
    at: usize,
    end: usize,
    sites: &'a mut Vec<Site>,
}

impl Parser<'_> {
    fn text(&self, at: usize) -> &str {
        if at < self.end { self.tokens[at].text } else { "" }
    }

    fn add(&mut self, form: Form, range: Range<usize>) {
        if !range.is_empty() {
            self.sites.push(Site { function: self.function.clone(), form, range });
        }
    }

    /// One statement; `outermost` ones are those of the function's own block.
    fn statement(&mut self, outermost: bool) {
        let begin = self.at;
        match self.text(begin) {
            "{" => {
                let close = closing(self.tokens, begin);
                self.at += 1;
                while self.at < close {
                    self.statement(false);
                }
                self.at = close + 1;
            }
            "if" | "while" => {
                let inside = self.brackets(begin + 1);
                self.add(Form::Condition, inside);
                self.statement(false);
                if self.text(begin) == "if" && self.text(self.at) == "else" {
                    self.at += 1;
                    self.statement(false);
                }
            }
            "for" => {
                let inside = self.brackets(begin + 1);
                let semicolons: Vec<usize> =
                    inside.clone().filter(|&at| self.text(at) == ";").collect();
                if let [first, second] = semicolons.as_slice() {
                    self.add(Form::Condition, first + 1..*second);
                }
                self.statement(false);
            }
            "do" => {
                self.at += 1;
                self.statement(false);
                let inside = self.brackets(self.at + 1);
                self.add(Form::Condition, inside);
                self.at += 1;
            }
            "switch" => {
                self.brackets(begin + 1);
                self.statement(false);
            }
            "case" | "default" => {
                while self.at < self.end && self.text(self.at) != ":" {
                    self.at += 1;
                }
                self.at += 1;
            }
            "goto" | "break" | "continue" => {
                self.end_statement();
                self.add(Form::Jump, begin..self.at);
            }
            "return" => {
                self.end_statement();
                let last = outermost && self.at >= self.end;
                self.add(Form::Return { last }, begin..self.at);
            }
            ";" => self.at += 1,
            _ if self.text(begin + 1) == ":" => self.at += 2,
            _ => self.simple(),
        }
    }

    /// A declaration, a call, an assignment, or a macro that heads a block.
    fn simple(&mut self) {
        let begin = self.at;
        if self.tokens[begin].kind == Kind::Word && self.text(begin + 1) == "(" {
            let behind = closing(self.tokens, begin + 1) + 1;
            if self.text(begin) == "guard" && self.text(behind) == "(" {
                let inside = self.brackets(behind);
                self.add(Form::Guard, inside);
                self.end_statement();
                return;
            }
            let heads = self.text(behind) == "{"
                || (behind < self.end && self.tokens[behind].kind == Kind::Word);
            if heads {
                self.at = behind;
                self.statement(false);
                return;
            }
        }
        self.end_statement();
        let first = self.text(begin);
        if self.is_declaration(begin) {
            if first != "static" {
                self.initializers(begin);
            }
        } else if !DECLARING.contains(&first) && !TELLING.contains(&first) {
            self.add(Form::Statement, begin..self.at);
        }
    }

    fn is_declaration(&self, begin: usize) -> bool {
        if self.tokens[begin].kind != Kind::Word {
            return false;
        }
        if TYPE_WORDS.contains(&self.text(begin)) {
            return true;
        }
        // `pid_t pid`, `poll_table *wait`
        let name = (begin + 1..self.at).find(|&at| self.text(at) != "*");
        name.is_some_and(|name| self.tokens[name].kind == Kind::Word)
    }

    /// What the variables of the declaration from `begin` on begin with.
    fn initializers(&mut self, begin: usize) {
        let (mut at, end) = (begin, self.at - 1);
        let mut found = Vec::new();
        while at < end {
            match self.text(at) {
                "(" | "[" | "{" => at = closing(self.tokens, at),
                "=" => {
                    let from = at + 1;
                    while at < end && self.text(at) != "," {
                        if matches!(self.text(at), "(" | "[" | "{") {
                            at = closing(self.tokens, at);
                        }
                        at += 1;
                    }
                    if self.text(from) != "{" {
                        found.push(from..at);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        for range in found {
            self.add(Form::Initializer, range);
        }
    }

    /// Goes behind the brackets that open at `open`, and says what is in them.
    fn brackets(&mut self, open: usize) -> Range<usize> {
        let close = closing(self.tokens, open);
        self.at = close + 1;
        open + 1..close
    }

    /// Goes behind the next semicolon that no bracket holds.
    fn end_statement(&mut self) {
        while self.at < self.end && self.text(self.at) != ";" {
            if matches!(self.text(self.at), "(" | "[" | "{") {
                self.at = closing(self.tokens, self.at);
            }
            self.at += 1;
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    fn found(source: &str) -> Vec<(Form, String)> {
        let all = tokens(source);
        let text = |range: Range<usize>| {
            all[range].iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
        };
        sites(&all).into_iter().map(|site| (site.form, text(site.range))).collect()
    }

    #[test]
    fn statements_conditions_and_initializers_are_found() {
        let source = "\
static int f(struct g *g) __releases(&g->lock)\n{\n\
\tint a = 1, b;\n\tLIST_HEAD(l);\n\tconst struct x y = { .z = 1 };\n\n\
\tif (a &&\n\t    b)\n\t\ta = b; /* c */\n\telse if (b) {\n\t\tcall(a, b);\n\t}\n\
\tlist_for_each_entry(a, b, c)\n\t\tcontinue;\n\
\tfor (a = 0; a < b; a++)\n\t\tgo(a);\n\
\tswitch (a) {\n\tcase A:\n\t\treturn go();\n\tdefault:\n\t\tgoto out;\n\t}\n\
\tguard(mutex)(&g->m);\n\tpr_debug(\"%d\", a);\n\
out:\n\twhile (a)\n\t\ta--;\n\treturn a;\n}\n";
        use Form::*;
        let expected = [
            (Initializer, "1"),
            (Condition, "a && b"),
            (Statement, "a = b ;"),
            (Condition, "b"),
            (Statement, "call ( a , b ) ;"),
            (Jump, "continue ;"),
            (Condition, "a < b"),
            (Statement, "go ( a ) ;"),
            (Return { last: false }, "return go ( ) ;"),
            (Jump, "goto out ;"),
            (Guard, "& g -> m"),
            (Condition, "a"),
            (Statement, "a -- ;"),
            (Return { last: true }, "return a ;"),
        ];
        let expected: Vec<_> = expected.map(|(form, text)| (form, text.to_owned())).into();
        assert_eq!(found(source), expected);
        assert_eq!(sites(&tokens(source))[0].function, "f");
    }

    #[test]
    fn tables_and_types_are_no_functions() {
        assert!(
            found("struct a { int b; };\nstatic const struct a c = {\n\t.b = 1,\n};\n").is_empty()
        );
        let source = "SYSCALL_DEFINE2(init, unsigned int, a, int, b)\n{\n\tgo(a);\n}\n";
        assert_eq!(sites(&tokens(source))[0].function, "init");
    }
}

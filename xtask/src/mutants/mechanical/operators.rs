//! The rules by which a place is changed.

use std::ops::Range;

use super::sites::{Form, Site};
use super::tokens::{Kind, Token};

/// A change of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The rule.
    pub operator: &'static str,
    /// The token that makes it one: whether the change is of a line is said by where that is.
    pub anchor: usize,
    /// What stands there instead; nothing where it is left out.
    pub text: Option<String>,
}

/// Operators that are taken for one another.
const OPERATORS: &[(&str, &str)] = &[
    ("&&", "||"),
    ("||", "&&"),
    ("==", "!="),
    ("!=", "=="),
    ("<", "<="),
    ("<=", "<"),
    (">", ">="),
    (">=", ">"),
    ("++", "--"),
    ("--", "++"),
    ("+=", "-="),
    ("-=", "+="),
    ("|=", "&="),
    ("&=", "|="),
];

/// The same of those that have another meaning before an operand.
const BINARY: &[(&str, &str)] = &[("&", "|"), ("|", "&"), ("+", "-"), ("-", "+")];

/// Calls that are taken for one another.
const CALLS: &[(&str, &str)] = &[
    ("list_add", "list_add_tail"),
    ("list_add_tail", "list_add"),
    ("list_move", "list_move_tail"),
    ("list_move_tail", "list_move"),
    ("list_splice", "list_splice_tail"),
    ("list_splice_tail", "list_splice"),
    ("list_splice_init", "list_splice"),
    ("list_del_init", "list_del"),
    ("list_del", "list_del_init"),
    ("wake_up", "wake_up_all"),
    ("wake_up_all", "wake_up"),
];

/// Locks, and what gives them back.
const LOCKS: &[(&str, &str)] = &[("spin_lock", "spin_unlock"), ("mutex_lock", "mutex_unlock")];

/// Source text as tokens.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// All of them.
    pub tokens: &'a [Token<'a>],
}

impl Text<'_> {
    /// A range on one line, without comments.
    pub fn plain(&self, range: Range<usize>) -> String {
        self.changed(range, usize::MAX, "")
    }

    /// The same with another text for one token.
    fn changed(&self, range: Range<usize>, which: usize, text: &str) -> String {
        let mut line = String::new();
        let mut end = self.tokens[range.start].at;
        for index in range {
            let token = self.tokens[index];
            if token.at > end {
                line.push(' ');
            }
            line.push_str(if index == which { text } else { token.text });
            end = token.end();
        }
        line
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.text == text)
    }
}

/// All changes of a place.
pub fn variants(text: Text<'_>, site: &Site) -> Vec<Variant> {
    let Range { start, end } = site.range;
    let variant = |operator, text: String| Variant { operator, anchor: start, text: Some(text) };
    let left_out = |operator| Variant { operator, anchor: start, text: None };
    let mut all = Vec::new();
    match site.form {
        Form::Condition => {
            all.push(variant("negated", format!("!({})", text.plain(start..end))));
            all.push(variant("always", "true".to_owned()));
            all.push(variant("never", "false".to_owned()));
        }
        Form::Statement | Form::Jump => all.push(left_out("left-out")),
        Form::Return { last } => {
            if !last {
                all.push(left_out("left-out"));
            }
            all.extend(returned(text, start + 1..end - 1).map(|it| variant("returned", it)));
        }
        Form::Initializer => {}
        Form::Guard => {
            all.push(variant("unlocked", "fsnotify_own_mutex(&(struct mutex){ })".to_owned()));
            return all;
        }
    }
    for at in start..end {
        let change = |operator, instead: &str| Variant {
            operator,
            anchor: at,
            text: Some(text.changed(start..end, at, instead)),
        };
        if let Some(instead) = exchanged(text, site, at) {
            all.push(change("exchanged", instead));
        } else if let Some(instead) = constant(text, at) {
            all.push(change("constant", &instead));
        }
    }
    all
}

/// What is returned instead.
fn returned(text: Text<'_>, expression: Range<usize>) -> Option<String> {
    let tokens = &text.tokens[expression.clone()];
    let words: Vec<&str> = tokens.iter().map(|token| token.text).collect();
    match words.as_slice() {
        [] => None,
        ["0"] => Some("return -EINVAL;".to_owned()),
        _ if tokens.iter().any(|token| is_logical(token.text)) => {
            Some(format!("return !({});", text.plain(expression)))
        }
        _ => Some("return 0;".to_owned()),
    }
}

fn is_logical(operator: &str) -> bool {
    matches!(operator, "&&" | "||" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "!")
}

/// What an operator or a call is taken for; an operator that is dropped leaves nothing.
fn exchanged(text: Text<'_>, site: &Site, at: usize) -> Option<&'static str> {
    let of = |pairs: &[(&str, &'static str)]| {
        pairs.iter().find(|(from, _)| text.is(at, from)).map(|(_, to)| *to)
    };
    if text.tokens[at].kind == Kind::Word {
        return of(CALLS).filter(|_| text.is(at + 1, "("));
    }
    // Where it is all one comparison the negation is that change already.
    let inside = &text.tokens[site.range.clone()];
    let is_one = !inside.iter().any(|token| matches!(token.text, "&&" | "||" | "?"));
    let is_negated_already = is_one && matches!(site.form, Form::Condition | Form::Return { .. });
    match text.tokens[at].text {
        "==" | "!=" if is_negated_already => None,
        "!" if is_negated_already && at == site.range.start => None,
        "!" | "~" => Some(""),
        _ if is_binary(text, at) => of(BINARY).or_else(|| of(OPERATORS)),
        _ => of(OPERATORS),
    }
}

/// Whether an operand stands before the operator.
fn is_binary(text: Text<'_>, at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| text.tokens[at]) else { return false };
    match before.kind {
        Kind::Word => before.text != "return",
        Kind::Number | Kind::Literal => true,
        Kind::Punctuation => matches!(before.text, ")" | "]"),
    }
}

/// What a constant is changed to: the next one.
fn constant(text: Text<'_>, at: usize) -> Option<String> {
    let token = text.tokens[at];
    match token.kind {
        Kind::Number if token.text == "0" => Some("1".to_owned()),
        Kind::Number => Some(format!("({} + 1)", token.text)),
        Kind::Word if token.text == "true" => Some("false".to_owned()),
        Kind::Word if token.text == "false" => Some("true".to_owned()),
        Kind::Word if is_name_of_a_constant(token.text) => {
            let is_called = text.is(at + 1, "(");
            // IS_ENABLED() wants a name.
            let is_name = at >= 2 && text.is(at - 2, "IS_ENABLED");
            (!is_called && !is_name && token.text != "NULL")
                .then(|| format!("({} + 1)", token.text))
        }
        _ => None,
    }
}

fn is_name_of_a_constant(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The statements that take a lock and give it back: of each of a function's takings of a lock, those up
/// to the next one of the same lock. Indices of `sites`; the first one takes it.
pub fn lockings(text: Text<'_>, sites: &[Site]) -> Vec<Vec<usize>> {
    let call = |site: &Site| -> Option<(&str, String)> {
        let Range { start, end } = site.range;
        let is_call = site.form == Form::Statement && text.is(start + 1, "(");
        is_call.then(|| (text.tokens[start].text, text.plain(start + 1..end)))
    };
    let mut all = Vec::new();
    for (first, site) in sites.iter().enumerate() {
        let Some((name, what)) = call(site) else { continue };
        let Some((lock, unlock)) = LOCKS.iter().find(|(lock, _)| *lock == name) else { continue };
        let later = sites.iter().enumerate().skip(first + 1);
        let mut locking = vec![first];
        for (index, other) in later.take_while(|(_, other)| other.function == site.function) {
            match call(other) {
                Some((name, same)) if same == what && name == *unlock => locking.push(index),
                Some((name, same)) if same == what && name == *lock => break,
                _ => {}
            }
        }
        if locking.len() > 1 {
            all.push(locking);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::sites::sites;
    use super::super::tokens::tokens;
    use super::*;

    fn changes(statement: &str) -> Vec<(&'static str, String)> {
        let source = format!("int f(void)\n{{\n\t{statement}\n\tend();\n}}\n");
        let tokens = tokens(&source);
        let text = Text { tokens: &tokens };
        let all = sites(&tokens);
        let of = |site| variants(text, site);
        all[..all.len() - 1]
            .iter()
            .flat_map(of)
            .map(|it| (it.operator, it.text.unwrap_or_default()))
            .collect()
    }

    fn expect(statement: &str, expected: &[(&'static str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(it, text)| (*it, (*text).to_owned())).collect();
        assert_eq!(changes(statement), expected, "{statement}");
    }

    #[test]
    fn conditions_are_negated_and_forced() {
        expect(
            "if (!a->b ||\n\t    c > 0)\n\t\t;",
            &[
                ("negated", "!(!a->b || c > 0)"),
                ("always", "true"),
                ("never", "false"),
                ("exchanged", "a->b || c > 0"),
                ("exchanged", "!a->b && c > 0"),
                ("exchanged", "!a->b || c >= 0"),
                ("constant", "!a->b || c > 1"),
            ],
        );
        expect(
            "while (a == B)\n\t\t;",
            &[("negated", "!(a == B)"), ("always", "true"), ("never", "false")],
        );
    }

    #[test]
    fn statements_are_left_out_and_their_parts_exchanged() {
        expect(
            "list_add_tail(&a, b & FAN_X);",
            &[
                ("left-out", ""),
                ("exchanged", "list_add(&a, b & FAN_X);"),
                ("exchanged", "list_add_tail(&a, b | FAN_X);"),
                ("constant", "list_add_tail(&a, b & (FAN_X + 1));"),
            ],
        );
        expect("a->n++;", &[("left-out", ""), ("exchanged", "a->n--;")]);
    }

    #[test]
    fn something_else_is_returned() {
        expect(
            "return -EBUSY;",
            &[("left-out", ""), ("returned", "return 0;"), ("constant", "return -(EBUSY + 1);")],
        );
        expect(
            "return a > b;",
            &[("left-out", ""), ("returned", "return !(a > b);"), ("exchanged", "return a >= b;")],
        );
        expect("return;", &[("left-out", "")]);
        expect("guard(mutex)(&a->m);", &[("unlocked", "fsnotify_own_mutex(&(struct mutex){ })")]);
    }

    #[test]
    fn a_lock_goes_with_all_that_give_it_back() {
        let source = "void f(void)\n{\n\tspin_lock(&a);\n\tif (b) {\n\t\tspin_unlock(&a);\n\t\treturn;\n\t}\n\
                      \tspin_unlock(&a);\n\tspin_lock(&a);\n\tspin_unlock(&a);\n}\n\
                      void g(void)\n{\n\tspin_unlock(&a);\n}\n";
        let tokens = tokens(source);
        let all = sites(&tokens);
        let text = Text { tokens: &tokens };
        let lines: Vec<Vec<usize>> = lockings(text, &all)
            .iter()
            .map(|it| it.iter().map(|&site| tokens[all[site].range.start].line).collect())
            .collect();
        assert_eq!(lines, [vec![3, 5, 8], vec![9, 10]]);
    }
}

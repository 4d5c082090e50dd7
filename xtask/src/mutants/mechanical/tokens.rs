//! C source as tokens: what is needed to find statements, not to understand them.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword.
    Word,
    Number,
    /// A string or a character.
    Literal,
    /// An operator, the longest that fits, or a bracket.
    Punctuation,
}

/// A token and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// As it is written.
    pub text: &'a str,
    /// Offset of its first byte.
    pub at: usize,
    /// Its line, the first one is 1.
    pub line: usize,
}

impl Token<'_> {
    /// Offset behind its last byte.
    pub fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// Operators of more than one character, longer ones first.
const OPERATORS: &[&str] = &[
    "<<=", ">>=", "...", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "+=",
    "-=", "*=", "/=", "%=", "&=", "|=", "^=",
];

/// The tokens of a source file. Comments and preprocessor lines are none.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let (mut at, mut line) = (0, 1);
    let mut line_begins = true;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let (kind, length) = match first {
            '\n' => {
                line_begins = true;
                (None, 1)
            }
            _ if first.is_whitespace() => (None, first.len_utf8()),
            '#' if line_begins => (None, directive(rest)),
            '/' if rest.starts_with("/*") => {
                (None, rest.find("*/").map_or(rest.len(), |at| at + 2))
            }
            '/' if rest.starts_with("//") => (None, rest.find('\n').unwrap_or(rest.len())),
            '"' | '\'' => (Some(Kind::Literal), literal(rest, first)),
            _ if first.is_ascii_digit() => (Some(Kind::Number), word(rest)),
            _ if first.is_ascii_alphabetic() || first == '_' => (Some(Kind::Word), word(rest)),
            _ => {
                let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
                let length = operator.map_or(first.len_utf8(), |operator| operator.len());
                (Some(Kind::Punctuation), length)
            }
        };
        let text = &rest[..length];
        if let Some(kind) = kind {
            line_begins = false;
            all.push(Token { kind, text, at, line });
        }
        line += text.matches('\n').count();
        at += length;
    }
    all
}

/// The index of the bracket that closes the one at `open`; the last token where none does.
pub fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// Up to the end of the line that no backslash continues.
fn directive(rest: &str) -> usize {
    let mut before = ' ';
    rest.char_indices()
        .find_map(|(at, c)| {
            let ends = c == '\n' && before != '\\';
            before = c;
            ends.then_some(at)
        })
        .unwrap_or(rest.len())
}

fn literal(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_directives_are_no_tokens() {
        let source = "#define X(a) \\\n\t(a)\nint a; /* b;\n */ // c\nif (a->b <<= 0x1f)\n";
        assert_eq!(texts(source), ["int", "a", ";", "if", "(", "a", "->", "b", "<<=", "0x1f", ")"]);
        assert_eq!(tokens(source)[3].line, 5);
    }

    #[test]
    fn literals_are_whole() {
        assert_eq!(
            texts(r#"f("a\"b", 'c', '\'')"#),
            ["f", "(", r#""a\"b""#, ",", "'c'", ",", r"'\''", ")"]
        );
    }

    #[test]
    fn brackets_have_their_ends() {
        let all = tokens("f((a)[b]) { }");
        assert_eq!(closing(&all, 1), 8);
        assert_eq!(closing(&all, 2), 4);
    }
}

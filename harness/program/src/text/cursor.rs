//! The tokens of one line, read from left to right.

use super::error::{ParseError, near_miss};
use super::quote::read_quoted;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, keyword, flag or path.
    Word(String),
    /// Digits, with what precedes and follows them without a gap.
    Number(String),
    /// A text in quotes, without them.
    Text(String),
    /// Punctuation.
    Mark(&'static str),
    /// The end of the line.
    End,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    column: usize,
}

const MARKS: [&str; 10] = ["->", "(", ")", ",", "=", "|", ":", "{", "}", "@"];

/// A place in a line.
#[derive(Debug)]
pub(super) struct Cursor {
    line: usize,
    tokens: Vec<Token>,
    at: usize,
}

impl Cursor {
    /// `line` counts from 1.
    pub(super) fn new(line: usize, text: &str) -> Result<Self, ParseError> {
        let chars: Vec<char> = text.chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            let start = at;
            let run = |also: &str| {
                let more = |c: &&char| c.is_alphanumeric() || also.contains(**c);
                chars[start + 1..].iter().take_while(more).count() + 1
            };
            let kind = if c.is_whitespace() {
                at += 1;
                continue;
            } else if c.is_alphabetic() || c == '_' {
                at += run("_/");
                Kind::Word(chars[start..at].iter().collect())
            } else if c.is_ascii_digit()
                || c == '-' && chars.get(at + 1).is_some_and(char::is_ascii_digit)
            {
                at += run("_");
                Kind::Number(chars[start..at].iter().collect())
            } else if c == '"' {
                let mut rest = chars[start + 1..].iter().copied();
                let (text, len) = read_quoted(&mut rest).map_err(|(good, expected)| {
                    let column = start + 1 + good;
                    let found = chars.get(column).map_or("the end of the line".to_owned(), quote);
                    ParseError {
                        line,
                        column: column + 1,
                        found,
                        expected: vec![expected.to_owned()],
                        suggestion: None,
                    }
                })?;
                at += 1 + len;
                Kind::Text(text)
            } else if let Some(mark) = MARKS
                .into_iter()
                .find(|mark| mark.chars().eq(chars[at..].iter().copied().take(mark.len())))
            {
                at += mark.len();
                Kind::Mark(mark)
            } else {
                return Err(ParseError {
                    line,
                    column: start + 1,
                    found: quote(&c),
                    expected: vec![if c == '#' {
                        "a comment on a line of its own, above the step".to_owned()
                    } else {
                        "a step: `[TASK:] [NAME =] CALL [@ START] [-> EXPECTATION]`".to_owned()
                    }],
                    suggestion: None,
                });
            };
            tokens.push(Token { kind, column: start + 1 });
        }
        tokens.push(Token { kind: Kind::End, column: text.trim_end().chars().count() + 1 });
        Ok(Self { line, tokens, at: 0 })
    }

    /// The line, from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The token here.
    pub(super) fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    /// The token after the one here.
    pub(super) fn peek_second(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    /// The column here.
    pub(super) fn column(&self) -> usize {
        self.tokens[self.at].column
    }

    /// Goes on to the next token; at the end it stays.
    pub(super) fn skip(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// Whether this mark stands here; if so it is passed.
    pub(super) fn takes(&mut self, mark: &'static str) -> bool {
        let here = *self.peek() == Kind::Mark(mark);
        if here {
            self.skip();
        }
        here
    }

    /// Whether this word stands here; if so it is passed.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let here = matches!(self.peek(), Kind::Word(found) if found == word);
        if here {
            self.skip();
        }
        here
    }

    /// Passes a mark that must stand here.
    pub(super) fn mark(&mut self, mark: &'static str) -> Result<(), ParseError> {
        if self.takes(mark) { Ok(()) } else { Err(self.error(&[&format!("`{mark}`")])) }
    }

    /// What stands here is not what could.
    pub(super) fn error(&self, expected: &[&str]) -> ParseError {
        self.error_at(self.column(), self.found(), expected)
    }

    /// The same, with a word that may have been meant.
    pub(super) fn error_near<'a>(
        &self,
        expected: &[&str],
        known: impl IntoIterator<Item = &'a str>,
    ) -> ParseError {
        let suggestion = match self.peek() {
            Kind::Word(word) => near_miss(word, known),
            _ => None,
        };
        ParseError { suggestion, ..self.error(expected) }
    }

    /// An error at a column of this line.
    pub(super) fn error_at(&self, column: usize, found: String, expected: &[&str]) -> ParseError {
        ParseError {
            line: self.line,
            column,
            found,
            expected: expected.iter().map(|&text| text.to_owned()).collect(),
            suggestion: None,
        }
    }

    fn found(&self) -> String {
        match self.peek() {
            Kind::Word(text) | Kind::Number(text) => format!("`{text}`"),
            Kind::Text(text) => format!("the text {text:?}"),
            Kind::Mark(mark) => format!("`{mark}`"),
            Kind::End => "the end of the line".to_owned(),
        }
    }
}

fn quote(c: &char) -> String {
    format!("`{}`", c.escape_debug())
}

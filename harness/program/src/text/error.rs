//! What is wrong with a text, and where.

use std::fmt;

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What stands there.
    pub found: String,
    /// What could stand there.
    pub expected: Vec<String>,
    /// A word close to what stands there that would do.
    pub suggestion: Option<String>,
}

impl ParseError {
    /// The error as compilers print it: file, line and column, the line itself, and a caret under
    /// the place. `source` is the text that was parsed.
    pub fn render(&self, file: &str, source: &str) -> String {
        let line = source.lines().nth(self.line - 1).unwrap_or_default();
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs stay tabs, so that the caret stands under its character.
        let before: String =
            line.chars().take(self.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
        format!(
            "{file}:{number}:{}: {self}\n{gutter} |\n{number} | {line}\n{gutter} | {before}^",
            self.column
        )
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected ", self.found)?;
        for (i, expected) in self.expected.iter().enumerate() {
            let joint = match i {
                0 => "",
                i if i + 1 == self.expected.len() => " or ",
                _ => ", ",
            };
            write!(f, "{joint}{expected}")?;
        }
        match &self.suggestion {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

/// The word of `known` that `word` is most likely a slip of, if there is one.
pub(super) fn near_miss<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // No slip in a letter alone, one in a short word, two in a longer one; swapped letters are one.
    let most = match word.chars().count() {
        0..=1 => 0,
        2..=4 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.to_owned())
}

//! Texts in quotes.

use std::fmt::{self, Write};

/// Writes a text in quotes, on one line.
pub(super) fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Reads what stands behind the opening quote, through the closing one. An error says how many
/// characters were good and what was expected there.
pub(super) fn read_quoted(
    chars: &mut impl Iterator<Item = char>,
) -> Result<(String, usize), (usize, &'static str)> {
    let mut text = String::new();
    let mut read = 0;
    let mut next = |read: &mut usize| {
        let c = chars.next();
        *read += usize::from(c.is_some());
        c
    };
    loop {
        match next(&mut read) {
            None => return Err((read, "`\"`")),
            Some('"') => return Ok((text, read)),
            Some('\\') => {
                let at = read - 1;
                match next(&mut read) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('"' | '\\')) => text.push(c),
                    Some('u') if next(&mut read) == Some('{') => {
                        let mut digits = String::new();
                        while let Some(c) = next(&mut read).filter(char::is_ascii_hexdigit) {
                            digits.push(c);
                        }
                        let code = u32::from_str_radix(&digits, 16).ok();
                        text.push(code.and_then(char::from_u32).ok_or((at, ESCAPES))?);
                    }
                    _ => return Err((at, ESCAPES)),
                }
            }
            Some(c) => text.push(c),
        }
    }
}

const ESCAPES: &str = r#"`\n`, `\t`, `\"`, `\\` or `\u{…}`"#;

//! The parser of scenarios: what it takes survives being printed, and an error has a place.

use refan_program::{Program, parse};

/// Parses a text.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(program) => {
            assert_eq!(program.validate(), Ok(()));
            let printed = program.to_string();
            assert_eq!(parse(&printed).as_ref(), Ok(&program), "{printed}");
            assert_eq!(Program::decode_exact(&program.encode()), Ok(program));
        }
        Err(error) => {
            // The end of the text is the end of its last line.
            let line = text.lines().nth(error.line.wrapping_sub(1));
            let columns = 1..=line.unwrap_or_default().chars().count() + 1;
            let is_inside = line.is_some() || (text.is_empty() && error.line == 1);
            assert!(is_inside && columns.contains(&error.column), "{error:?}");
            assert!(!error.found.is_empty() && !error.expected.is_empty(), "{error:?}");
            error.render("text", text);
        }
    }
}

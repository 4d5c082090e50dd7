//! The functions that a C program brings along: of those there are just what it uses.

/// All of them. What one uses stands in front of it.
const ALL: &str = include_str!("helpers.c");

/// A function, or what else stands by itself, with the comment above it.
struct Helper {
    name: &'static str,
    text: &'static str,
}

/// The helpers that some code uses, and those that these use, in their order.
pub(super) fn used_by(code: &str) -> String {
    let all = helpers();
    let mut used = vec![false; all.len()];
    let mut codes = vec![bare(code)];
    while let Some(code) = codes.pop() {
        for (helper, used) in all.iter().zip(&mut used) {
            if !*used && mentions(&code, helper.name) {
                *used = true;
                codes.push(bare(helper.text));
            }
        }
    }
    let used = all.iter().zip(used).filter(|(_, used)| *used);
    used.map(|(helper, _)| format!("\n{}\n", helper.text)).collect()
}

/// Code without what stands in its comments and strings.
pub(super) fn bare(code: &str) -> String {
    let mut bare = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        bare += &rest[..at];
        rest = &rest[at..];
        let len = if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(quote) = rest.chars().next().filter(|c| *c != '/') {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == quote && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            bare.push(' ');
            end.map_or(rest.len(), |end| end + 2)
        } else {
            bare.push('/');
            1
        };
        rest = &rest[len..];
    }
    bare + rest
}

/// Whether a name that is no member's stands in bare code as a word of its own.
pub(super) fn mentions(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        !code[..at].ends_with(is_word)
            && !code[at + name.len()..].starts_with(is_word)
            && !code[..at].ends_with("->")
            && !code[..at].ends_with('.')
    })
}

fn helpers() -> Vec<Helper> {
    let mut helpers = Vec::new();
    let mut rest = ALL.trim();
    while !rest.is_empty() {
        // What stands by itself ends at the first blank line behind a line that begins with `}`, or
        // with a declaration.
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            end += line.len();
            if line.starts_with('}') || line.starts_with("static") && line.ends_with(";\n") {
                break;
            }
        }
        let text = rest[..end].trim();
        helpers.push(Helper { name: name(text), text });
        rest = rest[end..].trim_start();
    }
    helpers
}

/// The name that a helper declares: the word in front of the first parenthesis or bracket of its
/// declaration that is none of an attribute's.
fn name(text: &'static str) -> &'static str {
    let line = text.lines().find(|line| line.starts_with("static")).unwrap_or_default();
    let line = match line.find("))) ").or_else(|| line.find(")) ")) {
        Some(at) if line.contains("__attribute__") => &line[at..],
        _ => line,
    };
    let end = line.char_indices().find(|(at, c)| {
        let after_word = line[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        (*c == '(' || *c == '[') && after_word
    });
    let before = &line[..end.map_or(line.len(), |(at, _)| at)];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    before.rsplit(|c| !is_word(c)).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_helper_has_a_name_and_stands_behind_what_it_uses() {
        let all = helpers();
        assert!(all.len() > 50);
        for (at, helper) in all.iter().enumerate() {
            assert!(
                helper.text.starts_with("/*") || helper.text.starts_with("static"),
                "{}",
                helper.text
            );
            assert!(!helper.name.is_empty(), "{}", helper.text);
            for later in &all[at + 1..] {
                assert!(
                    !mentions(&bare(helper.text), later.name),
                    "{} before {}",
                    helper.name,
                    later.name
                );
            }
        }
        let mut names: Vec<&str> = all.iter().map(|helper| helper.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(bare("a /* b */ c(\"d \\\" e\", '\"') / f"), "a  c( ,  ) / f");
    }

    #[test]
    fn a_program_gets_what_it_uses_and_no_more() {
        let text = used_by("\tdone_value(sys(close(3)));\n");
        assert!(text.contains("static long sys(") && text.contains("done(const char"));
        assert!(!text.contains("read_from"));
    }
}

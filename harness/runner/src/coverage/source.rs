//! What of a C file of the kernel belongs to which function, by its layout: there a function's body
//! begins with a `{` and ends with a `}` that stand in the first column.

use std::collections::BTreeSet;

/// A C file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CFile<'t> {
    lines: Vec<&'t str>,
    /// Of each line the function that it belongs to.
    functions: Vec<Option<&'t str>>,
}

impl<'t> CFile<'t> {
    /// Reads its text.
    pub fn read(text: &'t str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut functions = vec![None; lines.len()];
        // Where the declaration begins that the next body belongs to.
        let mut declared = 0;
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            if line == "{" {
                let end = (at..lines.len()).find(|end| lines[*end] == "}").unwrap_or(at);
                let name = name_of(lines[declared]);
                functions[declared..=end].fill(name);
                at = end + 1;
                declared = at;
                continue;
            }
            let continues = line.starts_with(char::is_whitespace) && !line.trim().is_empty();
            if !continues {
                // The first line of a declaration may name its type alone.
                let is_type = name_of(line).is_none()
                    && lines.get(at + 1).is_some_and(|next| {
                        next.starts_with(|c: char| c.is_alphabetic() || c == '*')
                    });
                declared = if is_type { at + 1 } else { at };
            }
            at += 1;
        }
        Self { lines, functions }
    }

    /// The function that a line belongs to, by the line's number.
    pub fn function(&self, line: u32) -> Option<&'t str> {
        let at = usize::try_from(line).ok()?.checked_sub(1)?;
        self.functions.get(at).copied().flatten()
    }

    /// The numbers of a function's lines; of none, of all of the file.
    pub fn lines_of(&self, function: Option<&str>) -> BTreeSet<u32> {
        let all = (1..).zip(&self.functions);
        let own = all.filter(|(_, of)| function.is_none() || **of == function);
        own.map(|(line, _)| line).collect()
    }

    /// Of some lines those that stand deeper than one that begins so, directly behind it.
    pub fn under(&self, lines: &BTreeSet<u32>, beginning: &str) -> BTreeSet<u32> {
        let text = |line: u32| self.lines.get(line as usize - 1).copied().unwrap_or_default();
        let depth = |text: &str| text.len() - text.trim_start().len();
        let heads = lines.iter().filter(|line| text(**line).trim_start().starts_with(beginning));
        let bodies = heads.flat_map(|head| {
            let own = depth(text(*head));
            let deeper =
                move |line: &u32| text(*line).trim().is_empty() || depth(text(*line)) > own;
            (head + 1..=self.lines.len() as u32).take_while(deeper)
        });
        bodies.filter(|line| lines.contains(line)).collect()
    }
}

/// The name that a declaration's first line declares: of a system call all up to the first comma.
fn name_of(line: &str) -> Option<&str> {
    let (before, arguments) = line.split_once('(')?;
    if before.starts_with("SYSCALL") {
        let end = before.len() + 1 + arguments.find([',', ')'])?;
        return Some(&line[..end]);
    }
    let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#include <x.h>\n\nstatic int a(int x,\n\t     int y)\n{\n\tif (x) {\n\t\ty = 1;\n\n\t\treturn y;\n\t}\n\
                        \tswitch (y) {\n\tcase 1:\n\t\treturn 2;\n\tdefault:\n\t\treturn 3;\n\t}\n}\n\nstatic const struct ops o = {\n\
                        \t.a = a,\n};\n\nSYSCALL_DEFINE2(init, int, flags)\n{\n\treturn 0;\n}\n";

    #[test]
    fn lines_belong_to_functions() {
        let file = CFile::read(TEXT);
        let of = |line| file.function(line);
        assert_eq!((of(1), of(3), of(9), of(17)), (None, Some("a"), Some("a"), Some("a")));
        assert_eq!(
            (of(18), of(20), of(25), of(99), of(0)),
            (None, None, Some("SYSCALL_DEFINE2(init"), None, None)
        );
        assert_eq!(file.lines_of(Some("a")), (3..=17).collect());
        assert_eq!(file.lines_of(None).len(), 26);
    }

    #[test]
    fn what_a_line_guards_stands_deeper() {
        let file = CFile::read(TEXT);
        let all = file.lines_of(Some("a"));
        assert_eq!(file.under(&all, "if (x) {"), [7, 8, 9].into());
        assert_eq!(file.under(&all, "case"), [13].into());
        assert_eq!(file.under(&all, "default:"), [15].into());
        assert_eq!(file.under(&all, "nothing"), BTreeSet::new());
        assert_eq!(file.under(&file.lines_of(Some("b")), "if"), BTreeSet::new());
    }
}

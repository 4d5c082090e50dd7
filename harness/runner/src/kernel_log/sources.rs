//! Lines of the kernel's source around a place that a report names.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// How many lines stand before and behind the one in question.
const AROUND: u32 = 3;

/// Source files of one kernel build.
pub(super) struct Sources(PathBuf);

impl Sources {
    /// Those in this folder, below their names in the kernel's tree.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The line with its neighbours, numbered and marked; None where the file is not kept or has no such
    /// line.
    pub fn around(&self, file: &str, line: u32) -> Option<String> {
        let below = |part: Component<'_>| matches!(part, Component::Normal(_));
        let file = Path::new(file);
        if !file.components().all(below) {
            return None;
        }
        let text = fs::read(self.0.join(file)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let is_there = (1..=lines.len()).contains(&usize::try_from(line).ok()?);
        let numbered = (1_u32..).zip(lines).filter(|(number, _)| number.abs_diff(line) <= AROUND);
        let shown = numbered.map(|(number, text)| {
            let mark = if number == line { '>' } else { ' ' };
            format!("    {mark} {number:>5} | {text}").trim_end().to_owned()
        });
        is_there.then(|| shown.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_among_its_neighbours() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.c"), "1\n2\n\n\t4\n5\n").expect("a file");
        let sources = Sources::new(folder.path().to_owned());
        let text = sources.around("a.c", 1).expect("lines");
        assert_eq!(text, "    >     1 | 1\n          2 | 2\n          3 |\n          4 | \t4");
        assert!(sources.around("a.c", 5).expect("lines").ends_with("    >     5 | 5"));
        assert_eq!(sources.around("a.c", 0), None);
        assert_eq!(sources.around("a.c", 6), None);
        assert_eq!(sources.around("b.c", 1), None);
        let outside = folder.path().join("a.c");
        assert_eq!(sources.around(&outside.to_string_lossy(), 1), None);
        assert_eq!(sources.around("../a.c", 1), None);
    }
}

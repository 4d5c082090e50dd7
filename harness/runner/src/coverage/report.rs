//! How many of the lines that are to be covered were.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::blocks::Lines;
use super::exclusions::Exclusions;
use super::source::CFile;

/// The files whose lines are to be covered, all of them.
const FILES: [&str; 2] = ["fs/notify/fanotify/fanotify.c", "fs/notify/fanotify/fanotify_user.c"];

/// What is to be covered.
pub struct LineGoals {
    /// Where the source of the kernel is.
    sources: PathBuf,
    exclusions: Exclusions,
    /// The lines of each file that the series has added.
    added: BTreeMap<String, BTreeSet<u32>>,
}

/// How many lines were covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of each file that is to be covered as a whole, by its name, and of the series.
    pub parts: Vec<Part>,
    /// The lines that were not, of all parts.
    pub missing: Vec<Missing>,
}

/// How many lines of a part of the source were covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// Lines that were covered.
    pub covered: usize,
    /// Lines that are to be.
    pub lines: usize,
    /// Lines with code that are left out.
    pub excluded: usize,
}

/// Lines of a function that were not covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The file.
    pub file: String,
    /// The function; none where the line is in none.
    pub function: Option<String>,
    /// The lines' numbers.
    pub lines: Vec<u32>,
}

impl LineGoals {
    /// Those of a kernel whose source is in this folder. `added` are the lines of its series.
    pub fn new(
        sources: &Path,
        exclusions: Exclusions,
        added: BTreeMap<String, BTreeSet<u32>>,
    ) -> Self {
        Self { sources: sources.to_owned(), exclusions, added }
    }

    /// Holds lines against them. What is excluded counts neither as covered nor as missing.
    ///
    /// # Errors
    /// The source of a file is not there.
    pub fn report(&self, lines: &Lines) -> std::io::Result<Report> {
        let mut report = Report::default();
        let mut series = Part { name: "series".to_owned(), ..Part::default() };
        for (file, lines) in lines {
            let is_goal = FILES.contains(&file.as_str());
            let added = self.added.get(file);
            if !is_goal && added.is_none() {
                continue;
            }
            let text = std::fs::read_to_string(self.sources.join(file));
            let text = match text {
                Ok(text) => text,
                // Of headers outside the folder under test the source is not kept.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_goal => {
                    String::new()
                }
                Err(error) => return Err(error),
            };
            let excluded = self.exclusions.lines(file, &text);
            let source = CFile::read(&text);
            let mut part = Part { name: file.clone(), ..Part::default() };
            let mut missing = BTreeMap::<Option<&str>, Vec<u32>>::new();
            for (line, covered) in lines {
                let is_added = added.is_some_and(|added| added.contains(line));
                if excluded.contains(line) {
                    part.excluded += 1;
                    series.excluded += usize::from(is_added);
                    continue;
                }
                part.lines += 1;
                part.covered += usize::from(*covered);
                series.lines += usize::from(is_added);
                series.covered += usize::from(is_added && *covered);
                if !covered && (is_goal || is_added) {
                    missing.entry(source.function(*line)).or_default().push(*line);
                }
            }
            if is_goal {
                report.parts.push(part);
            }
            report.missing.extend(missing.into_iter().map(|(function, lines)| Missing {
                file: file.clone(),
                function: function.map(str::to_owned),
                lines,
            }));
        }
        if !self.added.is_empty() {
            report.parts.push(series);
        }
        report.missing.sort_by(|a, b| (&a.file, &a.lines).cmp(&(&b.file, &b.lines)));
        Ok(report)
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, covered, lines, excluded } = self;
        let percent = 100.0 * *covered as f64 / (*lines).max(1) as f64;
        write!(f, "{name} {covered} of {lines} ({percent:.1} %), {excluded} excluded")
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, ranges(&self.lines))?;
        self.function.as_ref().map_or(Ok(()), |function| write!(f, " {function}"))
    }
}

/// Ascending numbers with neighbours drawn together: `3,5-7`.
fn ranges(lines: &[u32]) -> String {
    let runs = lines.chunk_by(|one, next| one + 1 == *next);
    let runs = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u32::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_file_and_for_the_series() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            let text = "int a(int x)\n{\n\tif (x)\n\t\treturn 1;\n\treturn 0;\n}\n";
            std::fs::write(path, text).expect("written");
        };
        FILES.into_iter().for_each(write);
        let list = folder.path().join("list.toml");
        let text =
            format!("[[exclusion]]\nfile = \"{}\"\nunder = [\"if\"]\nreason = \"r\"\n", FILES[0]);
        std::fs::write(&list, text).expect("written");
        let added = BTreeMap::from([
            (FILES[1].to_owned(), BTreeSet::from([4, 5])),
            ("include/x.h".to_owned(), BTreeSet::from([7])),
        ]);
        let goals = LineGoals::new(folder.path(), Exclusions::read(&list).expect("a list"), added);
        let own = BTreeMap::from([(3, true), (4, false), (5, false)]);
        let mut lines: Lines =
            FILES.into_iter().map(|file| (file.to_owned(), own.clone())).collect();
        lines.insert("include/x.h".to_owned(), BTreeMap::from([(7, true), (8, false)]));
        lines.insert("fs/notify/mark.c".to_owned(), own);
        let report = goals.report(&lines).expect("sources");
        let parts: Vec<String> = report.parts.iter().map(ToString::to_string).collect();
        assert_eq!(
            parts,
            [
                "fs/notify/fanotify/fanotify.c 1 of 2 (50.0 %), 1 excluded",
                "fs/notify/fanotify/fanotify_user.c 1 of 3 (33.3 %), 0 excluded",
                "series 1 of 3 (33.3 %), 0 excluded",
            ]
        );
        let missing: Vec<String> = report.missing.iter().map(ToString::to_string).collect();
        assert_eq!(
            missing,
            ["fs/notify/fanotify/fanotify.c:5 a", "fs/notify/fanotify/fanotify_user.c:4-5 a",]
        );
    }
}

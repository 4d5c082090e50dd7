//! What gcov says: `gcov --json-format --branch-counts` of gcc 9 and newer (`man gcov`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line that has code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// How often it was passed.
    pub count: u64,
    /// How often each of the ways was taken that its conditions can go.
    pub branches: Vec<u64>,
}

/// Counts of lines, by file and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By path of the file in the source, then by number from 1.
    pub files: BTreeMap<String, BTreeMap<u32, Line>>,
}

#[derive(Deserialize)]
struct Output {
    files: Vec<OutputFile>,
}

#[derive(Deserialize)]
struct OutputFile {
    file: String,
    lines: Vec<OutputLine>,
}

#[derive(Deserialize)]
struct OutputLine {
    line_number: u32,
    count: u64,
    branches: Vec<OutputBranch>,
}

#[derive(Deserialize)]
struct OutputBranch {
    count: u64,
}

impl Counts {
    /// Those of one object file, as gcov tells them.
    ///
    /// # Errors
    /// It is no output of gcov.
    pub fn of_object(json: &[u8]) -> Result<Self, serde_json::Error> {
        let output: Output = serde_json::from_slice(json)?;
        let mut counts = Self::default();
        for file in output.files {
            let path = file.file.strip_prefix("./").unwrap_or(&file.file);
            let lines = counts.files.entry(path.to_owned()).or_default();
            // A line is told once for each function that it stands in.
            for told in file.lines {
                let line = lines.entry(told.line_number).or_default();
                line.count += told.count;
                line.branches.extend(told.branches.iter().map(|branch| branch.count));
            }
        }
        Ok(counts)
    }

    /// Adds those of another object or of another machine.
    pub fn add(&mut self, other: Self) {
        for (path, lines) in other.files {
            let all = self.files.entry(path).or_default();
            for (number, line) in lines {
                all.entry(number).or_default().add(line);
            }
        }
    }
}

impl Line {
    /// What the compiler made of a header's line differs from one object to another: each way is known
    /// by its place, and one that there is in one object only stays.
    fn add(&mut self, other: Self) {
        self.count += other.count;
        let more = other.branches.len().saturating_sub(self.branches.len());
        self.branches.extend(std::iter::repeat_n(0, more));
        for (all, count) in self.branches.iter_mut().zip(other.branches) {
            *all += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As gcov 12 writes it, shortened.
    const OBJECT: &str = r#"{"gcc_version": "12.2.0", "format_version": "1", "data_file": "a.gcda",
        "current_working_directory": "/x", "files": [{"file": "./fs/a.c", "functions": [], "lines": [
        {"branches": [{"fallthrough": true, "count": 3, "throw": false},
                      {"fallthrough": false, "count": 0, "throw": false}],
         "count": 3, "line_number": 7, "unexecuted_block": true, "function_name": "main"},
        {"branches": [], "count": 1, "line_number": 7, "unexecuted_block": false},
        {"branches": [], "count": 0, "line_number": 9, "unexecuted_block": true}]}]}"#;

    fn line(count: u64, branches: &[u64]) -> Line {
        Line { count, branches: branches.to_vec() }
    }

    #[test]
    fn counts_of_objects_and_machines_are_added() {
        let mut counts = Counts::of_object(OBJECT.as_bytes()).expect("gcov's output");
        let expected = BTreeMap::from([(7, line(4, &[3, 0])), (9, line(0, &[]))]);
        assert_eq!(counts.files, BTreeMap::from([("fs/a.c".to_owned(), expected)]));
        let mut other = counts.clone();
        other.files.entry("fs/a.c".to_owned()).or_default().insert(7, line(1, &[0, 1, 2]));
        counts.add(other);
        assert_eq!(counts.files["fs/a.c"][&7], line(5, &[3, 1, 2]));
        assert!(Counts::of_object(b"{}").is_err());
    }
}

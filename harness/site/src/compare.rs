//! What two runs passed differently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use similar::{DiffOp, capture_diff_slices};

use crate::coverage::{Coverage, File};

/// What a run passed beside an earlier one. Lines are those of the later one unless it is said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Lines that were not passed before and are now.
    pub gained: Lines,
    /// Lines that were passed before and are not now.
    pub lost: Lines,
    /// Lines that there were not before, or not with code: passed.
    pub new_passed: Lines,
    /// The same: not passed.
    pub new_missing: Lines,
}

/// Lines by file, none without lines.
pub type Lines = BTreeMap<String, Vec<u32>>;

impl Changes {
    /// Holds a run against an earlier one. A line is the same where the sources say the same around it.
    pub fn between(before: &Coverage, after: &Coverage) -> Self {
        let mut changes = Self::default();
        for (path, file) in &after.files {
            let same = before.files.get(path).map(|old| (old, same_lines(old, file)));
            for (number, line) in file.lines.iter().filter(|(it, _)| !file.excluded.contains(it)) {
                let old = same.as_ref().and_then(|(old, same)| old.lines.get(same.get(number)?));
                let into = match (old.map(|line| line.count > 0), line.count > 0) {
                    (Some(before), now) if before == now => continue,
                    (Some(true), _) => &mut changes.lost,
                    (Some(false), _) => &mut changes.gained,
                    (None, true) => &mut changes.new_passed,
                    (None, false) => &mut changes.new_missing,
                };
                into.entry(path.clone()).or_default().push(*number);
            }
        }
        changes
    }
}

/// How many lines there are.
pub fn count(lines: &Lines) -> usize {
    lines.values().map(Vec::len).sum()
}

/// By number in `new` the number in `old` of each line that is in both.
fn same_lines(old: &File, new: &File) -> BTreeMap<u32, u32> {
    let lines = |file: &File| file.text.lines().map(str::to_owned).collect::<Vec<_>>();
    let mut same = BTreeMap::new();
    for op in capture_diff_slices(similar::Algorithm::Patience, &lines(old), &lines(new)) {
        if let DiffOp::Equal { old_index, new_index, len } = op {
            same.extend((1..=len).map(|at| ((new_index + at) as u32, (old_index + at) as u32)));
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::coverage;

    #[test]
    fn lines_are_followed_through_a_change_of_the_source() {
        let before = coverage();
        assert_eq!(Changes::between(&before, &before), Changes::default());
        let mut after = before.clone();
        for file in after.files.values_mut() {
            file.text = format!("// new\n{}", file.text);
            let moved = file.lines.iter().map(|(number, line)| (number + 1, line.clone()));
            file.lines = moved.collect();
            file.lines.entry(8).or_default().count = 3;
            file.lines.entry(12).or_default().count = 0;
            file.lines.entry(1).or_default().count = 1;
        }
        let changes = Changes::between(&before, &after);
        let one =
            |number| Lines::from([("fs/notify/fanotify/fanotify_user.c".to_owned(), vec![number])]);
        let expected =
            Changes { gained: one(8), lost: one(12), new_passed: one(1), ..Changes::default() };
        assert_eq!(changes, expected);
        assert_eq!(count(&changes.lost), 1);
    }
}

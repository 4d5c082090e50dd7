//! Which lines of the patched tree a series of patches has added.

use std::collections::{BTreeMap, BTreeSet};

/// The lines of each file that patches have added and that none of the later ones has removed again, by
/// their numbers behind the last patch. The patches are as `git format-patch` writes them.
pub fn added_lines<'p>(
    patches: impl IntoIterator<Item = &'p str>,
) -> BTreeMap<String, BTreeSet<u32>> {
    let mut files = BTreeMap::<String, BTreeSet<u32>>::new();
    for patch in patches {
        for (file, hunks) in hunks(patch) {
            let added = files.entry(file).or_default();
            *added = behind(added, &hunks);
        }
    }
    files.retain(|_, added| !added.is_empty());
    files
}

/// A hunk: the first line that it is about in the old and in the new file, and its lines.
struct Hunk<'p> {
    old: u32,
    new: u32,
    lines: Vec<&'p str>,
}

/// The hunks of a patch by the file as it is called behind it.
fn hunks(patch: &str) -> Vec<(String, Vec<Hunk<'_>>)> {
    let mut files: Vec<(String, Vec<Hunk<'_>>)> = Vec::new();
    let (mut old_left, mut new_left) = (0, 0);
    for line in patch.lines() {
        if (old_left, new_left) == (0, 0) {
            if let Some(name) = line.strip_prefix("+++ ") {
                let name = name.split('\t').next().unwrap_or(name);
                let name = name.strip_prefix("b/").unwrap_or(name).to_owned();
                files.push((name, Vec::new()));
            } else if let Some(((old, olds), (new, news))) = header(line)
                && let Some((_, hunks)) = files.last_mut()
            {
                (old_left, new_left) = (olds, news);
                hunks.push(Hunk { old, new, lines: Vec::new() });
            }
            continue;
        }
        match line.as_bytes().first() {
            Some(b'-') => old_left = old_left.saturating_sub(1),
            Some(b'+') => new_left = new_left.saturating_sub(1),
            Some(b'\\') => continue,
            _ => {
                old_left = old_left.saturating_sub(1);
                new_left = new_left.saturating_sub(1);
            }
        }
        if let Some(hunk) = files.last_mut().and_then(|(_, hunks)| hunks.last_mut()) {
            hunk.lines.push(line);
        }
    }
    files
}

/// First line and number of lines in the old and the new file: `@@ -10,7 +10,8 @@ where`.
fn header(line: &str) -> Option<((u32, u32), (u32, u32))> {
    let (ranges, _) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| {
        let (start, length) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse().ok()?, length.parse().ok()?))
    };
    Some((range(old)?, range(new)?))
}

/// Where added lines are behind some hunks, with those that the hunks add.
fn behind(added: &BTreeSet<u32>, hunks: &[Hunk<'_>]) -> BTreeSet<u32> {
    let mut result = BTreeSet::new();
    let (mut old, mut new) = (1, 1);
    // From here on lines stand as far from each other in both files.
    let mut copy = |from: u32, to: u32, until: Option<u32>| {
        let lines = added.range(from..).take_while(|line| until.is_none_or(|until| **line < until));
        result.extend(lines.map(|line| line - from + to));
    };
    let mut own = BTreeSet::new();
    for hunk in hunks {
        // A hunk without old lines names the line before them.
        let first = hunk.old + u32::from(hunk.lines.iter().all(|line| line.starts_with('+')));
        copy(old, new, Some(first));
        (old, new) = (first, hunk.new);
        for line in &hunk.lines {
            match line.as_bytes().first() {
                Some(b'-') => old += 1,
                Some(b'+') => {
                    own.insert(new);
                    new += 1;
                }
                _ => {
                    copy(old, new, Some(old + 1));
                    old += 1;
                    new += 1;
                }
            }
        }
    }
    copy(old, new, None);
    result.extend(own);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "Subject: x\n\n--- a/f.c\n+++ b/f.c\n@@ -2,3 +2,4 @@ f()\n two\n+new a\n+new b\n-three\n four\n\
                         @@ -9 +10,2 @@\n nine\n+new c\n-- \n2.39.5\n";
    const SECOND: &str = "--- a/f.c\n+++ b/f.c\n@@ -0,0 +1,2 @@\n+top\n+top\n@@ -3,2 +5,2 @@\n-new a\n+newer a\n new b\n\
                          --- a/g.h\n+++ b/g.h\n@@ -1,2 +1,1 @@\n one\n-two\n";

    fn lines(patches: &[&str]) -> BTreeMap<String, Vec<u32>> {
        let added = added_lines(patches.iter().copied());
        added.into_iter().map(|(file, lines)| (file, lines.into_iter().collect())).collect()
    }

    #[test]
    fn added_lines_have_their_numbers_behind_the_last_patch() {
        assert_eq!(lines(&[FIRST]), BTreeMap::from([("f.c".to_owned(), vec![3, 4, 11])]));
        let both = lines(&[FIRST, SECOND]);
        assert_eq!(both, BTreeMap::from([("f.c".to_owned(), vec![1, 2, 5, 6, 13])]));
    }

    #[test]
    fn what_is_removed_again_was_not_added() {
        let removes = "--- a/f.c\n+++ b/f.c\n@@ -3,2 +3 @@\n-new a\n new b\n";
        assert_eq!(lines(&[FIRST, removes])["f.c"], [3, 10]);
    }

    #[test]
    fn a_line_that_looks_like_a_header_is_content_inside_a_hunk() {
        let patch = "--- a/f.c\n+++ b/f.c\n@@ -1,2 +1,2 @@\n one\n--- a/x\n+++ b/x\n";
        assert_eq!(lines(&[patch]), BTreeMap::from([("f.c".to_owned(), vec![2])]));
    }
}

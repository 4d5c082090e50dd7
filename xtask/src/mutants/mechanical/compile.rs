//! Which mutants the compiler does not take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use xtask::kernel::configs::Patch;
use xtask::kernel::{self, Progress};

use super::candidates::Switched;
use super::table::Table;
use super::{BASE, Ground};
use crate::steps::Steps;

/// The kernel target that they are compiled for.
const TARGET: &str = "fast";

/// Of the mutants of a table those that the compiler complains of; none if it takes them all.
pub fn refused(
    ground: &Ground,
    table: &Table,
    patch: &[u8],
    steps: &Steps,
) -> Result<BTreeSet<String>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("mutants.patch");
    std::fs::write(&path, patch).with_context(|| format!("cannot write {}", path.display()))?;
    let mut patches = ground.patches.clone();
    patches.push(Patch { path, bytes: patch.to_vec() });
    let objects: Vec<_> = ground.files.keys().map(|path| path.with_extension("o")).collect();
    let Ground { configs, cache, offline, .. } = ground;
    let patched = kernel::patched(BASE, patches, configs, *offline, cache, steps)?;
    let said = patched.compile(TARGET, &objects, configs, cache, steps)?;
    let Some(said) = said else { return Ok(BTreeSet::new()) };
    let mut refused = BTreeSet::new();
    for (path, switched) in ground.switched(table) {
        refused.extend(blamed(&said, path, &switched, table));
    }
    if refused.is_empty() {
        bail!("the compiler complains of what is no mutant's line:\n{}", said.join("\n"));
    }
    steps.note(&format!("the compiler does not take {}", refused.len()));
    Ok(refused)
}

/// The mutants that are to blame for what the compiler says of a file: those on the line, or where the line
/// is none's, those of the function that leave out a `return`.
fn blamed(said: &[String], path: &Path, switched: &Switched, table: &Table) -> BTreeSet<String> {
    let names: BTreeMap<u32, &str> =
        table.mutants.iter().filter_map(|row| Some((row.switch?, row.name.as_str()))).collect();
    let mut blamed = BTreeSet::new();
    for line in errors(said, path) {
        if let Some(name) = switched.lines.get(&line).and_then(|number| names.get(number)) {
            blamed.insert((*name).to_owned());
        } else if let Some((_, function)) = switched.functions.range(..=line).next_back() {
            let falls_through = table.mutants.iter().filter(|row| {
                row.name.starts_with(&format!("{function}/left-out-"))
                    && row.before.starts_with("return")
            });
            blamed.extend(falls_through.map(|row| row.name.clone()));
        }
    }
    blamed
}

/// The lines of a file that the compiler has errors for, be it in a macro that is used there.
fn errors(said: &[String], path: &Path) -> BTreeSet<usize> {
    let path = path.display().to_string();
    let mut lines = BTreeSet::new();
    let mut in_error = false;
    for text in said {
        if text.contains(": error: ") {
            in_error = true;
        } else if text.contains(": warning: ") {
            in_error = false;
        } else if !text.contains(": note: in expansion of macro ") {
            continue;
        }
        let place = text.split_once(&path).and_then(|(_, rest)| rest.strip_prefix(':'));
        let line = place.and_then(|rest| rest.split(':').next()?.parse().ok());
        if let Some(line) = line.filter(|_| in_error) {
            lines.insert(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_lines_and_warnings_do_not_count() {
        let said = "\
../src/fs/a.c: In function 'f':
../src/fs/a.c:10:5: warning: unused variable
../src/include/linux/x.h:7:1: error: bad
../src/fs/a.c:12:5: note: in expansion of macro 'X'
../src/fs/a.c:20:5: error: worse
../src/fs/a.c:21:5: note: declared here
../src/fs/b.c:30:5: error: elsewhere";
        let said: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(errors(&said, Path::new("fs/a.c")), BTreeSet::from([12, 20]));
    }
}

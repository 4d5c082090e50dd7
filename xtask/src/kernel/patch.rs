//! Patches on a tree, without touching the tree: what they change is worked out in a folder of its own.

use super::configs::Patch;
use super::error::{Error, Result};
use super::scope::LEFT_OUT;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Applies the patches to the tree `pristine`, called `version` in messages: the files that they touch are copied to
/// the empty folder `dir` and changed there. What a patch does outside the [scope](super::scope) is passed over. Returns their paths; a file that is not in `dir` afterwards is removed.
///
/// # Errors
/// A patch does not apply: the error names the patch, the file, the hunk and the version.
pub fn apply(
    patches: &[Patch],
    pristine: &Path,
    version: &str,
    dir: &Path,
) -> Result<BTreeSet<PathBuf>> {
    let mut changed = BTreeSet::new();
    for patch in patches {
        for path in touched(patch, dir)? {
            let from = pristine.join(&path);
            if changed.insert(path.clone()) && from.is_file() {
                let to = dir.join(&path);
                let parent = to.parent().unwrap_or(dir);
                fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
                fs::copy(&from, &to).map_err(|e| Error::io("copy", &from, e))?;
            }
        }
        let output = git(dir, &["apply", "-p1", "--whitespace=nowarn"], &patch.path)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::NoKernel(format!(
                "the patch {} does not apply to Linux {version}:\n{}",
                patch.path.display(),
                complaints(&said, &String::from_utf8_lossy(&patch.bytes))
            )));
        }
    }
    Ok(changed)
}

/// The paths that a patch reads or writes.
fn touched(patch: &Patch, dir: &Path) -> Result<Vec<PathBuf>> {
    let output = git(dir, &["apply", "-p1", "--numstat", "-z"], &patch.path)?;
    if !output.status.success() {
        return Err(Error::NoKernel(format!(
            "{} is no patch: {}",
            patch.path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    // ADDED TAB REMOVED TAB PATH NUL, or for a rename an empty path followed by OLD NUL NEW NUL.
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text.split('\0');
    let mut paths = Vec::new();
    while let Some(field) = fields.next() {
        match field.splitn(3, '\t').nth(2) {
            Some("") => paths.extend(fields.by_ref().take(2).map(PathBuf::from)),
            Some(path) => paths.push(PathBuf::from(path)),
            None => {}
        }
    }
    Ok(paths)
}

fn git(dir: &Path, arguments: &[&str], patch: &Path) -> Result<Output> {
    let patch = fs::canonicalize(patch).map_err(|e| Error::io("find the patch", patch, e))?;
    let mut command = Command::new("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command
        .current_dir(dir)
        // Inside a checkout git would take paths relative to that checkout's top.
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap_or(dir))
        .env("LC_ALL", "C")
        .args(arguments)
        // Git's `*` matches slashes, so that one pattern covers all that is below.
        .args(
            LEFT_OUT
                .iter()
                .flat_map(|path| [format!("--exclude={path}"), format!("--exclude={path}/*")]),
        )
        .arg(patch)
        .output()
        .map_err(|e| Error::start("git", &e))
}

/// Git's complaints, each with the hunk that it is about.
fn complaints(said: &str, patch: &str) -> String {
    let mut lines = Vec::new();
    for line in said.lines() {
        let Some(place) = line.strip_prefix("error: patch failed: ") else {
            if !line.ends_with("patch does not apply") {
                lines.push(format!("  {}", line.trim_start_matches("error: ")));
            }
            continue;
        };
        let (file, at) = place.rsplit_once(':').unwrap_or((place, ""));
        let hunks = hunks_of(patch, file);
        let number = hunks.iter().position(|hunk| starts_at(hunk, at));
        lines.push(match number {
            Some(number) => {
                format!("  {file}: hunk {} of {}: {}", number + 1, hunks.len(), hunks[number])
            }
            None => format!("  {file}: the hunk at line {at}"),
        });
    }
    lines.join("\n")
}

/// The headers of the hunks that a patch has for a file.
fn hunks_of<'a>(patch: &'a str, file: &str) -> Vec<&'a str> {
    let mut here = false;
    let mut hunks = Vec::new();
    for line in patch.lines() {
        if let Some(old) = line.strip_prefix("--- ") {
            here = old.split('\t').next().is_some_and(|old| old.strip_prefix("a/") == Some(file));
        } else if line.starts_with("@@ -") && here {
            hunks.push(line);
        }
    }
    hunks
}

/// Whether a hunk's header `@@ -START,LENGTH ...` starts at that line.
fn starts_at(hunk: &str, line: &str) -> bool {
    hunk.strip_prefix("@@ -").and_then(|rest| rest.split([',', ' ']).next()) == Some(line)
}

//! What stays of a build whose code counts (gcov): the notes that tell what is counted, and the source.

use super::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files that gcc writes beside objects that count; gcov reads the counters with them.
const NOTES: &str = "gcno";

/// Copies the notes of the objects in these folders of a build.
///
/// # Errors
/// A folder has none: nothing of it would count.
pub fn keep_notes(build: &Path, folders: &[String], to: &Path) -> Result<()> {
    for folder in folders {
        if copy_notes(&build.join(folder), &to.join(folder))? == 0 {
            return Err(Error::NoKernel(format!(
                "nothing in {folder} counts: {} has no file `.{NOTES}`",
                build.join(folder).display()
            )));
        }
    }
    Ok(())
}

fn copy_notes(from: &Path, to: &Path) -> Result<usize> {
    let mut count = 0;
    for item in fs::read_dir(from).map_err(|e| Error::io("read", from, e))? {
        let path = item.map_err(|e| Error::io("read", from, e))?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            count += copy_notes(&path, &to)?;
        } else if path.extension().is_some_and(|extension| extension == NOTES) {
            copy(&path, &to)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Copies those C files of a tree that patches have changed.
///
/// # Errors
/// One cannot be copied.
pub fn keep_patched(source: &Path, patched: &BTreeSet<PathBuf>, to: &Path) -> Result<()> {
    let is_c = |path: &&PathBuf| path.extension().is_some_and(|it| it == "c" || it == "h");
    for path in patched.iter().filter(is_c) {
        let (from, to) = (source.join(path), to.join(path));
        // A patch can remove a file.
        if from.is_file() {
            copy(&from, &to)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    fs::copy(from, to).map(drop).map_err(|e| Error::io("copy to", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_does_not_count_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("kept");
        for name in ["fs/a/x.gcno", "fs/a/b/y.gcno", "fs/a/x.o", "none/z.o"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        keep_notes(dir.path(), &["fs/a".to_owned()], &to).unwrap();
        assert!(to.join("fs/a/x.gcno").is_file() && to.join("fs/a/b/y.gcno").is_file());
        assert!(!to.join("fs/a/x.o").exists());
        let patched = ["fs/a/x.o", "gone.c"].map(PathBuf::from).into();
        keep_patched(dir.path(), &patched, &to).unwrap();
        assert!(!to.join("fs/a/x.o").exists());
        assert!(keep_notes(dir.path(), &["none".to_owned()], &to).is_err());
    }
}

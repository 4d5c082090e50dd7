//! gcov, the tool: from the counters of machines to counts of lines and branches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use refan_runner::gcov::Counters;
use refan_site::gcov::Counts;
use xtask::kernel;

/// Endings of the compiler's notes and of the counters that they are about.
const NOTES: &str = "gcno";
const COUNTERS: &str = "gcda";

/// What the counters of all machines come to, for the objects whose notes are in a folder.
pub fn counts(notes: &Path, machines: &[Counters]) -> Result<Counts> {
    let mut objects = Vec::new();
    find(notes, notes, &mut objects)?;
    let mut counts = Counts::default();
    for counters in machines {
        for object in of_machine(notes, &objects, counters)? {
            counts.add(object);
        }
    }
    Ok(counts)
}

/// The paths of all notes in a folder, without their ending.
fn find(top: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let listing = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if path.is_dir() {
            find(top, &path, found)?;
        } else if path.extension().is_some_and(|ending| ending == NOTES) {
            found.push(path.strip_prefix(top).unwrap_or(&path).with_extension(""));
        }
    }
    Ok(())
}

fn of_machine(notes: &Path, objects: &[PathBuf], counters: &Counters) -> Result<Vec<Counts>> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut files = Vec::new();
    for (path, bytes) in counters {
        let path = Path::new(path).with_extension("");
        // The kernel knows an object by its path in the folder that it was built in.
        let Some(object) = objects.iter().find(|object| path.ends_with(object)) else { continue };
        let file = object.with_extension(COUNTERS);
        let at = scratch.path().join(&file);
        let doing = || format!("cannot write {}", at.display());
        fs::create_dir_all(at.parent().unwrap_or(&at)).with_context(doing)?;
        fs::write(&at, bytes).with_context(doing)?;
        let note = notes.join(object).with_extension(NOTES);
        std::os::unix::fs::symlink(note, at.with_extension(NOTES)).with_context(doing)?;
        files.push(file);
    }
    if files.is_empty() {
        bail!("the machine counted in none of the objects that are asked about");
    }
    gcov(scratch.path(), &files)
}

/// Runs gcov in a folder.
fn gcov(folder: &Path, files: &[PathBuf]) -> Result<Vec<Counts>> {
    let output = Command::new("gcov")
        .args(["--json-format", "--stdout", "--branch-probabilities", "--branch-counts"])
        .args(files)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| kernel::Error::HostLacks(format!("gcov cannot be run: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Of counters that do not go with the notes gcov says so, and tells zeros.
    if !output.status.success() || said.contains("mismatch") || said.contains("cannot open") {
        bail!("gcov failed ({}): {}", output.status, said.trim());
    }
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Counts::of_object(line).context("what gcov wrote")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "int main(int argc, char **argv)\n{\n\tif (argc > 1)\n\t\treturn argv[1][0] == 'x';\n\treturn 0;\n}\n";

    /// A program of the host stands in for a kernel: built in one folder, its counters of each run are
    /// those of a machine.
    fn built(folder: &Path, source: &str) {
        let at = folder.join("fs/notify");
        fs::create_dir_all(&at).expect("made");
        fs::write(at.join("x.c"), source).expect("written");
        let compile = ["-fprofile-arcs", "-ftest-coverage", "-c", "fs/notify/x.c", "-o"];
        let link = ["fs/notify/x.o", "--coverage", "-o", "x"];
        for arguments in [[&compile[..], &["fs/notify/x.o"]].concat(), link.to_vec()] {
            let status = Command::new("gcc").current_dir(folder).args(arguments).status();
            assert!(status.expect("gcc").success());
        }
    }

    fn counters(folder: &Path, argument: Option<&str>) -> Counters {
        let file = folder.join("fs/notify/x.gcda");
        // gcc's own runtime adds to what there is.
        let _ = fs::remove_file(&file);
        Command::new(folder.join("x")).args(argument).status().expect("it runs");
        let path = file.strip_prefix("/").expect("absolute").to_string_lossy().into_owned();
        vec![(path, fs::read(&file).expect("counters")), ("else/y.gcda".to_owned(), Vec::new())]
    }

    #[test]
    fn what_machines_counted_is_added_up() {
        let folder = tempfile::tempdir().expect("a folder");
        built(folder.path(), SOURCE);
        let machines = [counters(folder.path(), None), counters(folder.path(), Some("x"))];
        let lines = &counts(folder.path(), &machines).expect("counts").files["fs/notify/x.c"];
        let count = |number: u32| lines.get(&number).map(|line| line.count);
        assert_eq!([1, 2, 3, 4, 5].map(count), [Some(2), None, Some(2), Some(1), Some(1)]);
        assert_eq!(lines[&3].branches, [1, 1]);
        let first = counts(folder.path(), &machines[..1]).expect("counts");
        assert_eq!(first.files["fs/notify/x.c"][&4].count, 0);
    }

    #[test]
    fn counters_of_another_build_are_no_zeros() {
        let [folder, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        built(folder.path(), SOURCE);
        built(other.path(), &SOURCE.replace("return 0", "return argc + 2"));
        let counters = counters(other.path(), None);
        assert!(counts(folder.path(), &[counters]).is_err());
        let foreign = vec![("else/y.gcda".to_owned(), Vec::new())];
        assert!(counts(folder.path(), &[foreign]).is_err());
    }
}

//! Folders that appear whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::record::{Artifact, Error};

/// How many artifacts of one name there are at most: who has so many looks at none.
const SAME_NAME: u32 = 1000;

/// Files of a folder: name and content.
pub(super) type Files = Vec<(&'static str, Vec<u8>)>;

/// Makes a folder with these files below `parent`, called `name`, or if that is taken `name-2` and so
/// on. `last` makes the file that knows the folder's path. A folder that holds the same finding
/// already is the result.
pub(super) fn publish(
    parent: &Path,
    name: &str,
    finding: &str,
    files: &Files,
    last: impl Fn(&Path) -> (&'static str, Vec<u8>),
) -> Result<PathBuf, Error> {
    fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, e))?;
    let parent =
        fs::canonicalize(parent).map_err(|e| Error::io("resolve the folder", parent, e))?;
    let mut written = None;
    for number in 1..=SAME_NAME {
        let place = match number {
            1 => parent.join(name),
            _ => parent.join(format!("{name}-{number}")),
        };
        if fs::symlink_metadata(&place).is_ok() {
            if Artifact::read(&place).is_ok_and(|there| there.finding == finding) {
                return Ok(place);
            }
            continue;
        }
        let folder = match &written {
            Some(folder) => folder,
            None => written.insert(fill(&parent, files)?),
        };
        let (file, content) = last(&place);
        write(&folder.path().join(file), &content)?;
        sync(folder.path())?;
        match fs::rename(folder.path(), &place) {
            Ok(()) => {
                // What was renamed is not there any more to be deleted.
                written.map(tempfile::TempDir::keep);
                sync(&parent)?;
                return Ok(place);
            }
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(Error::io("move the artifact to", &place, error)),
        }
    }
    Err(Error::Io {
        action: "find a name for the artifact",
        path: parent.join(name),
        source: io::Error::other(format!("{SAME_NAME} of that name are there: delete some")),
    })
}

/// A temporary folder beside the artifacts with these files; it is deleted if it stays one.
fn fill(parent: &Path, files: &Files) -> Result<tempfile::TempDir, Error> {
    let folder = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(|e| Error::io("create a folder in", parent, e))?;
    for (name, content) in files {
        write(&folder.path().join(name), content)?;
    }
    Ok(folder)
}

fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    File::create(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(|e| Error::io("write", path, e))
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|it| it.sync_all()).map_err(|e| Error::io("write", folder, e))
}

/// Whether another process was faster.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn readme(place: &Path) -> (&'static str, Vec<u8>) {
        ("README", place.display().to_string().into_bytes())
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let parent = tempfile::tempdir().expect("a folder");
        let files = vec![("a", b"1".to_vec())];
        let make = || publish(parent.path(), "x", "f", &files, readme).expect("a folder");
        let (first, second) = (make(), make());
        assert_eq!(names(parent.path()), ["x", "x-2"]);
        assert_eq!(names(&second), ["README", "a"]);
        for place in [first, second] {
            let told = fs::read_to_string(place.join("README")).expect("a file");
            assert_eq!(told, place.display().to_string());
        }
        fs::write(parent.path().join("y"), "a file").expect("written");
        let third = publish(parent.path(), "y", "f", &files, readme).expect("a folder");
        assert_eq!(third.file_name().expect("a name"), "y-2");
    }

    #[test]
    fn nothing_is_left_of_what_cannot_be_written() {
        let parent = tempfile::tempdir().expect("a folder");
        let files = vec![("a", b"1".to_vec()), ("missing/b", b"2".to_vec())];
        let error = publish(parent.path(), "x", "f", &files, readme).expect_err("no folder");
        assert!(error.to_string().contains("missing/b"), "{error}");
        assert!(names(parent.path()).is_empty());
    }

    #[test]
    fn a_full_disk_is_told() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::io("write", Path::new("/a/b"), full).to_string();
        assert_eq!(error, "no space left for the artifact in /a: free some and run it again");
    }
}

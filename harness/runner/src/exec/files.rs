//! The files that a command is given.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use refan_wire::{Node, Placed};

use crate::guest::Guest;

/// Files that are named in one job: a job has room for some thousand names.
const NAMES: usize = 256;

/// Files of the host and where they go in the guest, each folder before what it holds.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<Copied>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Copied {
    to: PathBuf,
    mode: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Folder,
    File(PathBuf),
    Link(PathBuf),
}

/// Why a file cannot be given to a command.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be read.
    #[error("cannot copy {path} into the guest: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is none that has content.
    #[error(
        "cannot copy {0} into the guest: it is neither a file nor a folder nor a symbolic link"
    )]
    Special(PathBuf),
}

impl Files {
    /// Adds a file or a folder with all that it holds, to be found as `to`. The top may be a symbolic link,
    /// which is followed; links inside a folder stay links.
    ///
    /// # Errors
    /// When something there cannot be read or is no file.
    pub fn add(&mut self, from: &Path, to: &Path) -> Result<(), FilesError> {
        let failed = |source| FilesError::Read { path: from.into(), source };
        let real = fs::canonicalize(from).map_err(failed)?;
        self.add_as_it_is(&real, to)
    }

    /// Adds a folder that is made.
    pub fn add_folder(&mut self, to: &Path) {
        self.0.push(Copied { to: to.into(), mode: 0o755, what: What::Folder });
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, target: &Path, to: &Path) {
        self.0.push(Copied { to: to.into(), mode: 0o777, what: What::Link(target.into()) });
    }

    fn add_as_it_is(&mut self, from: &Path, to: &Path) -> Result<(), FilesError> {
        let failed = |source| FilesError::Read { path: from.into(), source };
        let meta = fs::symlink_metadata(from).map_err(failed)?;
        let mode = meta.permissions().mode() & 0o7777;
        let mut add = |what| self.0.push(Copied { to: to.into(), mode, what });
        if meta.is_symlink() {
            add(What::Link(fs::read_link(from).map_err(failed)?));
        } else if meta.is_file() {
            add(What::File(from.into()));
        } else if meta.is_dir() {
            add(What::Folder);
            let entries = fs::read_dir(from).map_err(failed)?;
            let mut names = entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(failed)?;
            names.sort_unstable();
            for name in names {
                self.add_as_it_is(&from.join(&name), &to.join(&name))?;
            }
        } else {
            return Err(FilesError::Special(from.into()));
        }
        Ok(())
    }

    /// Puts them into a guest.
    pub(crate) fn place(&self, guest: &mut Guest) -> Result<()> {
        let mut batch = Batch { guest, names: Vec::new(), bytes: Vec::new() };
        for Copied { to, mode, what } in &self.0 {
            let path = bytes_of(to.as_os_str());
            let node = match what {
                What::Folder => Node::Folder { mode: *mode },
                What::Link(target) => Node::Link { target: bytes_of(target.as_os_str()) },
                What::File(from) => {
                    let failed = |source| FilesError::Read { path: from.into(), source };
                    batch.add_file(path, *mode, &fs::read(from).map_err(failed)?)?;
                    continue;
                }
            };
            batch.add(Placed { path, node })?;
        }
        batch.place()
    }
}

/// What goes with one job.
struct Batch<'a> {
    guest: &'a mut Guest,
    names: Vec<Placed>,
    bytes: Vec<u8>,
}

impl Batch<'_> {
    fn add_file(&mut self, path: Vec<u8>, mode: u32, mut content: &[u8]) -> Result<()> {
        let mut append = false;
        loop {
            let room = self.guest.attachable() - self.bytes.len();
            let (part, rest) = content.split_at(content.len().min(room));
            self.bytes.extend_from_slice(part);
            let node = Node::File { mode, len: part.len() as u32, append };
            self.add(Placed { path: path.clone(), node })?;
            if rest.is_empty() {
                return Ok(());
            }
            self.place()?;
            (content, append) = (rest, true);
        }
    }

    fn add(&mut self, placed: Placed) -> Result<()> {
        self.names.push(placed);
        if self.names.len() == NAMES { self.place() } else { Ok(()) }
    }

    fn place(&mut self) -> Result<()> {
        if !self.names.is_empty() {
            self.guest.place(std::mem::take(&mut self.names), &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

fn bytes_of(text: &OsStr) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_with_all_that_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        fs::create_dir(at.join("b")).expect("a folder");
        fs::write(at.join("b/x"), "x").expect("a file");
        fs::write(at.join("a"), "a").expect("a file");
        std::os::unix::fs::symlink("a", at.join("c")).expect("a link");
        let mut files = Files::default();
        files.add(at, Path::new("/work/t")).expect("files");
        let names: Vec<_> = files.0.iter().map(|it| it.to.to_string_lossy()).collect();
        assert_eq!(names, ["/work/t", "/work/t/a", "/work/t/b", "/work/t/b/x", "/work/t/c"]);
        assert_eq!(files.0[4].what, What::Link("a".into()));
        // The top is followed.
        files.add(&at.join("c"), Path::new("/work/c")).expect("a file");
        assert!(matches!(&files.0[5].what, What::File(_)));
    }

    #[test]
    fn what_has_no_content_is_refused() {
        let error = Files::default().add(Path::new("/dev/null"), Path::new("/x")).expect_err("it");
        assert!(error.to_string().contains("/dev/null"));
        let error = Files::default().add(Path::new("/nonexistent"), Path::new("/x"));
        assert!(error.expect_err("it").to_string().contains("/nonexistent"));
    }
}

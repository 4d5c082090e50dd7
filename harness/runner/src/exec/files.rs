//! The files that a command is given.

use std::ffi::{OsStr, OsString};
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
/// A page of the guest's memory, in which its files are.
const PAGE: u64 = 4 << 10;
/// What they may have at most: they and as much again are below 4 GiB, where the shared region begins.
const MOST_MIB: u64 = 2 << 10;
/// Steps in which a guest's memory grows.
const STEP_MIB: u64 = 256;

/// Files of the host and where they go in the guest, each folder before what it holds.
#[derive(Clone, Debug, Default)]
pub struct Files {
    all: Vec<Copied>,
    /// What the content of regular ones takes up, in pages.
    bytes: u64,
}

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
    /// They are more than a guest has memory for.
    #[error(
        "the files for the guest have {mib} MiB, more than the {MOST_MIB} MiB that fit into its memory; leave \
         out what is not needed there"
    )]
    TooLarge {
        /// What they have.
        mib: u64,
    },
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

    /// Adds what a folder holds, to be found in the guest's root; without the entries of these names.
    ///
    /// # Errors
    /// As [`Files::add`].
    pub fn add_root(&mut self, from: &Path, without: &[&str]) -> Result<(), FilesError> {
        for name in entries(from)? {
            if !without.iter().any(|it| name == *it) {
                self.add_as_it_is(&from.join(&name), &Path::new("/").join(&name))?;
            }
        }
        Ok(())
    }

    /// Adds a folder that is made.
    pub fn add_folder(&mut self, to: &Path) {
        self.all.push(Copied { to: to.into(), mode: 0o755, what: What::Folder });
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, target: &Path, to: &Path) {
        self.all.push(Copied { to: to.into(), mode: 0o777, what: What::Link(target.into()) });
    }

    fn add_as_it_is(&mut self, from: &Path, to: &Path) -> Result<(), FilesError> {
        let failed = |source| FilesError::Read { path: from.into(), source };
        let meta = fs::symlink_metadata(from).map_err(failed)?;
        let mode = meta.permissions().mode() & 0o7777;
        let mut add = |what| self.all.push(Copied { to: to.into(), mode, what });
        if meta.is_symlink() {
            add(What::Link(fs::read_link(from).map_err(failed)?));
        } else if meta.is_file() {
            self.bytes += meta.len().next_multiple_of(PAGE);
            self.all.push(Copied { to: to.into(), mode, what: What::File(from.into()) });
        } else if meta.is_dir() {
            add(What::Folder);
            for name in entries(from)? {
                self.add_as_it_is(&from.join(&name), &to.join(&name))?;
            }
        } else {
            return Err(FilesError::Special(from.into()));
        }
        Ok(())
    }

    /// How much memory the machine needs that has so much without them.
    ///
    /// # Errors
    /// When there is no machine that has so much.
    pub(super) fn memory_mib(&self, without: u64) -> Result<u64, FilesError> {
        let mib = self.bytes.div_ceil(1 << 20);
        if mib > MOST_MIB {
            return Err(FilesError::TooLarge { mib });
        }
        // A quarter of it is left over. Beyond that the kernel's own books grow with the memory.
        Ok(if mib <= without / 4 {
            without
        } else {
            (without + mib + mib / 4).next_multiple_of(STEP_MIB)
        })
    }

    /// Puts them into a guest.
    pub(crate) fn place(&self, guest: &mut Guest) -> Result<()> {
        let mut batch = Batch { guest, names: Vec::new(), bytes: Vec::new() };
        for Copied { to, mode, what } in &self.all {
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

/// The names of what a folder holds, in order.
fn entries(folder: &Path) -> Result<Vec<OsString>, FilesError> {
    let failed = |source| FilesError::Read { path: folder.into(), source };
    let names = fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    names.sort_unstable();
    Ok(names)
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
        files.add(at, Path::new("/guest/t")).expect("files");
        let names: Vec<_> = files.all.iter().map(|it| it.to.to_string_lossy()).collect();
        assert_eq!(names, ["/guest/t", "/guest/t/a", "/guest/t/b", "/guest/t/b/x", "/guest/t/c"]);
        assert_eq!(files.all[4].what, What::Link("a".into()));
        // The top is followed.
        files.add(&at.join("c"), Path::new("/guest/c")).expect("a file");
        assert!(matches!(&files.all[5].what, What::File(_)));
    }

    #[test]
    fn a_root_is_what_a_folder_holds_and_needs_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        fs::create_dir_all(at.join("dev/pts")).expect("a folder");
        fs::create_dir(at.join("lib")).expect("a folder");
        let file = fs::File::create(at.join("lib/big")).expect("a file");
        file.set_len(200 << 20).expect("a hole");
        let mut files = Files::default();
        files.add_root(at, &["dev"]).expect("files");
        let names: Vec<_> = files.all.iter().map(|it| it.to.to_string_lossy()).collect();
        assert_eq!(names, ["/lib", "/lib/big"]);
        assert_eq!(files.memory_mib(1024).ok(), Some(1024));
        assert_eq!(files.memory_mib(512).ok(), Some(768));
        file.set_len(3 << 30).expect("a hole");
        let mut files = Files::default();
        files.add_root(at, &[]).expect("files");
        let error = files.memory_mib(512).expect_err("too large").to_string();
        assert!(error.contains("3072 MiB"), "{error}");
        assert_eq!(Files::default().memory_mib(512).ok(), Some(512));
    }

    #[test]
    fn what_has_no_content_is_refused() {
        let error = Files::default().add(Path::new("/dev/null"), Path::new("/x")).expect_err("it");
        assert!(error.to_string().contains("/dev/null"));
        let error = Files::default().add(Path::new("/nonexistent"), Path::new("/x"));
        assert!(error.expect_err("it").to_string().contains("/nonexistent"));
    }
}

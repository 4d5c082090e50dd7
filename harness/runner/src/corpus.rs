//! The corpus on disk: one file an entry, called after its content.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha1::{Digest, Sha1};

/// A folder of entries. Each appears whole under its name or not at all.
pub struct Corpus {
    folder: PathBuf,
    /// On the same file system, for what is being written.
    aside: PathBuf,
    names: BTreeSet<String>,
}

impl Corpus {
    /// Opens a corpus, made where there is none. What is being written is in `aside` meanwhile.
    pub fn open(folder: &Path, aside: &Path) -> Result<Self> {
        for folder in [folder, aside] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let names = names(folder)?;
        Ok(Self { folder: folder.to_owned(), aside: aside.to_owned(), names })
    }

    /// The names of its entries.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Adds an entry, if it is not there; says whether it was not.
    pub fn add(&mut self, content: &[u8]) -> Result<bool> {
        let name = name(content);
        let path = self.folder.join(&name);
        if self.names.contains(&name) {
            return Ok(false);
        }
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.aside)?;
            file.write_all(content)?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error).map(drop)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        self.names.insert(name);
        Ok(true)
    }

    /// Takes an entry away.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        self.names.remove(name);
        Ok(())
    }

    /// Adds the whole entries of a folder that a worker writes to; returns those that are new.
    ///
    /// libFuzzer gives each the name of its content, so one that is still being written, or never will
    /// be to its end, has another name than its content asks for. It deletes one for which it has found a
    /// smaller one (`-reduce_inputs`).
    pub fn collect(&mut self, from: &Path) -> Result<Vec<Vec<u8>>> {
        let mut new = Vec::new();
        for found in names(from)?.difference(&self.names.clone()) {
            if let Some(content) = whole(from, found)?
                && self.add(&content)?
            {
                new.push(content);
            }
        }
        Ok(new)
    }

    /// Adds all of its entries to another one.
    pub fn copy_to(&self, other: &mut Self) -> Result<()> {
        self.copy_some_to(other, usize::MAX, |_| true)
    }

    /// Adds up to so many of its entries that fit.
    pub fn copy_some_to(
        &self,
        other: &mut Self,
        most: usize,
        fits: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        let mut added = 0;
        for name in &self.names {
            if added >= most {
                return Ok(());
            }
            let content = read(&self.folder, name)?;
            if fits(&content) && other.add(&content)? {
                added += 1;
            }
        }
        Ok(())
    }
}

/// An entry of a folder that another process writes to; none if it is not whole, or gone by now.
pub fn whole(folder: &Path, entry: &str) -> Result<Option<Vec<u8>>> {
    let path = folder.join(entry);
    match fs::read(&path) {
        Ok(content) => Ok(Some(content).filter(|content| name(content) == entry)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The entries of a corpus that is there, each with its name.
pub fn entries(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let entry = |name: String| read(folder, &name).map(|content| (name, content));
    names(folder)?.into_iter().map(entry).collect()
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The name of an entry, as libFuzzer gives it (`Hash` in FuzzerSHA1.cpp).
pub fn name(content: &[u8]) -> String {
    Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a file may be called so that is an entry.
pub fn is_name(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Files of a folder that have the name of an entry.
pub fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let listed = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .collect::<Result<Vec<_>, _>>()
    });
    let listed = listed.with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(listed.into_iter().flatten().filter(|name| is_name(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(folder: &Path) -> Corpus {
        Corpus::open(&folder.join("corpus"), &folder.join("aside")).expect("a corpus")
    }

    #[test]
    fn entries_are_added_once_and_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = corpus(folder.path());
        assert!(first.add(b"abc").expect("written") && !first.add(b"abc").expect("there"));
        // FIPS 180-1, appendix A.
        let abc = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(corpus(folder.path()).names().iter().collect::<Vec<_>>(), [abc]);
        first.remove(abc).expect("deleted");
        assert!(first.remove(abc).is_err() && corpus(folder.path()).names().is_empty());
    }

    #[test]
    fn some_entries_are_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = corpus(folder.path());
        for content in ["a1", "b1", "a2", "a3"] {
            first.add(content.as_bytes()).expect("written");
        }
        let at = |name: &str| folder.path().join(name);
        let mut other = Corpus::open(&at("other"), &at("aside")).expect("a corpus");
        first.copy_some_to(&mut other, 2, |content| content[0] == b'a').expect("copied");
        assert_eq!(other.names().len(), 2);
        first.copy_to(&mut other).expect("copied");
        assert_eq!(other.names().len(), 4);
    }

    #[test]
    fn what_is_half_written_is_not_collected() {
        let folder = tempfile::tempdir().expect("a folder");
        let worker = folder.path().join("worker");
        fs::create_dir(&worker).expect("made");
        for (content, written) in [(&b"whole"[..], &b"whole"[..]), (b"half", b"ha")] {
            fs::write(worker.join(name(content)), written).expect("written");
        }
        fs::write(worker.join("log"), "no entry").expect("written");
        // What is gone when it is read.
        std::os::unix::fs::symlink("nowhere", worker.join(name(b"gone"))).expect("linked");
        let mut all = corpus(folder.path());
        assert_eq!(all.collect(&worker).expect("read"), [b"whole"]);
        assert!(all.collect(&worker).expect("read").is_empty());
    }
}

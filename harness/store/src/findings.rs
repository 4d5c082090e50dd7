//! The findings of all campaigns: of each title the folder of whoever told it first.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::Objects;

/// The folder of findings.
const FINDINGS: &str = "findings";

/// A finding's folder is no deeper than this, and has no more files.
const MOST_FILES: usize = 64;

/// The findings in a store.
pub struct Findings<'a> {
    objects: &'a Objects,
}

impl<'a> Findings<'a> {
    /// Those of this store.
    pub fn of(objects: &'a Objects) -> Self {
        Self { objects }
    }

    /// Adds a finding's folder, unless there is one of that title; says whether there was not. Two who tell
    /// the same at the same time may both have added theirs.
    ///
    /// # Errors
    /// The folder cannot be read, or the store does not answer.
    pub fn push(&self, title: &str, folder: &Path) -> Result<bool> {
        let below = format!("{FINDINGS}/{}", as_name(title));
        if !self.objects.list(&below)?.is_empty() {
            return Ok(false);
        }
        let packed = pack(folder).with_context(|| format!("cannot pack {}", folder.display()))?;
        let name = format!("{}.tar", short(&packed));
        self.objects.write(&below, [(name, packed)], |_| ())?;
        Ok(true)
    }

    /// Takes the findings that are not in a folder yet; returns those that are new there.
    ///
    /// # Errors
    /// The store does not answer, or one cannot be unpacked.
    pub fn pull(&self, into: &Path) -> Result<Vec<PathBuf>> {
        std::fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
        let place = |name: &str| {
            let name = name.strip_suffix(".tar")?;
            Some(into.join(name.replace('/', "-")))
        };
        let is_new = |name: &String| place(name).is_some_and(|place| !place.exists());
        let new: Vec<String> = self.objects.list(FINDINGS)?.into_iter().filter(is_new).collect();
        let mut pulled = Vec::new();
        self.objects.read(FINDINGS, new, |name, packed| {
            let Some(place) = place(&name) else { return Ok(()) };
            unpack(&packed, into, &place).with_context(|| format!("cannot unpack {name}"))?;
            pulled.push(place);
            anyhow::Ok(())
        })?;
        pulled.sort();
        Ok(pulled)
    }
}

/// A folder of files, as the same bytes wherever and whenever it is packed.
fn pack(folder: &Path) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.file_name(), entry.path()));
        }
    }
    files.sort();
    let mut packed = tar::Builder::new(Vec::new());
    for (name, path) in files {
        let content = std::fs::read(path)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        packed.append_data(&mut header, name, content.as_slice())?;
    }
    Ok(packed.into_inner()?)
}

/// Unpacks into `place`, which appears whole, beside others in `parent`.
fn unpack(packed: &[u8], parent: &Path, place: &Path) -> Result<()> {
    let folder = tempfile::Builder::new().prefix(".writing-").tempdir_in(parent)?;
    for entry in tar::Archive::new(packed).entries()?.take(MOST_FILES) {
        // What would lie outside the folder is left out by it.
        entry?.unpack_in(folder.path())?;
    }
    std::fs::rename(folder.path(), place)?;
    // What was renamed is not there any more to be deleted.
    let _ = folder.keep();
    Ok(())
}

/// A title as part of an object's name: readable, and never that of another title.
fn as_name(title: &str) -> String {
    const LONGEST: usize = 80;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let readable: String = title.chars().map(plain).take(LONGEST).collect();
    format!("{readable}-{}", short(title.as_bytes()))
}

fn short(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

//! The tree that a kernel is built from: a source, kept as a copy of its own, with patches on top.
//!
//! There is one for each base and for each tree of the user's. It stays between builds and only changed files are
//! written to it, so that another series, an edited patch or an edited file costs an incremental build.

use super::configs::Patch;
use super::error::{Error, Result};
use super::mirror::{Mirror, replace};
use super::patch;
use super::progress::Progress;
use refan_runner::cache::{Cache, Key, Scratch, Workspace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kind of cache workspace.
const TREES: &str = "trees";
/// The tree in it, the record of what the tree holds, and the folder of the builds.
const SOURCE: &str = "src";
const STATE: &str = "state";
const BUILDS: &str = "out";

/// How long another run that builds from the same tree is waited for.
const WAIT: Duration = Duration::from_secs(60 * 60);

/// A tree that belongs to this process while it works on it.
pub struct Tree {
    space: Workspace,
    state: State,
}

/// What the tree holds.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Which pristine source was linked into it; none when it follows a tree of the user's.
    linked: Option<String>,
    /// What it holds of the user's tree.
    mirror: Mirror,
    /// The files that patches have changed, or may have when the work was broken off.
    patched: BTreeSet<PathBuf>,
}

impl Tree {
    /// Takes the tree called `name`, waiting for another run that has it.
    pub fn open(name: &str, cache: &Cache, progress: &dyn Progress) -> Result<Self> {
        let waiting =
            || progress.note("another run builds from the same kernel tree: waiting for it");
        let space = cache.workspace(TREES, &Key::of([("tree", name.as_bytes())]), WAIT, waiting)?;
        let path = space.path().join(STATE);
        let state = fs::read(&path).ok().and_then(|bytes| postcard::from_bytes(&bytes).ok());
        let mut tree = Self { space, state: State::default() };
        match state {
            Some(state) => tree.state = state,
            // There is none, or another version wrote it.
            None => tree.empty()?,
        }
        Ok(tree)
    }

    /// Throws away the source and all that was built from it: make goes by times, and knows nothing of files that are
    /// replaced by older ones.
    fn empty(&mut self) -> Result<()> {
        // The record goes first: without one, whoever is killed in between leaves an empty tree to the next.
        let state = self.space.path().join(STATE);
        gone(&state, fs::remove_file(&state))?;
        for folder in [SOURCE, BUILDS].map(|name| self.space.path().join(name)) {
            gone(&folder, fs::remove_dir_all(&folder))?;
        }
        self.state = State::default();
        self.save()
    }

    /// The tree's source.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.space.path().join(SOURCE)
    }

    /// The folder for the builds of a target.
    #[must_use]
    pub fn build(&self, target: &str) -> PathBuf {
        self.space.path().join(BUILDS).join(target)
    }

    /// Notes how much room the tree and its builds take.
    pub fn measure(&self) -> Result<()> {
        Ok(self.space.measure()?)
    }

    /// Makes the tree hold the pristine source `tree` whose archive has this hash. Files are linked, not copied: nobody
    /// writes into either name. Of an archive that it holds already it gets the files that it lacks, since more may be
    /// unpacked now; what was built of the others stays.
    pub fn link(&mut self, tree: &Path, sha256: &str) -> Result<()> {
        let holds_it = self.state.linked.as_deref() == Some(sha256);
        if !holds_it {
            self.empty()?;
        }
        link_all(tree, &self.source())?;
        if holds_it {
            return Ok(());
        }
        self.state.linked = Some(sha256.to_owned());
        self.save()
    }

    /// Makes the tree follow the user's tree `original`, and returns the key of its content.
    pub fn follow(&mut self, original: &Path, progress: &dyn Progress) -> Result<Key> {
        let source = self.source();
        fs::create_dir_all(&source).map_err(|e| Error::io("create", &source, e))?;
        let followed = self.state.mirror.update(original, &source, progress)?;
        if followed.changed {
            self.save()?;
        }
        Ok(followed.content)
    }

    /// Puts patches on the tree, whose unpatched files are in `pristine`; those of an earlier time
    /// go. Files that come out as they are keep their times.
    pub fn patch(
        &mut self,
        patches: &[Patch],
        pristine: &Path,
        version: &str,
        cache: &Cache,
    ) -> Result<()> {
        let (changed, work) = patched(patches, pristine, version, cache)?;
        let before = std::mem::take(&mut self.state.patched);
        // Written down first: a run that is killed now must not leave changes that nobody knows of.
        self.state.patched = before.union(&changed).cloned().collect();
        self.save()?;
        let source = self.source();
        for path in &self.state.patched {
            let from = if changed.contains(path) { work.path() } else { pristine };
            set(&from.join(path), &source.join(path))?;
        }
        self.state.patched = changed;
        self.save()
    }

    /// The files that patches have changed.
    #[must_use]
    pub fn patched(&self) -> &BTreeSet<PathBuf> {
        &self.state.patched
    }

    fn save(&self) -> Result<()> {
        let path = self.space.path().join(STATE);
        let bytes = postcard::to_stdvec(&self.state)
            .map_err(|e| Error::NoKernel(format!("cannot write the tree's state: {e}")))?;
        let new = path.with_extension("new");
        fs::write(&new, bytes).map_err(|e| Error::io("write", &new, e))?;
        fs::rename(&new, &path).map_err(|e| Error::io("rename", &new, e))
    }
}

/// The files that the patches change, in a temporary folder.
pub fn patched(
    patches: &[Patch],
    pristine: &Path,
    version: &str,
    cache: &Cache,
) -> Result<(BTreeSet<PathBuf>, Scratch)> {
    let work = cache.scratch()?;
    let changed = patch::apply(patches, pristine, version, work.path())?;
    Ok((changed, work))
}

/// What removing `path` came to; that it was not there is as good.
fn gone(path: &Path, removed: std::io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Makes `to` what `from` is; both may be missing.
fn set(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return gone(to, fs::remove_file(to));
    }
    let bytes = fs::read(from).map_err(|e| Error::io("read", from, e))?;
    let mode = fs::metadata(from).map_err(|e| Error::io("stat", from, e))?.mode();
    replace(to, &bytes, mode)
}

/// Gives every file of the tree `from` another name in the tree `to`, which may have some already.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| Error::io("create", to, e))?;
    let list = fs::read_dir(from).map_err(|e| Error::io("read", from, e))?;
    for item in list {
        let item = item.map_err(|e| Error::io("read", from, e))?;
        let (from, to) = (item.path(), to.join(item.file_name()));
        let kind = item.file_type().map_err(|e| Error::io("stat", &from, e))?;
        if kind.is_dir() {
            link_all(&from, &to)?;
        } else {
            match fs::hard_link(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("link", &to, error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Silent;

    #[test]
    fn more_of_one_archive_leaves_what_is_built() {
        let top = tempfile::tempdir().unwrap();
        let write = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let pristine = |name: &str, files: &[&str]| {
            let folder = top.path().join(name);
            files.iter().for_each(|file| write(&folder.join(file)));
            folder
        };
        let cache = Cache::at(top.path().join("cache"), u64::MAX).unwrap();
        let mut tree = Tree::open("base", &cache, &Silent).unwrap();
        tree.link(&pristine("less", &["fs/a.c"]), "archive").unwrap();
        let (source, object) = (tree.source(), tree.build("fast").join("fs/a.o"));
        write(&object);
        fs::write(source.join("fs/new"), "by a patch").unwrap();
        tree.link(&pristine("more", &["fs/a.c", "fs/new", "tools/b.c"]), "archive").unwrap();
        assert!(source.join("tools/b.c").exists() && object.exists());
        assert_eq!(fs::read_to_string(source.join("fs/new")).unwrap(), "by a patch");
        tree.link(&pristine("other", &["fs/a.c"]), "other archive").unwrap();
        assert!(source.join("fs/a.c").exists());
        assert!(!source.join("tools/b.c").exists() && !object.exists());
    }
}

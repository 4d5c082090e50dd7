//! A base with patches on it, short of a kernel: its files, and what the compiler says of them.

use super::build::Build;
use super::configs::{Configs, Patch};
use super::error::Result;
use super::progress::Progress;
use super::source::{self, Source};
use super::tree::{self, Tree};
use refan_runner::cache::{Cache, Scratch};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A base with patches on it.
#[derive(Debug)]
pub struct Patched {
    source: Source,
    patches: Vec<Patch>,
    changed: BTreeSet<PathBuf>,
    /// Of those files that the patches change what comes out.
    files: Scratch,
}

/// The base called `name` with the patches on it, fetched if need be.
///
/// # Errors
/// The source cannot be had, or a patch does not apply.
pub fn patched(
    name: &str,
    patches: Vec<Patch>,
    configs: &Configs,
    offline: bool,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Patched> {
    let source = source::fetch(configs, name, offline, cache, progress)?;
    let version = &source.origin.version;
    let (changed, files) = tree::patched(&patches, &source.tree(), version, cache)?;
    Ok(Patched { source, patches, changed, files })
}

impl Patched {
    /// The files that the patches change, as paths in the tree.
    #[must_use]
    pub fn changed(&self) -> &BTreeSet<PathBuf> {
        &self.changed
    }

    /// Where a file is as the base has it.
    #[must_use]
    pub fn pristine(&self, path: &Path) -> PathBuf {
        self.source.tree().join(path)
    }

    /// Where a file that the patches change is as it comes out.
    #[must_use]
    pub fn file(&self, path: &Path) -> PathBuf {
        self.files.path().join(path)
    }

    /// Compiles objects as a target has them. What the compiler says where it does not take them all.
    ///
    /// # Errors
    /// The tree cannot be made or configured.
    pub fn compile(
        &self,
        target: &str,
        objects: &[PathBuf],
        configs: &Configs,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Option<Vec<String>>> {
        let kernel_target = configs.target(target)?;
        let fragments = configs.fragments(&kernel_target)?;
        let mut tree = Tree::open(&format!("base {}", self.source.base), cache, progress)?;
        tree.link(&self.source.tree(), &self.source.origin.sha256)?;
        tree.patch(&self.patches, &self.source.tree(), &self.source.origin.version, cache)?;
        let (source, folder) = (tree.source(), tree.build(target));
        let (coverage, gcov) = (&kernel_target.coverage, &kernel_target.gcov);
        Build { source: &source, folder: &folder, fragments: &fragments, coverage, gcov }
            .compile(objects, progress)
    }
}

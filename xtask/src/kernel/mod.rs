//! Kernels under test: from a name to a `vmlinux` that is configured, patched, built and kept in the cache.
//!
//! A kernel is named by its content: the source archive (or the content of the user's tree), the patches, the
//! fragments and the toolchain make its key, and a key that is in the cache costs nothing.

mod build;
pub mod configs;
mod counted;
mod error;
mod guard;
mod kconfig;
mod mirror;
mod patch;
mod progress;
mod scope;
pub mod source;
mod toolchain;
mod tree;
mod trial;

pub use configs::{Configs, NO_SERIES};
pub use error::{Error, Result};
pub use progress::{Progress, Silent};
pub use toolchain::Toolchain;
pub use trial::{Patched, patched};

use build::{Build, RECIPE};
use configs::{Fragment, Series, Target};
use refan_runner::cache::{Cache, Entry, Key};
use refan_runner::prepared::{CONFIG, COUNTER_NOTES, DEBUG_IMAGE, IDENTITY, KERNEL_SOURCES};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tree::Tree;

/// The kind of cache entry that a built kernel is.
const KERNELS: &str = "kernels";
const VMLINUX: &str = "vmlinux";
/// The fragment with pseudo-terminals. Only a shell needs them, so targets whose kernels are to be built quickly
/// do without.
const TERMINALS: &str = "terminals";
/// The part of the source whose lines reports show.
const UNDER_TEST: &str = "fs/notify";

/// Where a kernel's source comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The base of that name in `kernel-configs/bases`.
    Base(String),
    /// The user's tree in that folder, which is only read.
    Tree(PathBuf),
}

/// Which kernel is wanted.
#[derive(Clone, Debug)]
pub struct KernelRequest {
    /// Its source.
    pub source: Source,
    /// The series or mutant on top of it; [`NO_SERIES`] for the source as it is.
    pub series: String,
    /// The target to build it as.
    pub target: String,
    /// Whether it has pseudo-terminals in any case ([`TERMINALS`]).
    pub terminals: bool,
    /// Whether only what is in the cache may be used.
    pub offline: bool,
}

/// What a kernel was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The kernel's version as its source says.
    pub version: String,
    /// Where the source came from: a provider, or the user's folder.
    pub provider: String,
    /// The SHA-256 of the source archive, or the key of the folder's content.
    pub source: String,
    /// The series on top.
    pub series: String,
    /// Its patches: file name and SHA-256.
    pub patches: Vec<(String, String)>,
    /// The target.
    pub target: String,
    /// The toolchain.
    pub toolchain: Toolchain,
    /// The API profile that it declares; none when the series has none.
    pub api: Option<String>,
}

impl Identity {
    /// One line for people: "Linux 7.3.4 (...) + restartable, fast".
    #[must_use]
    pub fn summary(&self) -> String {
        let series =
            if self.series == NO_SERIES { String::new() } else { format!(" + {}", self.series) };
        format!("Linux {}{series}, {} ({})", self.version, self.target, self.provider)
    }
}

/// A built kernel in the cache. It is not evicted while this value lives.
#[derive(Debug)]
pub struct Kernel {
    /// Its key.
    pub key: Key,
    /// What it was made from.
    pub identity: Identity,
    entry: Entry,
}

impl Kernel {
    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.entry
    }

    /// The image to start, without symbols; it has a PVH entry.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.entry.join(VMLINUX)
    }

    /// The image with debug information, where the target has it.
    #[must_use]
    pub fn debug(&self) -> Option<PathBuf> {
        Some(self.entry.join(DEBUG_IMAGE)).filter(|path| path.exists())
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.entry.join(CONFIG)
    }
}

/// The kernel that is asked for: from the cache, or fetched, patched and built into it.
///
/// # Errors
/// A name that is unknown, a source that cannot be had, a patch that does not apply, an option that is not granted, a
/// build that fails, a cache without room. [`Error::is_usage_or_host`] sorts them.
pub fn ensure_kernel(
    request: &KernelRequest,
    configs: &Configs,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Kernel> {
    let mut target = configs.target(&request.target)?;
    if request.terminals {
        target.fragments.push(TERMINALS.to_owned());
    }
    let fragments = configs.fragments(&target)?;
    let mut series = configs.series(&request.series)?;
    // A tree of the user's is built as it stands.
    if matches!(request.source, Source::Base(_)) {
        series.patches.extend(configs.instrumentation(&target)?);
    }
    let work =
        Work { request, fragments: &fragments, target: &target, series: &series, cache, progress };
    match &request.source {
        Source::Base(name) => work.on_base(configs, name),
        Source::Tree(folder) => work.on_tree(folder),
    }
}

/// The final configuration of the kernel that is asked for, as text; the kernel is built if need be.
///
/// # Errors
/// As [`ensure_kernel`].
pub fn config_text(
    request: &KernelRequest,
    configs: &Configs,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<String> {
    let path = ensure_kernel(request, configs, cache, progress)?.config();
    fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))
}

/// The kernels in the cache, the one used longest ago first, each with its key.
///
/// # Errors
/// The cache cannot be read.
pub fn list(cache: &Cache) -> Result<Vec<(Key, Identity)>> {
    let mut all = Vec::new();
    for usage in cache.usage()?.into_iter().filter(|usage| usage.kind == KERNELS) {
        let name = usage.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let identity = fs::read(usage.path.join(IDENTITY)).ok();
        let identity = identity.and_then(|text| serde_json::from_slice(&text).ok());
        if let (Some(key), Some(identity)) = (Key::from_hex(&name), identity) {
            all.push((key, identity));
        }
    }
    Ok(all)
}

/// A request with everything that it names.
struct Work<'a> {
    request: &'a KernelRequest,
    fragments: &'a [Fragment],
    target: &'a Target,
    series: &'a Series,
    cache: &'a Cache,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    fn on_base(&self, configs: &Configs, name: &str) -> Result<Kernel> {
        let source = source::fetch(configs, name, self.request.offline, self.cache, self.progress)?;
        let identity = self.identity(
            source.origin.version.clone(),
            source.origin.provider.clone(),
            source.origin.sha256.clone(),
        )?;
        let key = self.key(&identity)?;
        if let Some(kernel) = self.cached(&key)? {
            return Ok(kernel);
        }
        let mut tree = Tree::open(&format!("base {}", source.base), self.cache, self.progress)?;
        // Another run may have built it while this one waited for the tree.
        if let Some(kernel) = self.cached(&key)? {
            return Ok(kernel);
        }
        self.progress.phase("prepare the kernel tree");
        tree.link(&source.tree(), &source.origin.sha256)?;
        self.build(tree, &source.tree(), key, identity)
    }

    fn on_tree(&self, folder: &Path) -> Result<Kernel> {
        let folder = fs::canonicalize(folder).map_err(|e| {
            Error::Usage(format!("{} is no kernel source tree: {e}", folder.display()))
        })?;
        let version = source::check_tree(&folder)?;
        let mut tree =
            Tree::open(&format!("folder {}", folder.display()), self.cache, self.progress)?;
        self.progress.phase("look for changes in the kernel tree");
        let content = tree.follow(&folder, self.progress)?;
        let identity =
            self.identity(version, folder.display().to_string(), content.as_str().to_owned())?;
        let key = self.key(&identity)?;
        if let Some(kernel) = self.cached(&key)? {
            return Ok(kernel);
        }
        self.build(tree, &folder, key, identity)
    }

    /// Patches and builds the tree, whose unpatched files are in `pristine`, and publishes the kernel.
    fn build(
        &self,
        mut tree: Tree,
        pristine: &Path,
        key: Key,
        identity: Identity,
    ) -> Result<Kernel> {
        tree.patch(&self.series.patches, pristine, &identity.version, self.cache)?;
        let (source, folder) = (tree.source(), tree.build(&self.request.target));
        let (fragments, Target { coverage, gcov, .. }) = (self.fragments, self.target);
        let build = Build { source: &source, folder: &folder, fragments, coverage, gcov };
        build.run(self.progress)?;
        let entry = self.cache.publish(KERNELS, &key, |dir| {
            let copy = |from: &Path, name: &str| {
                let to = dir.join(name);
                fs::copy(from, &to).map(drop).map_err(|e| Error::io("copy to", &to, e))
            };
            copy(&build.config(), CONFIG)?;
            let config = fs::read_to_string(build.config())
                .map_err(|e| Error::io("read", &build.config(), e))?;
            if config.lines().any(|line| line == "CONFIG_DEBUG_INFO=y") {
                copy(&build.vmlinux(), DEBUG_IMAGE)?;
                keep(&source.join(UNDER_TEST), &dir.join(KERNEL_SOURCES).join(UNDER_TEST))?;
            }
            if !gcov.is_empty() {
                self.keep_counted(&tree, &folder, dir)?;
            }
            strip(&build.vmlinux(), &dir.join(VMLINUX))?;
            let path = dir.join(IDENTITY);
            let text = serde_json::to_vec_pretty(&identity)
                .map_err(|e| Error::NoKernel(format!("cannot write the kernel's identity: {e}")))?;
            fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
        })?;
        tree.measure()?;
        Ok(Kernel { key, identity, entry })
    }

    /// Keeps what it takes to read the counters of a build whose code counts.
    fn keep_counted(&self, tree: &Tree, build: &Path, dir: &Path) -> Result<()> {
        counted::keep_notes(build, &self.target.gcov, &dir.join(COUNTER_NOTES))?;
        let (source, sources) = (tree.source(), dir.join(KERNEL_SOURCES));
        for folder in &self.target.gcov {
            keep(&source.join(folder), &sources.join(folder))?;
        }
        counted::keep_patched(&source, tree.patched(), &sources)
    }

    fn identity(&self, version: String, provider: String, source: String) -> Result<Identity> {
        Ok(Identity {
            version,
            provider,
            source,
            series: self.request.series.clone(),
            patches: self
                .series
                .patches
                .iter()
                .map(|patch| (patch.name(), patch.sha256()))
                .collect(),
            target: self.request.target.clone(),
            toolchain: Toolchain::of_host()?,
            api: self.series.api.clone(),
        })
    }

    /// The key of the kernel: its identity, where the source came from left out, and its configuration.
    fn key(&self, identity: &Identity) -> Result<Key> {
        let mut content = identity.clone();
        content.provider.clear();
        let content = serde_json::to_vec(&content)
            .map_err(|e| Error::NoKernel(format!("cannot write the kernel's identity: {e}")))?;
        let config = kconfig::merged(self.fragments);
        let [coverage, gcov] = [&self.target.coverage, &self.target.gcov].map(|it| it.join("\n"));
        let parts = [
            ("recipe", RECIPE.as_bytes()),
            ("identity", content.as_slice()),
            ("config", config.as_bytes()),
            ("coverage", coverage.as_bytes()),
        ];
        let gcov = (!gcov.is_empty()).then_some(("gcov", gcov.as_bytes()));
        Ok(Key::of(parts.into_iter().chain(gcov)))
    }

    fn cached(&self, key: &Key) -> Result<Option<Kernel>> {
        let Some(entry) = self.cache.entry(KERNELS, key)? else { return Ok(None) };
        let path = entry.join(IDENTITY);
        let text = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let identity = serde_json::from_slice(&text)
            .map_err(|e| Error::NoKernel(format!("{} is malformed: {e}", path.display())))?;
        Ok(Some(Kernel { key: key.clone(), identity, entry }))
    }
}

/// Copies the C files of a folder and of those in it.
fn keep(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| Error::io("create", to, e))?;
    let list = fs::read_dir(from).map_err(|e| Error::io("read", from, e))?;
    for item in list {
        let path = item.map_err(|e| Error::io("read", from, e))?.path();
        let Some(name) = path.file_name() else { continue };
        let to = to.join(name);
        if path.is_dir() {
            keep(&path, &to)?;
        } else if path.extension().is_some_and(|it| it == "c" || it == "h") {
            fs::copy(&path, &to).map_err(|e| Error::io("copy to", &to, e))?;
        }
    }
    Ok(())
}

/// Writes the image without symbols: less for QEMU to load.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("strip")
        .arg("-o")
        .arg(to)
        .arg(from)
        .output()
        .map_err(|e| Error::start("strip", &e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(match said.contains("No space left on device") {
        true => refan_runner::cache::Error::Full(to.to_owned()).into(),
        false => Error::NoKernel(format!("strip {} failed: {}", from.display(), said.trim())),
    })
}

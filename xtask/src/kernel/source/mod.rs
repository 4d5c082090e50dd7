//! Kernel sources: from a provider into the cache.

pub mod apt;
mod debian;
mod download;
mod tarball;
mod unpack;

use super::configs::{Base, Configs, Provider};
use super::error::{Error, Result};
use super::progress::Progress;
use super::scope::LEFT_OUT;
use refan_runner::cache::{Cache, Entry, Key};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kind of cache entry that a pristine source tree is.
const SOURCES: &str = "sources";
/// The tree inside the entry, and its identity beside it.
const TREE: &str = "tree";
const IDENTITY: &str = "source.json";

/// How long another run that fetches the same source is waited for.
const FETCH_WAIT: Duration = Duration::from_secs(30 * 60);

/// Where a source came from, and what was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version as its provider names it: `7.3.4`, `7.3.4-1~bpo13+1`.
    pub version: String,
    /// The provider, for people: an address, or package and suite.
    pub provider: String,
    /// The SHA-256 of the archive in hex.
    pub sha256: String,
    /// What vouches for the archive, for people.
    pub verified: String,
}

/// A pristine source tree in the cache.
#[derive(Debug)]
pub struct Source {
    /// The name of the base that it is: that of a later one when the base asked for is gone.
    pub base: String,
    /// Where it came from.
    pub origin: Origin,
    entry: Entry,
}

impl Source {
    /// The tree. Nothing may be written into it.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.entry.join(TREE)
    }
}

/// What a provider brought: an archive that has been verified.
struct Archive {
    origin: Origin,
    file: PathBuf,
    format: unpack::Format,
}

/// The source of the base called `name`: from the cache, else from the first of its providers that has it, else the
/// next known base.
pub fn fetch(
    configs: &Configs,
    name: &str,
    offline: bool,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Source> {
    let mut wanted = name.to_owned();
    let mut tried = Vec::new();
    let mut seen = Vec::new();
    loop {
        let (base, text) = configs.base(&wanted)?;
        let key = key(&text, LEFT_OUT);
        if let Some(source) = cached(cache, &wanted, &key)? {
            return Ok(source);
        }
        if offline {
            tried.push(format!("Linux {wanted} is not in the cache ({})", cache.root().display()));
        } else {
            // Two runs that lack the same source fetch it once.
            let waiting =
                || progress.note("another run is fetching this kernel source: waiting for it");
            let _lock = cache.lock(&format!("fetch-{key}"), FETCH_WAIT, waiting)?;
            if let Some(source) = cached(cache, &wanted, &key)? {
                return Ok(source);
            }
            if let Some(source) = from_providers(&base, &wanted, &key, cache, progress, &mut tried)?
            {
                return Ok(source);
            }
        }
        seen.push(wanted.clone());
        match base.next {
            Some(next) if !seen.contains(&next) => {
                progress
                    .note(&format!("Linux {wanted} cannot be had: trying the base {next} instead"));
                wanted = next;
            }
            _ => break,
        }
    }
    let advice =
        if offline { "run once without --offline" } else { "or give a tree with --kernel-src DIR" };
    Err(Error::NoKernel(format!("no kernel source:\n  {}\n{advice}", tried.join("\n  "))))
}

/// The key of an unpacked source: what its base says, and what is not unpacked of it.
fn key(base: &str, left_out: &[&str]) -> Key {
    let left_out = left_out.join("\n");
    Key::of([("base", base.as_bytes()), ("left out", left_out.as_bytes())])
}

fn cached(cache: &Cache, base: &str, key: &Key) -> Result<Option<Source>> {
    let Some(entry) = cache.entry(SOURCES, key)? else { return Ok(None) };
    let path = entry.join(IDENTITY);
    let text = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let origin = serde_json::from_slice(&text)
        .map_err(|e| Error::NoKernel(format!("{} is malformed: {e}", path.display())))?;
    Ok(Some(Source { base: base.to_owned(), origin, entry }))
}

/// Asks the providers in their order; why one has nothing goes to the user at once and into `tried`.
fn from_providers(
    base: &Base,
    name: &str,
    key: &Key,
    cache: &Cache,
    progress: &dyn Progress,
    tried: &mut Vec<String>,
) -> Result<Option<Source>> {
    for provider in &base.providers {
        let scratch = cache.scratch()?;
        let archive = match provider {
            Provider::Tarball { url, sha256 } => {
                tarball::fetch(url, sha256.as_deref(), cache, progress)
            }
            Provider::Debian { package, suites } => {
                debian::fetch(package, suites, scratch.path(), progress)
            }
        };
        match archive {
            Ok(archive) => return publish(archive, name, key, cache, progress).map(Some),
            Err(Error::Cache(error)) => return Err(error.into()),
            Err(error) => {
                progress.note(&error.to_string());
                tried.push(error.to_string());
            }
        }
    }
    Ok(None)
}

fn publish(
    archive: Archive,
    base: &str,
    key: &Key,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Source> {
    progress.phase(&format!("unpack Linux {}", archive.origin.version));
    let entry = cache.publish(SOURCES, key, |dir| {
        let tree = dir.join(TREE);
        fs::create_dir(&tree).map_err(|e| Error::io("create", &tree, e))?;
        unpack::unpack(&archive.file, archive.format, &tree)?;
        check_tree(&tree)?;
        let identity = dir.join(IDENTITY);
        let text = serde_json::to_vec_pretty(&archive.origin)
            .map_err(|e| Error::NoKernel(format!("cannot write the source's identity: {e}")))?;
        fs::write(&identity, text).map_err(|e| Error::io("write", &identity, e))
    })?;
    progress.note(&format!(
        "Linux {} from {}, {}",
        archive.origin.version, archive.origin.provider, archive.origin.verified
    ));
    fs::remove_file(&archive.file).ok();
    Ok(Source { base: base.to_owned(), origin: archive.origin, entry })
}

/// The version of the kernel tree `dir`, or what shows that it is none.
///
/// # Errors
/// The folder holds no kernel tree, or one without `fs/notify/fanotify`.
pub fn check_tree(dir: &Path) -> Result<String> {
    let no_tree =
        |why: &str| Error::Usage(format!("{} is no kernel source tree: {why}", dir.display()));
    let makefile =
        fs::read_to_string(dir.join("Makefile")).map_err(|_| no_tree("it has no Makefile"))?;
    let field = |name: &str| {
        makefile.lines().take(20).find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let (Some(version), Some(patchlevel)) = (field("VERSION"), field("PATCHLEVEL")) else {
        return Err(no_tree("its Makefile has no VERSION and PATCHLEVEL"));
    };
    for needed in ["Kbuild", "Kconfig", "fs/notify/fanotify/fanotify_user.c"] {
        if !dir.join(needed).is_file() {
            return Err(no_tree(&format!("it has no {needed}")));
        }
    }
    let sublevel =
        field("SUBLEVEL").filter(|text| !text.is_empty()).unwrap_or_else(|| "0".to_owned());
    let extra = field("EXTRAVERSION").unwrap_or_default();
    Ok(format!("{version}.{patchlevel}.{sublevel}{extra}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_was_unpacked_with_other_parts_is_another_entry() {
        let now = key("base", &["arch/sh", "tools/testing"]);
        assert_eq!(now, key("base", &["arch/sh", "tools/testing"]));
        for other in [&["arch/sh"][..], &["arch/sh", "tools/testing/*"], &[]] {
            assert_ne!(now, key("base", other), "{other:?}");
        }
        assert_ne!(now, key("other", &["arch/sh", "tools/testing"]));
    }
}

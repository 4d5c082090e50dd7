//! A machine that is ready to be started: everything that was fetched, built and saved for it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use refan_abi::ApiValues;
use refan_vm::{Kind, MachineSpec, Profile, Qemu, Snapshot};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::coverage::Code;
use crate::kernel_log::Symbols;

/// Beside a kernel image the same with its debug information, where the target has that.
pub const DEBUG_IMAGE: &str = "vmlinux.debug";
/// Beside an image that was built here its configuration.
pub const CONFIG: &str = "config";
/// Beside an image with debug information the folder of those source files that reports show lines of.
pub const KERNEL_SOURCES: &str = "source";

/// Beside an image whose code counts (gcov) the folder of the compiler's notes, which tell what is counted.
pub const COUNTER_NOTES: &str = "gcov";

/// Beside an image that was built here what it was made from, as JSON.
pub const IDENTITY: &str = "build.json";

/// [`Prepared::patience`] where nothing asks for less. Generous: it only bounds what has gone wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the kernel says of itself before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Declared {
    /// It has the feature: if the probe finds otherwise, there is no verdict.
    Present,
    /// It has not: if the probe finds otherwise, there is no verdict.
    Absent,
    /// Nothing: it is judged by what the probe finds.
    Nothing,
}

/// Code of which the guest is to tell what is passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Folders of the kernel's source.
    pub folders: Vec<String>,
    /// Where their code is ([`Code::ranges`]).
    pub ranges: Vec<Range<u32>>,
    /// Places there that do not count, by number ([`Code::yields`]).
    pub left_out: Vec<u32>,
}

/// Everything that it takes to start a machine. Stored in the cache under the name of its target,
/// where the scenarios' tests find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// The options of the command line by which it is prepared again.
    pub options: Vec<String>,
    /// Digest of the sources that the guest was made from ([`sources_digest`]).
    pub sources: String,
    /// The kernel, for people.
    pub kernel: String,
    /// The machine, for people.
    pub machine: String,
    /// Numbers of the API profile.
    pub api: ApiValues,
    /// What the kernel declares.
    pub declared: Declared,
    /// The seeded bug that each machine's kernel is told to have once it is restored, 0 for none;
    /// nothing for a kernel that is not asked.
    pub mutant: Option<u32>,
    /// QEMU's binary.
    pub qemu: PathBuf,
    /// The machine profile's file.
    pub profile: PathBuf,
    /// Parameters for the kernel's command line, behind the profile's.
    #[serde(default)]
    pub append: String,
    /// The accelerator that was chosen.
    pub accelerator: Kind,
    /// The kernel image.
    pub image: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// How long a machine may take to its first sign, and to answer a job.
    pub patience: Duration,
    /// Folder and key of the snapshot at agent-ready; none where saving failed, and each start
    /// boots.
    pub snapshot: Option<(PathBuf, String)>,
    /// Code that is watched, if any is: programs take another time then.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// Titles of the kernel's reports that are no finding ([`crate::known`]).
    #[serde(default)]
    pub known: Vec<String>,
    /// Guest RAM in MiB where it is not the profile's.
    #[serde(default)]
    pub memory_mib: Option<u64>,
}

impl Prepared {
    /// The same with so much memory; it boots each time.
    #[must_use]
    pub(crate) fn with_memory(&self, memory_mib: u64) -> Self {
        Self { memory_mib: Some(memory_mib), snapshot: None, ..self.clone() }
    }

    /// The same with a guest that tells what is passed of the code in these folders.
    pub fn watching(&self, code: &Code, folders: &[&str]) -> Self {
        let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
        let (ranges, left_out) = (code.ranges.clone(), code.yields.iter().copied().collect());
        let watched = Watched { folders, ranges, left_out };
        Self { watched: Some(watched), ..self.clone() }
    }

    /// Loads what was prepared for a target, if it is still what the sources say.
    pub fn load(cache: &Cache, repository: &Path, target: &str) -> Result<Self> {
        let command = format!("cargo xtask test --prepare --target {target}");
        let file = Self::file(cache, target);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("no kernel is built for the target `{target}`: run `{command}`")
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let prepared: Self = serde_json::from_str(&text).with_context(|| {
            format!("{} is not what this version writes: run `{command}`", file.display())
        })?;
        if prepared.sources != sources_digest(repository)? {
            bail!(
                "what is built for the target `{target}` is older than the sources: run `{command}`"
            );
        }
        let snapshot = prepared.snapshot.as_ref().map(|(folder, _)| folder);
        let parts = [Some(&prepared.image), Some(&prepared.initramfs), snapshot];
        if let Some(gone) = parts.into_iter().flatten().find(|part| !part.exists()) {
            bail!("{} is gone from the cache: run `{command}`", gone.display());
        }
        Ok(prepared)
    }

    /// Stores it as what is prepared for a target.
    pub fn store(&self, cache: &Cache, target: &str) -> Result<()> {
        let file = Self::file(cache, target);
        let folder = file.parent().context("the cache has no folder")?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|temporary| {
            serde_json::to_writer_pretty(&temporary, self)?;
            temporary.persist(&file).map_err(|error| error.error)
        });
        written.with_context(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }

    fn file(cache: &Cache, target: &str) -> PathBuf {
        cache.root().join("prepared").join(format!("{target}.json"))
    }

    /// The kernel's image with its debug information, if there is one of that build.
    pub fn debug_image(&self) -> Option<PathBuf> {
        Some(self.image.with_file_name(DEBUG_IMAGE)).filter(|file| file.exists())
    }

    /// The symbols of the kernel, if there are any of that build.
    pub fn symbols(&self) -> Result<Option<Symbols>> {
        let sources = self.image.with_file_name(KERNEL_SOURCES);
        self.debug_image().map(|file| Symbols::read(&file, sources)).transpose()
    }

    /// The same; where they cannot be read, says so and goes on without.
    pub(crate) fn symbols_if_readable(&self) -> Option<Symbols> {
        self.symbols().unwrap_or_else(|error| {
            eprintln!("note: reports stay without lines of the source: {error:#}");
            None
        })
    }

    /// How many such machines run at a time for so many jobs: as the host has processors for theirs.
    pub fn machines(&self, jobs: usize) -> Result<usize> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let of_each = self.spec()?.profile.cpus.max(1) as usize;
        Ok((processors / of_each).min(jobs).max(1))
    }

    /// What QEMU is started with.
    pub fn spec(&self) -> Result<MachineSpec> {
        let mut profile = Profile::load(&self.profile)?;
        profile.memory_mib = self.memory_mib.unwrap_or(profile.memory_mib);
        Ok(MachineSpec {
            qemu: Qemu::at(&self.qemu)?,
            profile,
            accelerator: self.accelerator,
            kernel: self.image.clone(),
            initramfs: Some(self.initramfs.clone()),
            extra_cmdline: self.append.clone(),
        })
    }

    /// The snapshot that machines start from.
    pub fn open_snapshot(&self) -> Result<Option<Snapshot>> {
        let opened = self.snapshot.as_ref().map(|(folder, key)| Snapshot::open(folder, key));
        opened.transpose().context("cannot open the snapshot")
    }
}

/// The parts of the repository that decide what the guest is and does.
const SOURCES: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "harness/abi",
    "harness/agent",
    "harness/program",
    "harness/wire",
    "kernel-configs",
    "vm-images",
];

/// Digest of what the guest is made from, so that a stale build is not mistaken for the current
/// one.
pub fn sources_digest(repository: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    for part in SOURCES {
        add(&mut digest, repository, &repository.join(part))?;
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn add(digest: &mut Sha256, top: &Path, path: &Path) -> Result<()> {
    if path.is_dir() {
        let mut entries = std::fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("cannot list {}", path.display()))?;
        entries.sort();
        return entries.iter().try_for_each(|entry| add(digest, top, entry));
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.strip_prefix(top).unwrap_or(path).to_string_lossy().into_owned();
    for part in [name.as_bytes(), &bytes] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    Ok(())
}

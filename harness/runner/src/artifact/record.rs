//! The part of an artifact that programs read.

use std::io;
use std::path::{Path, PathBuf};

use refan_abi::ApiValues;
use refan_model::Violation;
use refan_program::Program;
use serde::{Deserialize, Serialize};

use super::{EARLIER, PROGRAM, RECORD};
use crate::Verdict;
use crate::earlier::{self, Earlier};
use crate::kernel_log::Report;
use crate::suite::Scenario;

/// The word for a verdict that a rule was broken ([`Verdict::word`]).
const BROKEN: &str = "broken";

/// Version of the folder's layout and of [`Artifact`]: raised when something changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// What was found on which kernel and machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// [`FORMAT`] of who wrote it.
    pub format: u32,
    /// Digest of title, program, kernel and machine: artifacts of one digest tell of one finding.
    pub finding: String,
    /// What findings of one kind have in common ([`crate::Verdict::title`]).
    pub title: String,
    /// The verdict in one word.
    pub verdict: String,
    /// What was broken, where the verdict is that a rule was; artifacts that are older do not say it.
    #[serde(default)]
    pub broken: Option<Broken>,
    /// The scenario's name.
    pub scenario: String,
    /// The rules that the scenario is about.
    pub rules: Vec<String>,
    /// How often it showed again, of how many tries on a freshly restored machine.
    pub repeated: Option<(u32, u32)>,
    /// The options of the command line that choose kernel and machine.
    pub options: Vec<String>,
    /// The same for the kernel that programs without the feature were held against, if there was one.
    pub against: Option<Vec<String>>,
    /// The seeded bug that the kernel was told to have ([`crate::Prepared::mutant`]).
    pub mutant: Option<u32>,
    /// Folders of the kernel's source whose code was watched, if any was: time passed otherwise then.
    #[serde(default)]
    pub watched: Vec<String>,
    /// Numbers of the API profile.
    pub api: ApiValues,
    /// The kernel.
    pub kernel: Kernel,
    /// The machine.
    pub machine: Machine,
    /// The guest.
    pub guest: Guest,
}

/// What was broken: [`Violation`] as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// The rule.
    pub rule: String,
    /// The step in which it showed, from 0.
    pub step: usize,
    /// What is allowed there.
    pub allowed: String,
    /// What was seen.
    pub observed: String,
    /// Of a block what was seen up to there.
    pub history: Vec<String>,
}

/// The kernel of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// One line for people.
    pub summary: String,
    /// SHA-256 of the image.
    pub image: String,
    /// Base, series with the digests of its patches, target and toolchain, if it was built here.
    pub built_from: Option<serde_json::Value>,
}

/// The machine of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// One line for people.
    pub summary: String,
    /// QEMU's file, size, time and version.
    pub qemu: String,
    /// The command that ran it; numbers of descriptors are those of the process that started it.
    pub command_line: Vec<String>,
    /// The kernel's command line.
    pub kernel_command_line: String,
    /// The key of the snapshot that it was restored from; none if it was booted.
    pub snapshot: Option<String>,
}

/// The guest's user space of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Digest of the sources that it was made from ([`crate::prepared::sources_digest`]).
    pub sources: String,
    /// SHA-256 of the initramfs.
    pub initramfs: String,
}

/// Why an artifact cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system has no room left. Nothing of the artifact is there.
    #[error("no space left for the artifact in {0}: free some and run it again")]
    Full(PathBuf),
    /// A system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The verdict is no finding, or the machine's parts cannot be described.
    #[error("no artifact of `{scenario}`: {why}")]
    NotTold {
        /// The scenario's name.
        scenario: String,
        /// What is missing.
        why: String,
    },
    /// The folder holds something else.
    #[error("{} is no artifact: {why}", folder.display())]
    NoArtifact {
        /// The folder.
        folder: PathBuf,
        /// What does not fit.
        why: String,
    },
}

impl Broken {
    /// What a verdict says was broken.
    pub(super) fn of(verdict: &Verdict) -> Option<Self> {
        let Verdict::Broken(violation) = verdict else { return None };
        let Violation { rule, step, allowed, observed, history } = violation.clone();
        Some(Self { rule: rule.to_string(), step, allowed, observed, history })
    }
}

impl Error {
    /// An I/O error; a full disk is told apart.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full(path.parent().unwrap_or(path).to_owned())
            }
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

impl Artifact {
    /// Reads what stands in an artifact's folder.
    ///
    /// # Errors
    /// There is no artifact, or one of another version.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let no_artifact = |why: String| Error::NoArtifact { folder: folder.to_owned(), why };
        let path = folder.join(RECORD);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| no_artifact(format!("{RECORD} cannot be read: {error}")))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| no_artifact(format!("{RECORD} is malformed: {error}")))?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                return Err(no_artifact(format!(
                    "it has format {format}, and format {FORMAT} is read here"
                )));
            }
            None => return Err(no_artifact(format!("{RECORD} names no format"))),
        }
        serde_json::from_value(value)
            .map_err(|error| no_artifact(format!("{RECORD} is malformed: {error}")))
    }

    /// What has to run before the program in an artifact's folder; mostly nothing.
    ///
    /// # Errors
    /// It cannot be read, or is malformed.
    pub fn earlier(folder: &Path) -> Result<Vec<Earlier>, Error> {
        let path = folder.join(EARLIER);
        match std::fs::read(&path) {
            Ok(bytes) => earlier::decode(&bytes).ok_or_else(|| Error::NoArtifact {
                folder: folder.to_owned(),
                why: format!("{EARLIER} is malformed"),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// The verdict, as far as it was kept; None where it is not known what was broken.
    pub fn verdict(&self) -> Option<Verdict> {
        if self.verdict != BROKEN {
            let (title, text) = (self.title.clone(), String::new());
            return Some(Verdict::Report(Report { title, text, symbolized: None }));
        }
        let Broken { rule, step, allowed, observed, history } = self.broken.clone()?;
        let rule = rule.parse().ok()?;
        Some(Verdict::Broken(Violation { rule, step, allowed, observed, history }))
    }

    /// The program in an artifact's folder.
    ///
    /// # Errors
    /// There is none, as of a finding on many programs, or it is malformed.
    pub fn program(folder: &Path) -> Result<Program, Error> {
        let scenario = Scenario::read(String::new(), &folder.join(PROGRAM));
        scenario.map(|scenario| scenario.program).map_err(|error| Error::NoArtifact {
            folder: folder.to_owned(),
            why: format!("there is no program to run: {error:#}"),
        })
    }
}

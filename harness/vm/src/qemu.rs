//! The QEMU program on this host: where it is, which version, which build.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::process::Process;

/// The oldest QEMU that has all that is used here.
pub const MINIMUM: Version = Version { major: 7, minor: 2 };

const PROGRAM: &str = "qemu-system-x86_64";

/// A version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A usable QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    path: PathBuf,
    version: Version,
    identity: String,
}

/// Why there is no usable QEMU.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// No file of that name in `PATH`.
    #[error("{PROGRAM} is not installed: no folder of PATH has it (needed: {MINIMUM} or newer)")]
    Missing,
    /// The program does not say its version.
    #[error("{path} does not tell its version: {why}")]
    Unusable {
        /// The program.
        path: PathBuf,
        /// What came of asking.
        why: String,
    },
    /// The program is too old.
    #[error("{path} is QEMU {found}; needed: {MINIMUM} or newer")]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: Version,
    },
}

impl Qemu {
    /// Finds QEMU in `PATH`.
    ///
    /// # Errors
    /// When it is missing, does not answer or is older than [`MINIMUM`].
    pub fn find() -> Result<Qemu, QemuError> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders)
            .map(|folder| folder.join(PROGRAM))
            .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
            .ok_or(QemuError::Missing)
            .and_then(|path| Qemu::at(&path))
    }

    /// Takes the QEMU at `path`.
    ///
    /// # Errors
    /// When it does not answer or is older than [`MINIMUM`].
    pub fn at(path: &Path) -> Result<Qemu, QemuError> {
        let unusable = |why: String| QemuError::Unusable { path: path.into(), why };
        let path = fs::canonicalize(path).map_err(|error| unusable(error.to_string()))?;
        let file = fs::metadata(&path).map_err(|error| unusable(error.to_string()))?;
        let banner = version_banner(&path).map_err(|error| unusable(error.to_string()))?;
        let version = parse_version(&banner)
            .ok_or_else(|| unusable(format!("it printed {:?}", banner.trim())))?;
        if version < MINIMUM {
            return Err(QemuError::TooOld { path, found: version });
        }
        // A rebuilt or upgraded QEMU has another size or time, at the latest another banner.
        let identity = format!(
            "{} {} {}.{:09} {}",
            path.display(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            banner.lines().next().unwrap_or_default()
        );
        Ok(Qemu { path, version, identity })
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Text that changes whenever the program does; keys what depends on the build.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

fn version_banner(path: &Path) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let messages = Capture::new("refan-version", 1 << 16)?;
    let mut process = Process::start(path, &["--version".into()], &[], &messages)?;
    match process.wait_until(Instant::now() + PATIENCE)? {
        Some(status) if status.success() => Ok(messages.tail(20)),
        Some(status) => Err(io::Error::other(format!("{status}: {}", messages.tail(5)))),
        None => Err(io::Error::other(format!("no answer within {PATIENCE:?}"))),
    }
}

/// Reads "QEMU emulator version 7.2.22 (Debian ...)".
fn parse_version(banner: &str) -> Option<Version> {
    let (_, after) = banner.split_once("QEMU emulator version ")?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some(Version { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";
        assert_eq!(parse_version(debian), Some(Version { major: 7, minor: 2 }));
        let bare = "QEMU emulator version 10.0.0\n";
        assert_eq!(parse_version(bare), Some(Version { major: 10, minor: 0 }));
        assert_eq!(parse_version("QEMU emulator version x"), None);
        assert_eq!(parse_version("hello"), None);
        assert!(Version { major: 10, minor: 0 } > MINIMUM);
        assert!(Version { major: 7, minor: 1 } < MINIMUM);
    }
}

//! The initial file system: a manifest, written as a cpio archive.
//!
//! The archive has the "newc" format of the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst. The same manifest and files give
//! the same bytes: no time, owner or inode number of the host enters. It is not compressed; the
//! boot loader's copy is quicker than the kernel's unpacking.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What an initial file system consists of, in the order in which it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its entries; each folder stands before what it holds.
    #[serde(rename = "entry")]
    pub entries: Vec<Entry>,
}

/// One file, folder, link or device. Paths have no leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is", deny_unknown_fields)]
pub enum Entry {
    /// A regular file.
    File {
        /// Where it is.
        path: String,
        /// Its permissions.
        mode: Mode,
        /// The name under which the builder is given its content.
        content: String,
    },
    /// A folder.
    Folder {
        /// Where it is.
        path: String,
        /// Its permissions.
        mode: Mode,
    },
    /// A symbolic link.
    Link {
        /// Where it is.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A character device.
    Device {
        /// Where it is.
        path: String,
        /// Its permissions.
        mode: Mode,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

impl Entry {
    /// Where it is.
    pub fn path(&self) -> &str {
        match self {
            Entry::File { path, .. }
            | Entry::Folder { path, .. }
            | Entry::Link { path, .. }
            | Entry::Device { path, .. } => path,
        }
    }
}

/// Permission bits, written as octal digits ("0755").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mode(u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(digits: String) -> Result<Mode, String> {
        match u32::from_str_radix(&digits, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Mode(mode)),
            _ => Err(format!("`{digits}` is no mode: octal digits up to 7777 are")),
        }
    }
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// The manifest cannot be read.
    #[error("cannot read initramfs manifest {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The manifest cannot be understood.
    #[error("{path} is not an initramfs manifest: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: toml::de::Error,
    },
    /// A path is absolute, or has empty parts or dots.
    #[error("initramfs path `{0}` is not plain: no leading slash, no empty, `.` or `..` part")]
    Path(String),
    /// A path is there twice.
    #[error("initramfs path `{0}` is there twice")]
    Twice(String),
    /// The folder that an entry is in does not stand before it.
    #[error("initramfs path `{0}` has no folder before it")]
    NoFolder(String),
    /// The manifest names content that the builder was not given.
    #[error("initramfs file `{path}` has unknown content `{content}`")]
    NoContent {
        /// The file.
        path: String,
        /// The name that is unknown.
        content: String,
    },
    /// A file is longer than the format can say.
    #[error("initramfs file `{0}` is longer than 4 GiB")]
    TooLong(String),
}

impl Manifest {
    /// Reads a manifest from a file.
    ///
    /// # Errors
    /// When the file cannot be read or is no manifest.
    pub fn load(path: &Path) -> Result<Manifest, InitramfsError> {
        let text = fs::read_to_string(path)
            .map_err(|source| InitramfsError::Read { path: path.into(), source })?;
        toml::from_str(&text).map_err(|source| InitramfsError::Parse { path: path.into(), source })
    }

    /// Writes the archive; `contents` has the regular files' content by the manifest's names.
    ///
    /// # Errors
    /// When the entries make no file system, or a content is missing.
    pub fn archive(&self, contents: &BTreeMap<&str, &[u8]>) -> Result<Vec<u8>, InitramfsError> {
        let mut archive = Vec::new();
        let mut folders = BTreeSet::from([""]);
        let mut seen = BTreeSet::new();
        for (entry, inode) in self.entries.iter().zip(1..) {
            let path = entry.path();
            if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(InitramfsError::Path(path.into()));
            }
            if !seen.insert(path) {
                return Err(InitramfsError::Twice(path.into()));
            }
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            if !folders.contains(parent) {
                return Err(InitramfsError::NoFolder(path.into()));
            }
            // File types as in inode(7).
            let (mode, links, node, data): (u32, u32, (u32, u32), &[u8]) = match entry {
                Entry::File { mode, content, .. } => {
                    let data = contents.get(content.as_str());
                    let data = data.ok_or_else(|| InitramfsError::NoContent {
                        path: path.into(),
                        content: content.clone(),
                    })?;
                    (0o100_000 | mode.0, 1, (0, 0), data)
                }
                Entry::Folder { mode, .. } => {
                    folders.insert(path);
                    (0o040_000 | mode.0, 2, (0, 0), &[])
                }
                Entry::Link { target, .. } => (0o120_777, 1, (0, 0), target.as_bytes()),
                Entry::Device { mode, major, minor, .. } => {
                    (0o020_000 | mode.0, 1, (*major, *minor), &[])
                }
            };
            let length =
                u32::try_from(data.len()).map_err(|_| InitramfsError::TooLong(path.into()))?;
            let header = [inode, mode, 0, 0, links, 0, length, 0, 0, node.0, node.1];
            put(&mut archive, header, path, data);
        }
        put(&mut archive, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], "TRAILER!!!", &[]);
        Ok(archive)
    }
}

/// Appends one member: inode, mode, uid, gid, links, mtime, length, device, device of a node.
fn put(archive: &mut Vec<u8>, header: [u32; 11], path: &str, data: &[u8]) {
    archive.extend_from_slice(b"070701");
    let name_length = path.len() as u32 + 1;
    for field in header.into_iter().chain([name_length, 0]) {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(path.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(data);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Manifest {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vm-images");
        Manifest::load(&folder.join("initramfs.toml")).unwrap()
    }

    fn parse(text: &str) -> Manifest {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let manifest =
            parse("[[entry]]\nis = 'file'\npath = 'init'\nmode = '0755'\ncontent = 'agent'");
        let archive = manifest.archive(&BTreeMap::from([("agent", b"hello".as_slice())])).unwrap();
        let expected = [
            "070701",
            "00000001",
            "000081ed",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000000",
            "init\0\0",
            "hello\0\0\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000b",
            "00000000",
            "TRAILER!!!\0\0\0\0",
        ];
        assert_eq!(String::from_utf8(archive).unwrap(), expected.concat());
    }

    #[test]
    fn the_shipped_manifest_gives_the_same_bytes_twice() {
        let contents = BTreeMap::from([("agent", [7; 1000].as_slice())]);
        let archive = shipped().archive(&contents).unwrap();
        assert_eq!(archive, shipped().archive(&contents).unwrap());
        assert!(archive.len().is_multiple_of(4));
    }

    #[test]
    fn a_broken_manifest_names_the_entry() {
        let error = |text: &str| parse(text).archive(&BTreeMap::new()).unwrap_err().to_string();
        let folder =
            |path: &str| format!("[[entry]]\nis = 'folder'\npath = '{path}'\nmode = '755'\n");
        assert!(error(&folder("/dev")).contains("`/dev`"));
        assert!(error(&folder("a/../b")).contains("`a/../b`"));
        assert!(error(&folder("a/b")).contains("no folder"));
        assert!(error(&(folder("a") + &folder("a"))).contains("twice"));
        let file = "[[entry]]\nis = 'file'\npath = 'init'\nmode = '755'\ncontent = 'x'";
        assert!(error(file).contains("`x`"));
        let bad = file.replace("755", "7x5");
        assert!(toml::from_str::<Manifest>(&bad).unwrap_err().to_string().contains("7x5"));
    }
}

//! A copy of the user's kernel tree that follows it: only what changed is read again.

use super::error::{Error, Result};
use super::progress::Progress;
use super::scope::left_out;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{WalkBuilder, WalkState};
use refan_runner::cache::Key;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the copy holds, and how the originals looked when they were copied.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Mirror {
    files: BTreeMap<PathBuf, File>,
    /// The key of their content.
    content: Option<String>,
}

/// What following the user's tree showed.
#[derive(Debug)]
pub struct Followed {
    /// The key of the tree's content.
    pub content: Key,
    /// Whether the record is another one than before.
    pub changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    stamp: Stamp,
    hash: [u8; 32],
}

/// What `stat` says of a file; as long as it says the same, the content is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    mode: u32,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Not to be trusted next time: the file had changed so shortly before that another change could have left the
    /// same times.
    fresh: bool,
}

/// The clock of a file system ticks at least this often.
const TICK: Duration = Duration::from_secs(2);

impl Mirror {
    /// Brings the folder `copy` up to date with the tree `original`.
    ///
    /// Build products are left out, by the tree's own `.gitignore` files, so that a tree that was built in place will
    /// do. The original is only read.
    pub fn update(
        &mut self,
        original: &Path,
        copy: &Path,
        progress: &dyn Progress,
    ) -> Result<Followed> {
        let found = walk(original)?;
        // What is gone goes first: a folder may have come in the place of a file.
        let here: BTreeSet<&Path> = found.iter().map(|(path, _)| path.as_path()).collect();
        for gone in self.files.keys().filter(|path| !here.contains(path.as_path())) {
            let path = copy.join(gone);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path, error));
                }
                _ => {}
            }
        }
        let mut files = BTreeMap::new();
        let mut copied = 0_usize;
        let before = self.files.len();
        for (path, stamp) in found {
            let known = self.files.get(&path).filter(|file| file.stamp == stamp && !stamp.fresh);
            let file = match known {
                Some(file) => file.clone(),
                None => {
                    // It vanished meanwhile; the next look at the tree will miss it.
                    let Some(hash) = follow(original, copy, &path, &stamp)? else { continue };
                    copied += 1;
                    if copied.is_multiple_of(1000) {
                        progress.at(&format!("{copied} files"));
                    }
                    File { stamp, hash }
                }
            };
            files.insert(path, file);
        }
        let kept = files.len() - copied;
        self.files = files;
        let known = self.content.as_deref().and_then(Key::from_hex);
        if let Some(content) = known.filter(|_| copied == 0 && kept == before) {
            return Ok(Followed { content, changed: false });
        }
        let content = self.content();
        self.content = Some(content.as_str().to_owned());
        Ok(Followed { content, changed: true })
    }

    /// The key of all paths, modes and contents.
    fn content(&self) -> Key {
        let mut hash = Sha256::new();
        for (path, file) in &self.files {
            let path = path.as_os_str().as_bytes();
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update((file.stamp.mode & (0o100 | FILE_TYPE)).to_le_bytes());
            hash.update(file.hash);
        }
        Key::of([("tree", hash.finalize().as_slice())])
    }
}

/// The bits of a mode that say what kind of file it is, and the kinds that a tree is made of.
const FILE_TYPE: u32 = 0o170_000;
const SYMLINK: u32 = 0o120_000;
const REGULAR: u32 = 0o100_000;

/// Makes the copy of one file equal to the original and returns the hash of its content, `None` when the file has
/// vanished. A copy that is equal already keeps its times, so that nothing is compiled again for it.
fn follow(original: &Path, copy: &Path, path: &Path, stamp: &Stamp) -> Result<Option<[u8; 32]>> {
    let (from, to) = (original.join(path), copy.join(path));
    let missing = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
    if stamp.mode & FILE_TYPE == SYMLINK {
        let target = match fs::read_link(&from) {
            Err(error) if missing(&error) => return Ok(None),
            other => other.map_err(|e| Error::io("read the link", &from, e))?,
        };
        if fs::read_link(&to).ok().as_ref() != Some(&target) {
            clear(&to)?;
            std::os::unix::fs::symlink(&target, &to).map_err(|e| Error::io("link", &to, e))?;
        }
        return Ok(Some(Sha256::digest(target.as_os_str().as_bytes()).into()));
    }
    let bytes = match fs::read(&from) {
        Err(error) if missing(&error) => return Ok(None),
        other => other.map_err(|e| Error::io("read", &from, e))?,
    };
    replace(&to, &bytes, stamp.mode)?;
    Ok(Some(Sha256::digest(&bytes).into()))
}

/// Gives the file this content and the executable bits of this mode, by a new file: the old one may have another name
/// elsewhere. One that is equal already is left alone.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let executable = |mode: u32| mode & 0o100 != 0;
    let same_mode = fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_file() && executable(meta.mode()) == executable(mode));
    if same_mode && fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    clear(path)?;
    fs::write(path, bytes).map_err(|e| Error::io("write", path, e))?;
    if executable(mode) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .map_err(|e| Error::io("set the mode of", path, e))?;
    }
    Ok(())
}

/// Makes room for a new file: removes what has the name, and makes its folder.
fn clear(path: &Path) -> Result<()> {
    if let Ok(meta) = fs::symlink_metadata(path) {
        let removed = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.map_err(|e| Error::io("remove", path, e))?;
    }
    let parent = path.parent().unwrap_or(path);
    match fs::create_dir_all(parent) {
        // A file stands where the tree now has a folder.
        Err(_) if parent.is_file() => {
            fs::remove_file(parent).and_then(|()| fs::create_dir_all(parent))
        }
        other => other,
    }
    .map_err(|e| Error::io("create", parent, e))
}

/// All files of the tree that a build reads, with their stamps, in order.
fn walk(original: &Path) -> Result<Vec<(PathBuf, Stamp)>> {
    let trusted_until = SystemTime::now()
        .checked_sub(TICK)
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    let root = original.to_owned();
    let products = products(original)?;
    // The tree's own folder is not walked: its .gitignore is read by `products`.
    let mut tops = fs::read_dir(original)
        .and_then(|list| {
            list.map(|item| item.map(|item| item.path())).collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(|e| Error::io("read", original, e))?;
    tops.retain(|path| wanted(path, path.is_dir(), &root, &products));
    let Some((first, rest)) = tops.split_first() else { return Ok(Vec::new()) };
    let mut builder = WalkBuilder::new(first);
    rest.iter().for_each(|path| {
        builder.add(path);
    });
    let walker = builder
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .filter_entry(move |entry| {
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            wanted(entry.path(), is_dir, &root, &products)
        })
        .build_parallel();
    let (send, results) = channel();
    walker.run(|| {
        let send = send.clone();
        Box::new(move |entry| {
            let done = match entry {
                Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_dir()) => Ok(()),
                Ok(entry) => match fs::symlink_metadata(entry.path()) {
                    Ok(meta) => send.send(Ok((entry.into_path(), meta))),
                    // It vanished meanwhile: the tree is being edited.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    Err(error) => send.send(Err(Error::io("stat", entry.path(), error))),
                },
                Err(error) => {
                    send.send(Err(Error::NoKernel(format!("cannot read the kernel tree: {error}"))))
                }
            };
            if done.is_ok() { WalkState::Continue } else { WalkState::Quit }
        })
    });
    drop(send);
    let mut found = Vec::new();
    for result in results {
        let (path, meta) = result?;
        if !matches!(meta.mode() & FILE_TYPE, REGULAR | SYMLINK) {
            continue;
        }
        let path = path.strip_prefix(original).unwrap_or(&path).to_owned();
        found.push((path, stamp(&meta, trusted_until)));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn stamp(meta: &fs::Metadata, trusted_until: i64) -> Stamp {
    Stamp {
        size: meta.size(),
        mode: meta.mode(),
        inode: meta.ino(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
        fresh: meta.ctime() > trusted_until,
    }
}

/// Whether the file, or what is in the folder, belongs into the copy.
fn wanted(path: &Path, is_dir: bool, root: &Path, products: &Gitignore) -> bool {
    let inside = path.strip_prefix(root).unwrap_or(path);
    !inside.starts_with(".git") && !left_out(inside) && !products.matched(path, is_dir).is_ignore()
}

/// What the `.gitignore` at the top of the tree says are build products. Debian adds a rule there that ignores
/// everything; it is no statement on products.
fn products(original: &Path) -> Result<Gitignore> {
    let path = original.join(".gitignore");
    let mut builder = GitignoreBuilder::new(original);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|e| Error::io("read", &path, e))?,
    };
    for line in text.lines().filter(|line| !matches!(line.trim(), "/*" | "*")) {
        builder
            .add_line(None, line)
            .map_err(|e| Error::NoKernel(format!("{} is malformed: {e}", path.display())))?;
    }
    builder.build().map_err(|e| Error::NoKernel(format!("{} is malformed: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::progress::Silent;

    struct Bench {
        _dir: tempfile::TempDir,
        original: PathBuf,
        copy: PathBuf,
        mirror: Mirror,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (original, copy) = (dir.path().join("original"), dir.path().join("copy"));
            fs::create_dir(&copy).unwrap();
            let bench = Self { original, copy, mirror: Mirror::default(), _dir: dir };
            for (path, text) in [
                (
                    ".gitignore",
                    "*.o\n.*\n!.gitignore\n/vmlinux\n/include/generated/\n/*\n!/debian/\n",
                ),
                ("Makefile", "VERSION = 9\n"),
                ("fs/a.c", "int a;\n"),
                ("fs/b.c", "int b;\n"),
                ("arch/Kconfig", "x"),
                ("arch/x86/Kconfig", "x"),
            ] {
                bench.write(path, text);
            }
            bench
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.original.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn update(&mut self) -> Key {
            self.mirror.update(&self.original, &self.copy, &Silent).unwrap().content
        }

        fn copied(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.copy.join(path)).ok()
        }
    }

    #[test]
    fn build_products_and_other_architectures_stay_out() {
        let mut bench = Bench::new();
        let before = bench.update();
        for product in
            ["fs/a.o", ".config", "vmlinux", "include/generated/x.h", "fs/.a.o.cmd", ".git/index"]
        {
            bench.write(product, "product");
        }
        for other in ["arch/sh/Makefile", "Documentation/a/b.rst", "tools/testing/selftests/a/x.c"]
        {
            bench.write(other, "other");
        }
        assert_eq!(bench.update(), before);
        assert_eq!(bench.copied("fs/a.c").unwrap(), "int a;\n");
        assert!(
            bench.copied("arch/Kconfig").is_some() && bench.copied("arch/x86/Kconfig").is_some()
        );
        for absent in ["fs/a.o", ".config", "vmlinux", "arch/sh/Makefile", ".git/index"] {
            assert!(bench.copied(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn changes_follow_and_the_rest_keeps_its_times() {
        let mut bench = Bench::new();
        let first = bench.update();
        let time =
            |bench: &Bench| fs::metadata(bench.copy.join("fs/b.c")).unwrap().modified().unwrap();
        let before = time(&bench);
        bench.write("fs/a.c", "int A;\n");
        bench.write("fs/new/c.c", "int c;\n");
        fs::remove_file(bench.original.join("Makefile")).unwrap();
        let second = bench.update();
        assert_ne!(first, second);
        assert_eq!(bench.copied("fs/a.c").unwrap(), "int A;\n");
        assert_eq!(bench.copied("fs/new/c.c").unwrap(), "int c;\n");
        assert!(bench.copied("Makefile").is_none());
        assert_eq!(time(&bench), before);

        bench.write("fs/a.c", "int a;\n");
        bench.write("Makefile", "VERSION = 9\n");
        fs::remove_dir_all(bench.original.join("fs/new")).unwrap();
        assert_eq!(bench.update(), first, "the same content has the same key");
    }

    #[test]
    fn links_modes_and_kinds_follow() {
        let mut bench = Bench::new();
        bench.write("scripts/run", "#!/bin/sh\n");
        let run = bench.original.join("scripts/run");
        std::os::unix::fs::symlink("a.c", bench.original.join("fs/link.c")).unwrap();
        let first = bench.update();
        assert_eq!(fs::read_link(bench.copy.join("fs/link.c")).unwrap(), Path::new("a.c"));
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(bench.update(), first);
        let mode = |bench: &Bench| fs::metadata(bench.copy.join("scripts/run")).unwrap().mode();
        assert_ne!(mode(&bench) & 0o100, 0);
        // A folder becomes a file and the other way round.
        fs::remove_dir_all(bench.original.join("scripts")).unwrap();
        bench.write("scripts", "a file\n");
        fs::remove_file(bench.original.join("fs/b.c")).unwrap();
        bench.write("fs/b.c/x.c", "int x;\n");
        bench.update();
        assert_eq!(bench.copied("scripts").unwrap(), "a file\n");
        assert_eq!(bench.copied("fs/b.c/x.c").unwrap(), "int x;\n");
    }

    #[test]
    fn a_copy_never_writes_through_a_hard_link() {
        let mut bench = Bench::new();
        bench.update();
        let other = bench.copy.with_extension("other");
        fs::hard_link(bench.copy.join("fs/a.c"), &other).unwrap();
        bench.write("fs/a.c", "changed\n");
        bench.update();
        assert_eq!(fs::read_to_string(other).unwrap(), "int a;\n");
    }
}

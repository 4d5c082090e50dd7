//! From a changed line in a kernel tree to the verdict on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use refan_runner::cache::Cache;
use xtask::kernel::Progress as _;
use xtask::kernel::source;

use super::command::test;
use super::figure::Figure;
use crate::steps::Steps;
use crate::{agent, prepare};

/// The base whose source is edited.
const BASE: &str = "7.3";

/// The file that is edited.
const FILE: &str = "fs/notify/fanotify/fanotify_user.c";

/// How often.
const EDITS: usize = 3;

/// A line is changed, and the suites are run on the tree: the command beside what the compiler takes.
pub fn edit(repository: &Path) -> Result<Figure> {
    let steps = Steps::new();
    steps.phase("copy a kernel tree");
    let tree = tree(repository, &steps)?;
    let file = tree.join(FILE);
    let original = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let folder = tree.to_str().context("the checkout's path is no text")?;
    let options = ["--kernel-src", folder, "--series", "restartable"];
    steps.phase("build the kernel tree");
    test(repository, &options, None)?;
    steps.phase("edit the kernel tree");
    let (mut times, mut builds) = (Vec::new(), Vec::new());
    for _ in 0..EDITS {
        // One that no run before has built.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is off")?;
        let line =
            format!("static const unsigned long bench_edit __used = {}UL;\n", now.as_nanos());
        put(&file, &format!("{original}{line}"))?;
        let ran = test(repository, &options, None);
        put(&file, &original)?;
        let ran = ran?;
        times.push(ran.time);
        builds.push(ran.build.context("the changed tree was not built")?);
    }
    steps.done();
    Ok(Figure::times("edit to verdict", &times, "the kernel's build", &builds))
}

/// A copy of the base's source that stays, so that only the first time all of it is built. Its files are those
/// of the cache by further names, where that can be: none is written into, only replaced.
fn tree(repository: &Path, steps: &Steps) -> Result<PathBuf> {
    let tree = agent::target_folder(repository).join("refan/bench/linux");
    if tree.exists() {
        return Ok(tree);
    }
    let cache = Cache::open()?;
    let source = source::fetch(&prepare::configs(repository), BASE, false, &cache, steps)?;
    let parent = tree.parent().context("a folder without one above it")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let aside = tempfile::tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let copy = aside.path().join("linux");
    let linked = |link: &[&str]| {
        let mut command = Command::new("cp");
        command.arg("--archive").args(link).arg(source.tree()).arg(&copy);
        command.stderr(std::process::Stdio::null()).status().context("cannot run cp")
    };
    if !linked(&["--link"])?.success() {
        // The cache is on another file system.
        let _ = std::fs::remove_dir_all(&copy);
        ensure!(linked(&[])?.success(), "cannot copy {}", source.tree().display());
    }
    std::fs::rename(&copy, &tree).with_context(|| format!("cannot make {}", tree.display()))?;
    Ok(tree)
}

/// Replaces a file.
fn put(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    let doing = || format!("cannot write {}", file.display());
    std::fs::write(&new, text).with_context(doing)?;
    std::fs::rename(&new, file).with_context(doing)
}

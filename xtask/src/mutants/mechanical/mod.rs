//! Mechanical mutants: what rules make of every line that the series adds, none picked by hand.
//!
//! The changes lie in one generated patch, each behind its position of the switch, so that one kernel has
//! them all and is built like any other. What is no statement of a function (tables of operations, types,
//! constants that the compiler needs) cannot be switched and is left to the mutants made by hand.

mod candidates;
mod compile;
mod operators;
mod sites;
mod table;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use refan_runner::cache::Cache;
use xtask::kernel::configs::Patch;
use xtask::kernel::{self, Configs, Progress};

use crate::exit::Exit;
use crate::prepare;
use crate::steps::Steps;
use candidates::{Candidate, Changeable, Switched};
use table::{Row, Table, folder};

pub use table::all;

/// The series of the kernel that has them all, and its generated patch.
pub const SERIES: &str = "mechanical";
const PATCH: &str = "0002-mechanical-mutants.patch";

/// The series whose lines they are changes of.
const OF: &str = "restartable";

/// The first one's position of the switch, behind those of the mutants made by hand.
pub const FIRST: u32 = 1001;

/// The base that the series is taken on.
const BASE: &str = "7.3";

/// The patch's head; its date is that of no day, since it is made again and again.
const HEAD: &str = "\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Refan developers <refan@example.org>
Date: Sun, 22 Nov 2026 16:00:00 +0000
Subject: [PATCH] fsnotify: add mechanical mutants

Generated: each line that the series adds, changed in every way that a rule
has for it, behind the switch fs.fanotify.mutant.

Not for inclusion anywhere.

Signed-off-by: Refan developers <refan@example.org>
---
";

/// The files that the series changes, with the switch and without mutants.
struct Ground {
    patches: Vec<Patch>,
    files: BTreeMap<PathBuf, Changeable>,
    offline: bool,
    cache: Cache,
    configs: Configs,
}

impl Ground {
    fn open(repository: &Path, offline: bool, steps: &Steps) -> Result<Self> {
        let cache = Cache::open()?;
        let configs = prepare::configs(repository);
        let mut patches = configs.series(SERIES)?.patches;
        patches.retain(|patch| patch.name() != PATCH);
        let on = |patches| kernel::patched(BASE, patches, &configs, offline, &cache, steps);
        let (bare, switched) = (on(configs.series(OF)?.patches)?, on(patches.clone())?);
        let mut files = BTreeMap::new();
        for path in bare.changed() {
            if path.extension().is_none_or(|extension| extension != "c") {
                continue;
            }
            let file = switched.file(path);
            let source = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            // What the switch itself adds is not the series'.
            let mut own = added(&switched.pristine(path), &file)?;
            for line in added(&bare.file(path), &file)? {
                own.remove(&line);
            }
            files.insert(path.clone(), Changeable::new(source, &own));
        }
        Ok(Self { patches, files, offline, cache, configs })
    }

    /// Every candidate with its file, in a fixed order.
    fn candidates(&self) -> impl Iterator<Item = (&PathBuf, &Candidate)> {
        self.files.iter().flat_map(|(path, file)| file.candidates.iter().map(move |it| (path, it)))
    }

    /// The table with those that are named set apart as what the compiler does not take.
    fn table(&self, refused: &BTreeSet<String>) -> Table {
        let mut table =
            Table { base: BASE.to_owned(), mutants: Vec::new(), uncompilable: Vec::new() };
        for (path, candidate) in self.candidates() {
            let Candidate { name, line, before, after, .. } = candidate.clone();
            let file = path.display().to_string();
            let row = |switch| Row { name, switch, file, line, before, after };
            if refused.contains(&candidate.name) {
                table.uncompilable.push(row(None));
            } else {
                let next = table.mutants.len() as u32;
                table.mutants.push(row(Some(FIRST + next)));
            }
        }
        table
    }

    /// The files with the mutants of a table.
    fn switched<'a>(&'a self, table: &Table) -> BTreeMap<&'a Path, Switched> {
        let switches: BTreeMap<&str, u32> =
            table.mutants.iter().filter_map(|row| Some((row.name.as_str(), row.switch?))).collect();
        let of_file = |(path, file): (&'a PathBuf, &'a Changeable)| {
            let chosen: Vec<(u32, &Candidate)> = file
                .candidates
                .iter()
                .filter_map(|it| Some((*switches.get(it.name.as_str())?, it)))
                .collect();
            (path.as_path(), file.switched(&chosen))
        };
        self.files.iter().map(of_file).collect()
    }
}

/// Makes sure that the patch and the table are what the rules make of the series.
pub fn check(repository: &Path, offline: bool, steps: &Steps) -> Result<()> {
    steps.phase("generate the mechanical mutants");
    let ground = Ground::open(repository, offline, steps)?;
    let table = Table::load(repository)?;
    let refused = table.uncompilable.iter().map(|row| row.name.clone()).collect();
    let file = folder(repository).join(PATCH);
    let written =
        std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        ground.table(&refused) == table && patch(&ground, &table)? == written,
        "the mechanical mutants are not what the rules make of the series {OF}: \
         run `cargo xtask mutants --mechanical --generate`"
    );
    Ok(())
}

/// Makes patch and table anew: those that the compiler does not take are set apart.
pub fn generate(repository: &Path, offline: bool) -> Result<Exit> {
    let steps = Steps::new();
    steps.phase("generate the mechanical mutants");
    let ground = Ground::open(repository, offline, &steps)?;
    let mut refused = BTreeSet::new();
    loop {
        let table = ground.table(&refused);
        let text = patch(&ground, &table)?;
        let more = compile::refused(&ground, &table, &text, &steps)?;
        if more.is_empty() {
            let file = folder(repository).join(PATCH);
            std::fs::write(&file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
            table.store(repository)?;
            steps.done();
            say!(
                "  {} mutants, and {} that the compiler does not take",
                table.mutants.len(),
                table.uncompilable.len()
            );
            return Ok(Exit::Held);
        }
        refused.extend(more);
    }
}

/// The patch that puts the mutants of a table on the files.
fn patch(ground: &Ground, table: &Table) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    for (path, switched) in ground.switched(table) {
        let before = &ground.files[path];
        for (side, text) in [("a", before.source()), ("b", &switched.text)] {
            let file = folder.path().join(side).join(path);
            let parent = file.parent().context("a file without a folder")?;
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&file, text))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    let output = diff(&["--no-prefix", "--full-index"], Path::new("a"), Path::new("b"))
        .current_dir(folder.path())
        .output()
        .context("cannot run git")?;
    ensure!(
        output.status.code() == Some(1),
        "git has no difference to tell: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok([HEAD.as_bytes(), &output.stdout].concat())
}

/// The lines that a file has and an older one has not, counted from 1.
fn added(old: &Path, new: &Path) -> Result<BTreeSet<usize>> {
    let old = if old.exists() { old } else { Path::new("/dev/null") };
    let output = diff(&["--unified=0"], old, new).output().context("cannot run git")?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("git diff fails: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(added_lines(&String::from_utf8_lossy(&output.stdout)))
}

/// The lines that a difference without context adds.
fn added_lines(diff: &str) -> BTreeSet<usize> {
    let range = |line: &str| {
        // "@@ -10,2 +12,3 @@"; without a length it is one line.
        let new = line.strip_prefix("@@ -")?.split(" +").nth(1)?.split(' ').next()?;
        let (first, count) = new.split_once(',').unwrap_or((new, "1"));
        let first: usize = first.parse().ok()?;
        Some(first..first + count.parse::<usize>().ok()?)
    };
    diff.lines().filter_map(range).flatten().collect()
}

/// `git diff` of two files or folders, whatever the user has set for it.
fn diff(options: &[&str], old: &Path, new: &Path) -> Command {
    let mut command = Command::new("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"] {
        command.env_remove(name);
    }
    command
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("LC_ALL", "C")])
        .args(["diff", "--no-index", "--no-color", "--no-ext-diff"])
        .args(options)
        .args([old, new]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_lines_are_those_of_the_new_file() {
        let diff = "--- a\n+++ b\n@@ -1 +1,2 @@ x\n-a\n+b\n+c\n@@ -9,2 +10,0 @@\n-d\n-e\n@@ -20,0 +20 @@\n+f\n";
        assert_eq!(added_lines(diff), BTreeSet::from([1, 2, 20]));
    }
}

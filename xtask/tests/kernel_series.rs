//! Series on trees, up to the point where a compiler would be needed.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers fail")]

use refan_runner::cache::Cache;
use std::fs;
use std::path::Path;
use xtask::kernel::{Configs, Error, KernelRequest, Silent, Source, ensure_kernel};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A `kernel-configs/` with one target, and a folder that passes for a kernel tree.
fn bench() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    write(
        &at("configs/targets/t.toml"),
        "summary = \"t\"\nfragments = [\"f\"]\nmachine = \"m\"\nkvm_machine = \"m\"\napi = \"a\"\n",
    );
    write(&at("configs/fragments/f.config"), "CONFIG_X=y\n");
    write(&at("tree/Makefile"), "VERSION = 9\nPATCHLEVEL = 9\nSUBLEVEL = 1\nEXTRAVERSION = -rc1\n");
    write(&at("tree/Kbuild"), "");
    write(&at("tree/Kconfig"), "");
    let lines: String = (1..=40).map(|line| format!("line {line}\n")).collect();
    write(&at("tree/fs/notify/fanotify/fanotify_user.c"), &lines);
    dir
}

fn series(dir: &Path, name: &str, on: &str, patch: &str) {
    let folder = dir.join("configs/series").join(name);
    write(
        &folder.join("series.toml"),
        &format!("summary = \"s\"\non = \"{on}\"\npatches = [\"0001-x.patch\"]\n"),
    );
    write(&folder.join("0001-x.patch"), patch);
}

fn build(dir: &Path, series: &str) -> Error {
    let request = KernelRequest {
        source: Source::Tree(dir.join("tree")),
        series: series.to_owned(),
        target: "t".to_owned(),
        terminals: false,
        offline: true,
    };
    let cache = Cache::at(dir.join("cache"), 1 << 30).unwrap();
    ensure_kernel(&request, &Configs::at(dir.join("configs")), &cache, &Silent).unwrap_err()
}

const HEADER: &str = "From 0 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\n---\n\
    --- a/fs/notify/fanotify/fanotify_user.c\n+++ b/fs/notify/fanotify/fanotify_user.c\n";

#[test]
fn a_hunk_that_does_not_apply_is_reported_with_file_hunk_and_version() {
    let dir = bench();
    let good = "@@ -1,3 +1,3 @@\n-line 1\n+LINE 1\n line 2\n line 3\n";
    let bad = "@@ -20,3 +20,3 @@ int here(void)\n line 20\n-no such line\n+x\n line 22\n";
    series(dir.path(), "s", "none", &format!("{HEADER}{good}{bad}-- \n2.39.5\n"));
    let error = build(dir.path(), "s");
    let text = error.to_string();
    for part in [
        "0001-x.patch does not apply to Linux 9.9.1-rc1",
        "fs/notify/fanotify/fanotify_user.c: hunk 2 of 2: @@ -20,3 +20,3 @@ int here(void)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!error.is_usage_or_host());
}

#[test]
fn a_series_stands_on_another_and_not_on_itself() {
    let dir = bench();
    series(
        dir.path(),
        "low",
        "none",
        &format!("{HEADER}@@ -1,2 +1,2 @@\n-line 1\n+LOW\n line 2\n"),
    );
    series(dir.path(), "high", "low", &format!("{HEADER}@@ -1,2 +1,2 @@\n-LOW\n+HIGH\n line 2\n"));
    let names: Vec<usize> = ["none", "low", "high"]
        .iter()
        .map(|name| Configs::at(dir.path().join("configs")).series(name).unwrap().patches.len())
        .collect();
    assert_eq!(names, [0, 1, 2]);
    // Both apply: it fails later, where the tree is no real one.
    assert!(!build(dir.path(), "high").to_string().contains("does not apply"));
    series(dir.path(), "loop", "loop", "");
    let error = build(dir.path(), "loop");
    assert!(error.to_string().contains("stands on itself") && error.is_usage_or_host(), "{error}");
}

#[test]
fn names_and_trees_that_do_not_exist_are_usage_errors() {
    let dir = bench();
    let error = build(dir.path(), "nosuch");
    assert!(error.to_string().contains("no series nosuch; known are: none"), "{error}");
    assert!(error.is_usage_or_host());
    fs::remove_file(dir.path().join("tree/fs/notify/fanotify/fanotify_user.c")).unwrap();
    let error = build(dir.path(), "none");
    assert!(error.to_string().contains("is no kernel source tree: it has no fs/notify"), "{error}");
    fs::remove_dir_all(dir.path().join("tree")).unwrap();
    let error = build(dir.path(), "none");
    assert!(
        error.to_string().contains("is no kernel source tree") && error.is_usage_or_host(),
        "{error}"
    );
}

#[test]
fn what_a_patch_does_to_documentation_is_passed_over() {
    let dir = bench();
    let documentation = "--- a/Documentation/admin-guide/x.rst\n+++ b/Documentation/admin-guide/x.rst\n\
                         @@ -1,2 +1,2 @@\n-no such line\n+x\n y\n";
    let code = format!("{HEADER}@@ -1,2 +1,2 @@\n-line 1\n+LINE 1\n line 2\n");
    series(dir.path(), "s", "none", &format!("{code}{documentation}"));
    let error = build(dir.path(), "s").to_string();
    assert!(!error.contains("does not apply"), "{error}");
}

#[test]
fn the_users_tree_is_not_touched() {
    let dir = bench();
    let file = dir.path().join("tree/fs/notify/fanotify/fanotify_user.c");
    let before = fs::read(&file).unwrap();
    series(
        dir.path(),
        "s",
        "none",
        &format!("{HEADER}@@ -1,2 +1,2 @@\n-line 1\n+LINE 1\n line 2\n"),
    );
    build(dir.path(), "s");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path().join("tree")).unwrap().count(), 4);
}

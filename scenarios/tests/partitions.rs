//! Machines that run a part of the suites each run all of them together, and none twice.

use std::collections::BTreeSet;
use std::process::Command;

/// The scenarios that nextest would run.
fn listed(partition: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(scenarios::repository())
        .args(["nextest", "list", "--package", "scenarios", "--test", "scenarios"])
        .args(["--run-ignored", "all", "--message-format", "oneline"])
        .args(partition)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    let names: Vec<&str> = lines.lines().collect();
    let all: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(all.len(), names.len());
    all
}

#[test]
fn partitions_are_all_together() {
    let all = listed(&[]);
    assert!(all.len() > 200, "{all:?}");
    let mut left = all;
    for part in ["slice:1/3", "slice:2/3", "slice:3/3"] {
        let part = listed(&["--partition", part]);
        assert!(part.len() > 50 && part.is_subset(&left), "{part:?}");
        left.retain(|name| !part.contains(name));
    }
    assert!(left.is_empty(), "{left:?}");
}

//! What `deploy` starts on other machines is run here, with programs of that name that print what they are given.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use clap::Parser as _;

use crate::cli::{self, Cli};

/// Runs the Slurm script as a task of an array.
fn slurm(environment: &[(&str, &str)], task: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    for program in ["cargo", "apptainer"] {
        let file = folder.path().join(program);
        std::fs::write(&file, "#!/bin/sh\nprintf '%s\\n' \"${0##*/}\" \"$@\"\n").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/slurm.sh"));
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("bash")
        .arg(script)
        .args(["--target", "kcov"])
        .env_clear()
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("SLURM_JOB_ID", "77")
        .env("SLURM_ARRAY_TASK_ID", task)
        .envs(environment.iter().copied())
        .output()
        .expect("bash runs")
}

/// The campaign that it starts, behind what starts it.
fn campaign(output: &Output, starts: &[&str]) -> cli::Fuzz {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout.clone()).expect("text");
    let words: Vec<&str> = said.lines().collect();
    let words = words.strip_prefix(starts).unwrap_or_else(|| panic!("{words:?}"));
    match Cli::try_parse_from(["xtask"].iter().chain(words)).expect("a command").command {
        cli::Command::Fuzz(fuzz) => fuzz,
        command => panic!("{command:?}"),
    }
}

#[test]
fn each_task_of_an_array_is_a_campaign_of_its_own_over_one_corpus() {
    let store = [("STORE", "s3://bucket/refan"), ("TIME", "90s")];
    let [first, second] =
        ["0", "1"].map(|task| campaign(&slurm(&store, task), &["cargo", "xtask"]));
    assert_eq!(first.store.as_deref(), Some("s3://bucket/refan"));
    assert_eq!((first.store, first.time), (second.store, second.time));
    assert_eq!(first.machine.target, "kcov");
    assert!(first.seed != second.seed && first.corpus != second.corpus);
}

#[test]
fn a_campaign_can_run_in_an_image() {
    let output = slurm(&[("STORE", "/shared/it"), ("IMAGE", "refan.sif")], "3");
    let starts = ["apptainer", "run", "--writable-tmpfs", "--pwd", "/refan", "refan.sif"];
    assert!(campaign(&output, &starts).machine.offline);
}

#[test]
fn without_a_store_it_says_what_it_needs() {
    let output = slurm(&[], "0");
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("where is the shared corpus?"));
}

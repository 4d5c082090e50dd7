//! The targets as ClusterFuzzLite and other drivers of libFuzzer run them: a folder with the corpus, a prefix for what
//! is found, and the status that tells it from all else.

use std::path::Path;
use std::process::{Command, Output};

/// A program that every kernel and no model of another one runs.
const PLAIN: &str = "open(f0, O_RDONLY)\n";

fn driven(target: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(target);
    command.current_dir(folder).arg(format!("-artifact_prefix={}/out/", folder.display()));
    command.args(arguments);
    std::fs::create_dir_all(folder.join("out")).expect("made");
    std::fs::create_dir_all(folder.join("corpus")).expect("made");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files in which something was found.
fn found(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder.join("out")).expect("listed");
    files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

fn program(text: &str) -> Vec<u8> {
    refan_program::parse(text).expect("a program").encode()
}

#[test]
fn a_corpus_is_read_and_nothing_found_is_status_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = env!("CARGO_BIN_EXE_binary_form");
    let mut command = driven(target, folder.path(), &["-runs=20", "corpus"]);
    std::fs::write(folder.path().join("corpus/seed"), program(PLAIN)).expect("written");
    let output = command.output().expect("run");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("1 files found in corpus"), "{}", said(&output));
    assert_eq!(found(folder.path()), [""; 0]);
}

#[test]
fn without_a_machine_nothing_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = driven(env!("CARGO_BIN_EXE_program"), folder.path(), &["-runs=1", "corpus"]);
    let output = command.env("REFAN_PREPARED", "/nowhere").output().expect("run");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("error: cannot read /nowhere: "), "{}", said(&output));
    assert_eq!(found(folder.path()), [""; 0]);
}

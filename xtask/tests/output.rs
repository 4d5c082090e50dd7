//! What becomes of a command whose output nobody reads any more.

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_leaves_ends_the_command_in_silence() {
    let cache = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["kernel", "list"])
        .env("REFAN_CACHE", cache.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("the command");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_full_disk_under_the_output_is_told() {
    let cache = tempfile::tempdir().expect("a folder");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["kernel", "list"])
        .env("REFAN_CACHE", cache.path())
        .stdout(full)
        .output()
        .expect("the command");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("error: cannot write to standard output: "), "{told}");
    assert_eq!(output.status.code(), Some(3));
}

//! Commands of the documentation that are quick, run as they stand there on the kernel that was prepared.

use std::process::Command;

use scenarios::repository;

/// Runs a command that a page has, up to the first pipe; returns what it prints.
fn run(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let pages = xtask::docs::commands(&repository()).expect("the pages");
    let is_told = pages.iter().any(|it| it.words == words);
    assert!(is_told, "no page says `{command}` any more");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(repository())
        .args(&words[1..])
        .output()
        .expect("cargo starts");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}\n{told}\n{errors}", output.status);
    told
}

#[test]
fn suites_and_scenarios() {
    let told = run("cargo xtask test restart queue/dup2");
    assert!(told.contains(" held, 0 broken"), "{told}");
}

#[test]
fn reports_for_programs() {
    let told = run("cargo xtask test --json");
    assert!(told.lines().all(|line| line.starts_with('{')), "{told}");
    assert!(run("cargo xtask test --ktap").starts_with("KTAP version 1"));
}

#[test]
fn what_there_is() {
    assert!(run("cargo xtask kernel list").contains("restartable"));
    assert!(run("cargo xtask kernel config --target fast").contains("CONFIG_FANOTIFY=y"));
    run("cargo xtask doctor");
    assert!(run("cargo xtask rules").contains("R2"));
}

#[test]
fn the_command_line_tells_of_itself() {
    assert!(run("cargo xtask completions bash").contains("_xtask"));
    assert!(run("cargo xtask man target/man").contains("cargo-xtask.1"));
}

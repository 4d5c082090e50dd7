//! `completions` and `man`: the command line told to shells and to `man(1)`.

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output;

/// The word that completions are for: an alias of `cargo xtask`, since what follows `cargo` is
/// completed by cargo's own.
const ALIAS: &str = "xtask";

/// The name of the pages: as cargo's subcommands have them.
const PAGES: &str = "cargo-xtask";

/// Prints the completions of a shell.
pub fn completions(shell: Shell) -> Exit {
    output::bytes(&script(shell));
    Exit::Held
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = Cli::command().name(ALIAS).bin_name(ALIAS);
    clap_complete::generate(shell, &mut command, ALIAS, &mut script);
    script
}

/// Writes a page for each subcommand into a folder.
pub fn man(folder: &Path) -> Result<Exit> {
    let doing = || format!("cannot write the pages into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(doing)?;
    let command = Cli::command().name(PAGES).bin_name("cargo xtask");
    clap_mangen::generate_to(command, folder).with_context(doing)?;
    say!("man --local-file {}", folder.join(format!("{PAGES}.1")).display());
    Ok(Exit::Held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What bash offers for a line that ends in a word to be completed.
    fn offered(words: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("completions");
        std::fs::write(&file, script(Shell::Bash)).expect("written");
        let program = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
             _xtask xtask \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["--norc", "-c", program])
            .arg(&file)
            .args(words)
            .output()
            .expect("bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_subcommands_options_and_values() {
        assert_eq!(offered(&["xtask", "mini"]), ["minimize"]);
        assert_eq!(offered(&["xtask", "test", "--kernel-s"]), ["--kernel-src"]);
        assert_eq!(offered(&["xtask", "test", "--accel", "t"]), ["tcg"]);
        assert_eq!(offered(&["xtask", "ci", "n"]), ["nightly"]);
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        man(folder.path()).expect("pages");
        let page = |name: &str| {
            let file = folder.path().join(format!("{name}.1"));
            std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", file.display()))
        };
        for command in Cli::command().get_subcommands() {
            let page = page(&format!("{PAGES}-{}", command.get_name()));
            assert!(page.starts_with(".ie") && page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(page(PAGES).contains("minimize"));
        assert!(page("cargo-xtask-ci-nightly").contains("known.toml"));
    }
}

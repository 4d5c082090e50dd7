//! What of the host goes into the guest, and where.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use refan_runner::exec::{Binary, Files};
use refan_wire::WORK_FOLDER;

use super::rootfs::Rootfs;
use crate::cli;
use crate::exit::usage;

/// Where commands are that the guest has.
const COMMANDS: &str = "/bin";

/// Where a command is looked for that is named without a folder.
pub fn search_path() -> String {
    format!("{WORK_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Where there is a busybox.
const BUSYBOX: &str = "Debian's package busybox-static has /bin/busybox";

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
            Self::Guest(name) => Path::new(name).file_name().unwrap_or(name),
        };
        name.to_string_lossy().into_owned()
    }

    /// What the guest executes.
    pub fn in_guest(&self) -> Vec<u8> {
        match self {
            Self::Own(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                Path::new(WORK_FOLDER).join(name).into_os_string().as_bytes().to_vec()
            }
            Self::Guest(name) => name.as_bytes().to_vec(),
        }
    }
}

/// What the guest has beside its kernel and its first process.
#[derive(Default)]
pub struct Inside {
    /// All files.
    pub files: Files,
    /// Whether the commands of busybox are there.
    pub busybox: bool,
    /// The folder that is its root.
    pub rootfs: Option<Rootfs>,
}

impl Inside {
    /// What the options bring along.
    pub fn of(arguments: &cli::Guest) -> Result<Self> {
        let rootfs = arguments.rootfs.as_deref().map(Rootfs::open).transpose()?;
        let mut files = Files::default();
        if let Some(rootfs) = &rootfs {
            rootfs.add(&mut files)?;
        }
        if let Some(busybox) = &arguments.busybox {
            add_busybox(&mut files, busybox)?;
        }
        for path in &arguments.copy {
            add_copy(&mut files, path)?;
        }
        Ok(Self { files, busybox: arguments.busybox.is_some(), rootfs })
    }

    /// The name of a shell.
    pub fn shell(&self) -> Result<OsString> {
        match &self.rootfs {
            Some(rootfs) => rootfs.shell().ok_or_else(|| {
                usage(format!("{} has neither /bin/bash nor /bin/sh", rootfs.path().display()))
            }),
            None if self.busybox => Ok("sh".into()),
            None => Err(usage(format!(
                "the guest has no shell: --busybox FILE or --rootfs DIR brings one ({BUSYBOX})"
            ))),
        }
    }

    /// The folder of the host that the words begin with. A name without a slash is a command where there are
    /// any.
    pub fn folder<'a>(&self, words: &'a [OsString]) -> Option<&'a Path> {
        let first = words.first()?;
        let has_commands = self.busybox || self.rootfs.is_some();
        let is_command = has_commands && !first.as_bytes().contains(&b'/');
        Some(Path::new(first)).filter(|path| path.is_dir() && !is_command)
    }

    /// Adds the program that the words name, if it is a file of the host; tells it, and what follows it.
    pub fn add_program<'a>(&mut self, words: &'a [OsString]) -> Result<(Program, &'a [OsString])> {
        let Some((first, rest)) = words.split_first() else {
            return Err(usage("there is no program to run"));
        };
        let program = self.program(first)?;
        if let Program::Own(path) = &program {
            add_copy(&mut self.files, path)?;
        }
        Ok((program, rest))
    }

    /// What a word names. A name without a slash that is no file here is a command of the guest's, if it has
    /// any, and so is an absolute path that its root has.
    fn program(&self, word: &OsString) -> Result<Program> {
        let path = Path::new(word);
        let searched = search_path();
        let is_name = !word.as_bytes().contains(&b'/') && !path.is_file();
        match &self.rootfs {
            None if self.busybox && is_name => Ok(Program::Guest(word.clone())),
            Some(rootfs) if is_name && rootfs.find(word, &searched).is_none() => {
                let at = rootfs.path().display();
                Err(usage(format!("there is no program {} in {at} ({searched})", path.display())))
            }
            Some(rootfs) if is_name || path.is_absolute() && rootfs.has(path) => {
                Ok(Program::Guest(word.clone()))
            }
            _ => self.own(path),
        }
    }

    /// A file of the host that the guest can execute with what it has.
    pub fn own(&self, path: &Path) -> Result<Program> {
        let told =
            |why: &str| Err(usage(format!("cannot run {} in the guest: {why}", path.display())));
        if path.is_dir() {
            return told("it is a folder");
        }
        let (needs, what) = match Binary::at(path)? {
            Binary::Static => return Ok(Program::Own(path.to_owned())),
            Binary::Script(_) if self.busybox => return Ok(Program::Own(path.to_owned())),
            Binary::Script(interpreter) => (interpreter, "it is a script for"),
            Binary::Dynamic(loader) => (loader, "it is linked dynamically and needs"),
        };
        match &self.rootfs {
            Some(rootfs) if rootfs.has(Path::new(&needs)) => Ok(Program::Own(path.to_owned())),
            Some(rootfs) => {
                told(&format!("{what} {needs}, which {} does not have", rootfs.path().display()))
            }
            None => told(&format!(
                "{what} {needs}, and the guest has no other files; --rootfs DIR gives it those of a folder, \
                 --busybox FILE a shell for scripts ({BUSYBOX}); what is linked with -static needs neither"
            )),
        }
    }
}

/// Adds a file or folder, to be found under its name where commands start; tells where that is.
pub fn add_copy(files: &mut Files, path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let Some(name) = absolute.file_name() else {
        return Err(usage(format!("{} has no name that it could be copied to", path.display())));
    };
    let in_guest = Path::new(WORK_FOLDER).join(name);
    files.add(path, &in_guest)?;
    Ok(in_guest)
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

    fn inside(busybox: bool, rootfs: Option<&Path>) -> Inside {
        let rootfs = rootfs.map(|path| Rootfs::open(path).expect("a folder"));
        Inside { files: Files::default(), busybox, rootfs }
    }

    fn told(inside: &Inside, word: &Path) -> String {
        inside.program(&word.into()).map(drop).expect_err("unusable").to_string()
    }

    #[test]
    fn a_name_is_a_command_of_busybox_if_there_is_one() {
        let words = ["no-such-file", "-c", "x"].map(OsString::from);
        let (program, rest) = inside(true, None).add_program(&words).expect("a command");
        assert_eq!(program, Program::Guest("no-such-file".into()));
        assert_eq!(rest, ["-c", "x"]);
        assert!(told(&inside(false, None), Path::new("no-such-file")).contains("no-such-file"));
        assert_eq!(inside(true, None).shell().expect("a shell"), "sh");
        assert!(inside(false, None).shell().is_err());
    }

    #[test]
    fn what_cannot_run_is_told_with_what_mends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("s.sh");
        std::fs::write(&script, "#!/bin/sh\n").expect("a file");
        let bare = inside(false, None);
        assert!(told(&bare, &script).contains("--busybox"));
        assert!(told(&bare, folder.path()).contains("folder"));
        let own = std::env::current_exe().expect("this test");
        assert!(told(&bare, &own).contains("--rootfs") && told(&bare, &own).contains("-static"));
        let program = inside(true, None).own(&script).expect("a script");
        assert_eq!(program.in_guest(), format!("{WORK_FOLDER}/s.sh").into_bytes());
    }

    #[test]
    fn what_a_root_has_is_looked_for_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        std::fs::create_dir(at.join("bin")).expect("a folder");
        std::fs::write(at.join("bin/sh"), "").expect("a file");
        let rooted = inside(false, Some(at));
        let guest = |word: &str| Program::Guest(word.into());
        assert_eq!(rooted.program(&"sh".into()).expect("a command"), guest("sh"));
        assert_eq!(rooted.program(&"/bin/sh".into()).expect("a command"), guest("/bin/sh"));
        assert!(told(&rooted, Path::new("no-such-file")).contains("there is no program"));
        let own = std::env::current_exe().expect("this test");
        assert!(told(&rooted, &own).contains("does not have"));
        let script = at.join("s.sh");
        std::fs::write(&script, "#!/bin/sh\n").expect("a file");
        assert_eq!(rooted.program(&script.clone().into()).expect("one"), Program::Own(script));
        assert_eq!(rooted.shell().expect("a shell"), "/bin/sh");
    }
}

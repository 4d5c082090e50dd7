//! What the host has and lacks.
//!
//! Minimum versions of build tools: `Documentation/process/changes.rst` of Linux 7.3. QEMU: the version that the
//! snapshots and the PVH start were tried on.

use serde::Serialize;
use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// A package manager that doctor can speak for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, RHEL.
    Dnf,
    /// Arch.
    Pacman,
    /// openSUSE.
    Zypper,
}

/// The managers with their programs, in the order in which they are looked for.
const MANAGERS: [(Manager, &str); 4] = [
    (Manager::Apt, "apt-get"),
    (Manager::Dnf, "dnf"),
    (Manager::Pacman, "pacman"),
    (Manager::Zypper, "zypper"),
];

/// How a tool shows that it is there, and its version.
#[derive(Clone, Copy, Debug)]
enum Probe {
    /// The first dotted number that the program writes, called with this option.
    Program(&'static str, &'static str),
    /// The C compiler finds this header.
    Header(&'static str),
    /// The C compiler finds this library.
    Library(&'static str),
}

/// Something that the host must have.
#[derive(Clone, Copy, Debug)]
struct Need {
    name: &'static str,
    probe: Probe,
    /// The least version; empty when any will do.
    version: &'static str,
    why: &'static str,
    /// Its package by manager, in the order of [`MANAGERS`].
    packages: [&'static str; 4],
}

const NEEDS: &[Need] = &[
    Need {
        name: "qemu-system-x86_64",
        probe: Probe::Program("qemu-system-x86_64", "--version"),
        version: "7.2",
        why: "runs the machines",
        packages: ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-x86"],
    },
    Need {
        name: "gcc",
        probe: Probe::Program("gcc", "-dumpfullversion"),
        version: "8.1",
        why: "compiles the kernel and links the agent",
        packages: ["gcc"; 4],
    },
    Need {
        name: "gcov",
        probe: Probe::Program("gcov", "--version"),
        version: "9.1",
        why: "reads how often lines and branches of the kernel were passed",
        packages: ["gcc"; 4],
    },
    Need {
        name: "g++",
        probe: Probe::Program("g++", "-dumpfullversion"),
        version: "8.1",
        why: "compiles libFuzzer, which the fuzz targets link",
        packages: ["g++", "gcc-c++", "gcc", "gcc-c++"],
    },
    Need {
        name: "libc.a",
        probe: Probe::Library("libc.a"),
        version: "",
        why: "the agent is a static binary; the kernel's build tools need the headers",
        packages: ["libc6-dev", "glibc-static", "glibc", "glibc-devel-static"],
    },
    Need {
        name: "ld",
        probe: Probe::Program("ld", "--version"),
        version: "2.30",
        why: "links the kernel",
        packages: ["binutils"; 4],
    },
    Need {
        name: "make",
        probe: Probe::Program("make", "--version"),
        version: "4.0",
        why: "builds the kernel",
        packages: ["make"; 4],
    },
    Need {
        name: "bash",
        probe: Probe::Program("bash", "--version"),
        version: "4.2",
        why: "builds the kernel",
        packages: ["bash"; 4],
    },
    Need {
        name: "flex",
        probe: Probe::Program("flex", "--version"),
        version: "2.5.35",
        why: "builds the kernel's configuration tool",
        packages: ["flex"; 4],
    },
    Need {
        name: "bison",
        probe: Probe::Program("bison", "--version"),
        version: "2.0",
        why: "builds the kernel's configuration tool",
        packages: ["bison"; 4],
    },
    Need {
        name: "bc",
        probe: Probe::Program("bc", "--version"),
        version: "1.06.95",
        why: "computes the kernel's time constants",
        packages: ["bc"; 4],
    },
    Need {
        name: "libelf",
        probe: Probe::Header("gelf.h"),
        version: "",
        why: "objtool reads the kernel's object files with it",
        packages: ["libelf-dev", "elfutils-libelf-devel", "libelf", "libelf-devel"],
    },
    Need {
        name: "tar",
        probe: Probe::Program("tar", "--version"),
        version: "1.28",
        why: "unpacks the kernel source",
        packages: ["tar"; 4],
    },
    Need {
        name: "xz",
        probe: Probe::Program("xz", "--version"),
        version: "",
        why: "unpacks the kernel source",
        packages: ["xz-utils", "xz", "xz", "xz"],
    },
    Need {
        name: "git",
        probe: Probe::Program("git", "--version"),
        version: "",
        why: "applies the patches",
        packages: ["git"; 4],
    },
];

/// What only the project's own tests need.
const NEEDS_OF_TESTS: &[Need] = &[
    Need {
        name: "chromium",
        probe: Probe::Program("chromium", "--version"),
        version: "",
        why: "shows the pages of coverage and campaigns to the tests",
        packages: ["chromium"; 4],
    },
    Need {
        name: "gdb",
        probe: Probe::Program("gdb", "--version"),
        version: "",
        why: "attaches to a finding in the tests",
        packages: ["gdb"; 4],
    },
];

/// What the host is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Test kernels.
    Use,
    /// The same, and test this project.
    Tests,
}

/// What was found of one need.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is needed.
    pub name: &'static str,
    /// The least version; none when any will do.
    pub needed: Option<&'static str>,
    /// What is there: a version, or a path; none when nothing is.
    pub found: Option<String>,
    /// Whether that will do.
    pub ok: bool,
    /// What it is for.
    pub why: &'static str,
    /// The package that has it, by the host's manager.
    pub package: Option<&'static str>,
}

/// The state of the host.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The host's package manager; none when it is one that doctor does not know.
    pub manager: Option<Manager>,
    /// One check for each need.
    pub checks: Vec<Check>,
    /// The one command that mends what is wrong; none when nothing is, or no manager is known.
    pub command: Option<String>,
}

impl Report {
    /// Whether nothing is missing or too old.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// Runs the command that mends what is wrong, with the user's terminal; `None` when there is no such command.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn install(&self) -> std::io::Result<Option<ExitStatus>> {
        let Some(command) = &self.command else { return Ok(None) };
        Command::new("sh").arg("-c").arg(command).status().map(Some)
    }
}

/// Looks at the host.
#[must_use]
pub fn examine(purpose: Purpose) -> Report {
    let of_tests = if purpose == Purpose::Tests { NEEDS_OF_TESTS } else { &[] };
    let manager =
        MANAGERS.iter().find(|(_, program)| find(program).is_some()).map(|(kind, _)| *kind);
    let checks: Vec<Check> =
        NEEDS.iter().chain(of_tests).map(|need| check(need, manager)).collect();
    let command =
        manager.and_then(|manager| mend(manager, &checks, rustix::process::geteuid().is_root()));
    Report { manager, checks, command }
}

fn check(need: &Need, manager: Option<Manager>) -> Check {
    let found = match need.probe {
        Probe::Program(program, option) => find(program).map(|path| {
            said(program, option)
                .as_deref()
                .and_then(version_in)
                .unwrap_or_else(|| path.display().to_string())
        }),
        Probe::Header(name) => compiles(name).then(|| name.to_owned()),
        Probe::Library(name) => said("gcc", &format!("-print-file-name={name}"))
            .map(|path| path.trim().to_owned())
            .filter(|path| path.contains('/')),
    };
    let ok = found
        .as_deref()
        .is_some_and(|found| need.version.is_empty() || at_least(found, need.version));
    let package = manager.map(|manager| need.packages[manager as usize]);
    let needed = Some(need.version).filter(|version| !version.is_empty());
    Check { name: need.name, needed, found, ok, why: need.why, package }
}

/// The command that installs the packages of all checks that failed.
fn mend(manager: Manager, checks: &[Check], root: bool) -> Option<String> {
    let mut packages: Vec<&str> =
        checks.iter().filter(|check| !check.ok).filter_map(|check| check.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return None;
    }
    let sudo = if root { "" } else { "sudo " };
    let packages = packages.join(" ");
    Some(match manager {
        Manager::Apt => format!(
            "{sudo}apt-get update && {sudo}apt-get install --yes --no-install-recommends {packages}"
        ),
        Manager::Dnf => format!("{sudo}dnf install --assumeyes {packages}"),
        Manager::Pacman => format!("{sudo}pacman --sync --refresh --needed --noconfirm {packages}"),
        Manager::Zypper => format!("{sudo}zypper --non-interactive install {packages}"),
    })
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file()))
}

/// What a program writes when it is called with an option.
fn said(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(option)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the C compiler finds a header.
fn compiles(header: &str) -> bool {
    Command::new("gcc")
        .args(["-E", "-x", "c", "-include", header, "/dev/null"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The first dotted number in a text.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|word| word.trim_matches('.'))
        .find(|word| word.contains('.'))
        .map(str::to_owned)
}

/// Whether a version is not less than another one, number by number.
fn at_least(found: &str, needed: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(found).cmp(&numbers(needed)) != Ordering::Less
}

/// The free space on the disk that a folder is on, in bytes.
///
/// # Errors
/// The folder does not exist.
pub fn free_space(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        for (text, version) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", "7.2.22"),
            ("12.2.0\n", "12.2.0"),
            ("GNU ld (GNU Binutils for Debian) 2.40", "2.40"),
            ("GNU ld version 2.41-37.fc40", "2.41"),
            ("GNU Make 4.3\nBuilt for x86_64", "4.3"),
            ("GNU bash, version 5.2.15(1)-release", "5.2.15"),
            ("bison (GNU Bison) 3.8.2", "3.8.2"),
            ("bc 1.07.1", "1.07.1"),
            ("gcov (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!(version_in("no number"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        for (found, needed, holds) in [
            ("7.2.22", "7.2", true),
            ("10.0", "7.2", true),
            ("7.1.99", "7.2", false),
            ("1.07.1", "1.06.95", true),
            ("4", "4.0", false),
            ("/usr/bin/x", "1", false),
        ] {
            assert_eq!(at_least(found, needed), holds, "{found} {needed}");
        }
    }

    fn missing(name: &'static str, package: &'static str) -> Check {
        Check { name, needed: None, found: None, ok: false, why: "", package: Some(package) }
    }

    #[test]
    fn one_command_mends_all() {
        let fine = Check { ok: true, ..missing("gcc", "gcc") };
        let checks = [missing("flex", "flex"), fine, missing("bc", "bc"), missing("dc", "bc")];
        assert_eq!(
            mend(Manager::Apt, &checks, false).unwrap(),
            "sudo apt-get update && sudo apt-get install --yes --no-install-recommends bc flex"
        );
        assert_eq!(mend(Manager::Dnf, &checks, true).unwrap(), "dnf install --assumeyes bc flex");
        assert_eq!(mend(Manager::Pacman, &checks[1..2], true), None);
    }
}

//! `exec` and `shell`: a guest, and what it has.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Machine;
use super::duration::duration;

/// A guest, and what it has.
#[derive(Debug, Args)]
pub struct Guest {
    /// The kernel and its machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Run it on a kernel with a seeded bug: a name in kernel-configs/mutants/mutants.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["series", "bzimage"])]
    pub mutant: Option<String>,
    /// Copy a file or a folder to where the program starts, too
    #[arg(long, value_name = "PATH")]
    pub copy: Vec<PathBuf>,
    /// A static busybox, whose commands the guest then has: for scripts
    #[arg(long, value_name = "FILE", conflicts_with = "rootfs")]
    pub busybox: Option<PathBuf>,
    /// Folder whose files the guest has as its root, such as debootstrap makes: for dynamic programs
    ///
    /// They are copied into the guest's memory, all as root's; the folder stays as it is. Its `dev`, `proc`
    /// and `sys` are left out, which are the kernel's there.
    #[arg(long, value_name = "DIR")]
    pub rootfs: Option<PathBuf>,
}

/// `shell`.
#[derive(Debug, Args)]
pub struct Shell {
    /// The guest.
    #[command(flatten)]
    pub guest: Guest,
    /// What is run in place of the shell: a file of this host or a command of the guest's
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The guest.
    #[command(flatten)]
    pub guest: Guest,
    /// How long the program may run, by the guest's clock and by the host's
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// The program, a file of this host or a command of the guest's, and its arguments; or a folder of tests
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

//! The agent's build: static, so that it is the whole user space of the guest.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The target that it is built for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The binaries of the guest.
#[derive(Debug)]
pub struct Binaries {
    /// PID 1.
    pub agent: PathBuf,
    /// The least init there can be, to measure the agent's boot against.
    pub bare_init: PathBuf,
}

/// Builds the guest's binaries; cargo knows when there is nothing to do.
pub fn build(repository: &Path) -> Result<Binaries> {
    let output = Command::new(cargo())
        .current_dir(repository)
        .args([
            "build",
            "--quiet",
            "--package",
            "refan-agent",
            "--profile",
            "agent",
            "--target",
            TRIPLE,
        ])
        .args([
            "--config",
            &format!("target.{TRIPLE}.rustflags=['-C', 'target-feature=+crt-static']"),
        ])
        .output()
        .with_context(|| format!("cannot run {}", cargo().display()))?;
    if !output.status.success() {
        bail!("the agent does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let folder = target_folder(repository).join(TRIPLE).join("agent");
    Ok(Binaries { agent: folder.join("refan-agent"), bare_init: folder.join("refan-bare-init") })
}

/// Where cargo puts what it builds, outside of what the repository holds.
pub fn target_folder(repository: &Path) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    repository.join(target)
}

/// The cargo that this program was started by, else the one in `PATH`.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

//! The compiler that a kernel is built with.

use super::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::process::Command;

/// The programs that make machine code, by their first line of `--version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: String,
    /// The linker.
    pub linker: String,
}

impl Toolchain {
    /// The host's toolchain.
    ///
    /// # Errors
    /// There is none.
    pub fn of_host() -> Result<Self> {
        Ok(Self { compiler: version("gcc")?, linker: version("ld")? })
    }
}

fn version(program: &str) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .env("LC_ALL", "C")
        .output()
        .map_err(|e| Error::start(program, &e))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() && !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Error::HostLacks(format!(
            "{program} --version says nothing: is it installed rightly?"
        ))),
    }
}

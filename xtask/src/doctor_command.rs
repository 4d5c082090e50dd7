//! `doctor`: what the host has and lacks.

use anyhow::{Context, Result};
use refan_runner::cache::Cache;
use refan_vm::{Accel, AccelRequest, Kind, Profile, Qemu};
use serde_json::json;
use std::path::Path;
use xtask::doctor::{self, Purpose, Report};
use xtask::kernel::Progress;

use crate::cli;
use crate::exit::{Exit, usage};
use crate::steps::Steps;

/// Free space that fetching, unpacking and building two targets takes, in bytes.
const ROOM: u64 = 8 << 30;

/// Prints the checks, and mends what is wrong if that is asked for.
pub fn run(repository: &Path, arguments: &cli::Doctor) -> Result<Exit> {
    if arguments.install {
        install(Purpose::Use, &Steps::new())?;
    }
    let report = doctor::examine(Purpose::Use);
    for check in &report.checks {
        if arguments.json {
            say!("{}", json!({ "event": "check", "version": 1, "check": check }));
        } else {
            let sign = if check.ok { "ok" } else { "LACKS" };
            let needed =
                check.needed.map_or_else(String::new, |needed| format!(" (needed: {needed})"));
            let found = check.found.as_deref().unwrap_or("nothing");
            say!("  {sign:<5}  {:<18} {found}{needed}: {}", check.name, check.why);
        }
    }
    let cache = Cache::open()?;
    let free = doctor::free_space(cache.root()).context("cannot look at the cache's disk")?;
    let kvm = kvm(repository, &cache);
    if arguments.json {
        say!(
            "{}",
            json!({ "event": "host", "version": 1, "free": free, "kvm": kvm, "mend": report.command })
        );
    } else {
        say!(
            "  {:<5}  {:<18} {} GiB free in {}",
            if free < ROOM { "LOW" } else { "ok" },
            "disk",
            free >> 30,
            cache.root().display()
        );
        say!("  {:<5}  {:<18} {kvm}", "note", "KVM");
    }
    if report.ok() {
        return Ok(Exit::Held);
    }
    if !arguments.json {
        say!("\n{}", mend(&report));
    }
    Ok(Exit::Usage)
}

/// Installs what the host lacks.
pub fn install(purpose: Purpose, steps: &Steps) -> Result<()> {
    steps.phase("look at the host");
    let report = doctor::examine(purpose);
    if report.ok() {
        return Ok(());
    }
    steps.phase("install what the host lacks");
    let status = report.install().context("cannot run the package manager")?;
    steps.done();
    match status {
        Some(status) if !status.success() => {
            return Err(usage(format!("the package manager failed ({status}): {}", mend(&report))));
        }
        Some(_) | None => {}
    }
    let report = doctor::examine(purpose);
    if report.ok() { Ok(()) } else { Err(usage(mend(&report))) }
}

/// What to do about a host that lacks something; none where nothing is found wrong.
pub fn advice() -> Option<String> {
    let report = doctor::examine(Purpose::Use);
    (!report.ok()).then(|| mend(&report))
}

fn mend(report: &Report) -> String {
    let lacking: Vec<_> =
        report.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
    let lacking = lacking.join(", ");
    match &report.command {
        Some(command) => format!(
            "the host lacks {lacking}; this mends it:\n  {command}\nor let `cargo xtask doctor --install` run it"
        ),
        None => format!("the host lacks {lacking}; install them with its package manager"),
    }
}

/// What a trial says of KVM.
fn kvm(repository: &Path, cache: &Cache) -> String {
    let tried = || -> Result<Accel> {
        let profile = Profile::load(&repository.join("vm-images/smp.toml"))?;
        Ok(Accel::choose(AccelRequest::Only(Kind::Kvm), &profile, &Qemu::find()?, cache.root())?)
    };
    match tried() {
        Ok(_) => "works".to_owned(),
        Err(error) => format!("{error:#}; machines run on TCG"),
    }
}

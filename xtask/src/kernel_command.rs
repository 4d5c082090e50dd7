//! `kernel`: the kernels under test and the cache.

use std::path::Path;

use anyhow::Result;
use refan_runner::cache::Cache;
use xtask::kernel::{self, NO_SERIES};

use crate::exit::{Exit, usage};
use crate::steps::Steps;
use crate::{cli, prepare};

/// Lists, builds, shows or cleans.
pub fn run(repository: &Path, command: &cli::Kernel) -> Result<Exit> {
    let cache = Cache::open()?;
    match command {
        cli::Kernel::List => list(repository, &cache)?,
        cli::Kernel::Build(options) => {
            build_only(options)?;
            let configs = prepare::configs(repository);
            let kernel =
                kernel::ensure_kernel(&prepare::request(options), &configs, &cache, &Steps::new())?;
            say!("{}", kernel.identity.summary());
            say!("{}", kernel.vmlinux().display());
        }
        cli::Kernel::Config(options) => {
            build_only(options)?;
            let configs = prepare::configs(repository);
            let request = prepare::request(options);
            say!("{}", kernel::config_text(&request, &configs, &cache, &Steps::new())?.trim_end());
        }
        cli::Kernel::Clean => {
            let freed = cache.clean()?;
            say!("removed {} entries, {}", freed.entries, gib(freed.bytes));
            if freed.in_use > 0 {
                say!("kept {} that are in use", freed.in_use);
            }
        }
    }
    Ok(Exit::Held)
}

/// An image that is given needs no build.
fn build_only(options: &cli::Machine) -> Result<()> {
    match options.bzimage {
        Some(_) => Err(usage("--bzimage names a kernel that is built already")),
        None => Ok(()),
    }
}

fn list(repository: &Path, cache: &Cache) -> Result<()> {
    let configs = prepare::configs(repository);
    say!("bases");
    for name in configs.bases()? {
        say!("  {name:<20} {}", configs.base(&name)?.0.summary);
    }
    say!("series");
    say!("  {NO_SERIES:<20} the base as it is");
    for name in configs.all_series()? {
        say!("  {name:<20} {}", configs.series(&name)?.summary);
    }
    say!("targets");
    for name in configs.targets()? {
        say!("  {name:<20} {}", configs.target(&name)?.summary);
    }
    say!("built");
    for (key, identity) in kernel::list(cache)? {
        say!("  {:.12}         {}", key.as_str(), identity.summary());
    }
    say!("cache\n  {}: {} of {}", cache.root().display(), gib(cache.size()?), gib(cache.limit()));
    Ok(())
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

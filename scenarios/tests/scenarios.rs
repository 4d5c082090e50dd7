//! One test a scenario, each on a machine of its own, restored from the snapshot.
//!
//! They run on what `cargo xtask test` prepared last for the kernel target that `REFAN_TARGET` names
//! (default `fast`). A scenario that this kernel does not support has shown nothing, and fails.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use refan_runner::cache::Cache;
use refan_runner::run::Worker;
use refan_runner::suite::{self, Scenario};
use refan_runner::{Prepared, Verdict};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = match suite::find(folder) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = found
        .into_iter()
        .map(|(name, file)| {
            Trial::test(name.clone(), move || run(&name, &file).map_err(Failed::from))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(name: &str, file: &Path) -> Result<(), String> {
    let outcome = outcome(name, file).map_err(|error| format!("{error:#}"))?;
    match outcome.verdict {
        Verdict::Held => Ok(()),
        verdict => Err(format!("{verdict}\n{}\n{}", outcome.history, outcome.console)),
    }
}

fn outcome(name: &str, file: &Path) -> anyhow::Result<refan_runner::Outcome> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = std::env::var("REFAN_TARGET").unwrap_or_else(|_| "fast".to_owned());
    let scenario = Scenario::read(name.to_owned(), file)?;
    let prepared = Prepared::load(&Cache::open()?, repository, &target)?;
    Ok(Worker::start(&prepared, None)?.run(&scenario))
}

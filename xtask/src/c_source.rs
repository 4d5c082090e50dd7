//! Findings and scenarios as C files.

use std::path::Path;

use anyhow::{Context, Result};
use refan_runner::artifact::Artifact;
use refan_runner::c_source::{Form, Source};
use refan_runner::suite::Scenario;

use crate::cli::Repro;
use crate::exit::usage;
use crate::prepare;

/// Writes the C files that are asked for; false if none is.
pub fn write(repository: &Path, arguments: &Repro) -> Result<bool> {
    let files = [(&arguments.c, Form::Program), (&arguments.kselftest, Form::Selftest)];
    let files: Vec<_> =
        files.into_iter().filter_map(|(file, form)| Some((file.as_ref()?, form))).collect();
    let from = &arguments.finding.artifact;
    if files.is_empty() {
        if from.is_file() {
            return Err(usage(format!(
                "{} is no finding: a scenario is run by `cargo xtask test`, and written as C by --c FILE",
                from.display()
            )));
        }
        return Ok(false);
    }
    let (program, verdict, values) = if from.is_file() {
        let scenario = Scenario::read(String::new(), from);
        (scenario.map_err(|error| usage(format!("{error:#}")))?.program, None, None)
    } else {
        let found = Artifact::read(from)?;
        let Some(verdict) = found.verdict() else {
            return Err(usage(format!(
                "{} is older than this and does not say what was broken: minimize it",
                from.display()
            )));
        };
        (Artifact::program(from)?, Some(verdict), Some(found.api))
    };
    let profile = prepare::api_of(repository, values)?;
    let source = match &verdict {
        Some(verdict) => Source::of_verdict(&program, verdict, &profile),
        None => Source::of_program(&program, &profile),
    };
    for (file, form) in files {
        let text = source.write(form).map_err(|error| usage(error.to_string()))?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        say!("  written  {}", file.display());
    }
    Ok(true)
}

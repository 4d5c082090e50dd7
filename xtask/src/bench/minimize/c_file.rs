//! The C file of a finding, compiled and run in the guest.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use refan_runner::Prepared;
use refan_runner::artifact::C_SOURCE;
use refan_runner::exec::{CommandEnd, Ran, TaskEnd};

use super::row::Pair;
use super::scenario::Kernels;
use crate::exec;

/// How long it may run.
const LIMIT: Duration = Duration::from_secs(120);

/// Compiles the C file of an artifact in the folder `scratch`, and runs it on both kernels.
///
/// # Errors
/// It does not compile, or a machine does not start.
pub fn run(kernels: &Kernels, artifact: &Path, scratch: &Path) -> Result<Pair> {
    let source = artifact.join(C_SOURCE);
    if !source.exists() {
        let none = "none".to_owned();
        return Ok(Pair { broken: none.clone(), good: none, is_told: false, is_held: false });
    }
    let program = scratch.join("repro");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-pthread", "-o"]).arg(&program).arg(&source);
    let output = compiler.output().context("cannot run cc")?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("{} does not compile:\n{complaints}", source.display());
    }
    let (broken, is_told, _) = once(kernels.broken(), &program)?;
    let (good, _, is_held) = once(kernels.good(), &program)?;
    Ok(Pair { broken, good, is_told, is_held })
}

/// What it came to in a few words, and whether it told that the kernel is wrong, or that it is right.
fn once(prepared: &Prepared, program: &Path) -> Result<(String, bool, bool)> {
    let (ran, wrote) = exec::quietly(prepared, program, LIMIT)?;
    Ok(told(&ran, &wrote))
}

fn told(ran: &Ran, wrote: &str) -> (String, bool, bool) {
    if let Some(report) = &ran.report {
        return (report.title.clone(), true, false);
    }
    match &ran.end {
        Some(CommandEnd::Ended(TaskEnd::Exited(0))) => ("right".to_owned(), false, true),
        Some(CommandEnd::Ended(TaskEnd::Exited(1))) => ("wrong".to_owned(), true, false),
        end => {
            let last = wrote.lines().last().unwrap_or_default();
            (format!("{end:?} {last}").trim_end().to_owned(), false, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_runner::kernel_log::Report;

    #[test]
    fn a_status_or_a_report_tells() {
        let ended = |status| Some(CommandEnd::Ended(TaskEnd::Exited(status)));
        let of = |end, report| told(&Ran { end, report }, "said\nat last\n");
        assert_eq!(of(ended(0), None), ("right".to_owned(), false, true));
        assert_eq!(of(ended(1), None), ("wrong".to_owned(), true, false));
        let (words, is_told, is_held) = of(ended(2), None);
        assert!(words.ends_with("at last") && !is_told && !is_held, "{words}");
        let title = "KASAN: slab-use-after-free in f".to_owned();
        let report = Report { title: title.clone(), text: String::new(), symbolized: None };
        assert_eq!(of(ended(0), Some(report)), (title, true, false));
    }
}

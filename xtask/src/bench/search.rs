//! From a seeded bug to a finding, and from that to the least program.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_program::Program;
use refan_runner::artifact::Artifact;
use refan_runner::minimize::Minimizer;
use refan_runner::run::Worker;
use refan_runner::suite::Scenario;

use super::figure::Figure;
use crate::agent::cargo;
use crate::cli;
use crate::finding::Finding;
use crate::nightly::campaign::Said;
use crate::steps::Steps;

/// The bugs that are searched for.
const MUTANTS: [&str; 3] = ["drop-at-release", "restart-at-tail", "no-group-ref"];

/// The kernels that carry them: of those that tell what is passed, the quickest.
pub const TARGET: &str = "kcov";

/// How long one is searched for.
const MOST: Duration = Duration::from_secs(120);

/// How often a program is run to know how long it takes.
const RUNS: u32 = 5;

/// Figures for what was found, and the names of the bugs that were not.
pub fn searches(repository: &Path) -> Result<(Vec<Figure>, Vec<&'static str>)> {
    let (mut figures, mut missed) = (Vec::new(), Vec::new());
    for mutant in MUTANTS {
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        match find(repository, mutant, TARGET, MOST, &scratch.path().join("corpus"))? {
            Some((time, artifact)) => {
                figures.extend(of_finding(repository, mutant, time, &artifact)?)
            }
            None => missed.push(mutant),
        }
    }
    Ok((figures, missed))
}

/// A campaign from nothing on kernels of this target, up to its first finding: when that was, and where it
/// is kept.
pub fn find(
    repository: &Path,
    mutant: &str,
    target: &str,
    most: Duration,
    corpus: &Path,
) -> Result<Option<(Duration, PathBuf)>> {
    let mut child = Command::new(cargo())
        .current_dir(repository)
        .args(["xtask", "fuzz", "--json", "--no-seeds", "--target", target])
        .args(["--time", &format!("{}s", most.as_secs())])
        .args(["--mutant", mutant, "--corpus"])
        .arg(corpus)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run `cargo xtask fuzz`")?;
    let lines = child.stdout.take().context("a campaign without output")?;
    let mut begun = None;
    let mut found = None;
    for line in BufReader::new(lines).lines() {
        let line = line.context("cannot read what the campaign says")?;
        let said =
            serde_json::from_str(&line).with_context(|| format!("the campaign says {line:?}"))?;
        match (said, begun) {
            (Said::Start(_), _) => begun = Some(Instant::now()),
            (Said::Finding(finding), Some(begun)) => {
                let artifact = finding.artifact.context("a finding was not kept")?;
                found = Some((Instant::now().duration_since(begun), artifact));
                break;
            }
            _ => {}
        }
    }
    // Its workers end with it.
    child.kill().context("cannot end the campaign")?;
    child.wait().context("cannot wait for the campaign")?;
    Ok(found)
}

/// The time to find it beside its program alone, and the time to minimize it beside the runs that it took.
fn of_finding(
    repository: &Path,
    mutant: &str,
    time: Duration,
    artifact: &Path,
) -> Result<[Figure; 2]> {
    let steps = Steps::new();
    let finding = Finding::open(repository, &cli::Finding::as_found(artifact), &steps)?;
    let title = &Artifact::read(artifact)?.title;
    let begun = Instant::now();
    let (prepared, reference) = (finding.prepared(), finding.reference());
    let mut minimizer = Minimizer::start(prepared, reference, title, &finding.earlier)?;
    let rate = minimizer.sound(&finding.program);
    let least = minimizer.reduce(&finding.program, rate, |_, _| Ok(()))?;
    let minimized = begun.elapsed();
    let runs = minimizer.runs();
    drop(minimizer);
    let of_first = alone(&finding, &finding.program)?;
    let of_least = alone(&finding, &least)?;
    let machines = u32::try_from(prepared.machines(usize::MAX)?).unwrap_or(1);
    Ok([
        Figure::times(
            &format!("time to find {mutant}"),
            &[time],
            "one run of its program",
            &[of_first],
        ),
        Figure::times(
            &format!("minimization of {mutant}"),
            &[minimized],
            "as many runs of the least program",
            &[of_least * runs / machines],
        ),
    ])
}

/// How long a program takes on one machine, restored anew for each run.
fn alone(finding: &Finding, program: &Program) -> Result<Duration> {
    let mut worker = Worker::start(finding.prepared(), finding.reference())?;
    let scenario = Scenario { name: "bench".to_owned(), program: program.clone() };
    let begun = Instant::now();
    for _ in 0..RUNS {
        worker.run_once(&scenario);
    }
    Ok(begun.elapsed() / RUNS)
}

//! `minimize`: a finding by the least program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refan_program::Program;
use refan_runner::artifact;
use refan_runner::c_source::{Form, Source};
use refan_runner::earlier::Earlier;
use refan_runner::minimize::{Minimizer, Rate};
use refan_runner::run::Worker;
use refan_runner::suite::Scenario;
use refan_runner::{Outcome, Prepared};
use xtask::kernel::Progress as _;

use crate::cli::Minimize;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::prepare;
use crate::report::seconds;
use crate::steps::Steps;

/// The least program so far, in the folder of the finding.
const LEAST: &str = "minimized.scn";

/// What a finding has become.
pub struct Minimized {
    /// How often it failed before.
    pub before: Rate,
    /// The least program.
    pub least: Program,
    /// How often that fails.
    pub after: Rate,
    /// What has to run before it.
    pub earlier: Vec<Earlier>,
    /// How many programs were run for it.
    pub runs: u32,
    /// How long it took.
    pub took: Duration,
    /// Where it is kept as a finding of its own.
    pub kept: PathBuf,
}

/// Makes the finding's program as small as it can be, and keeps that as a finding.
pub fn run(repository: &Path, arguments: &Minimize) -> Result<Exit> {
    let steps = Steps::new();
    let finding = Finding::open(repository, &arguments.finding, &steps)?;
    steps.done();
    finding.tell();
    let Some(minimized) = minimize(repository, &finding, &arguments.finding.artifact, &steps)?
    else {
        say!("  verdict  no: the finding does not show here");
        return Ok(Exit::NoVerdict);
    };
    let Minimized { before, least, after, earlier, runs, took, kept } = &minimized;
    if let Some(file) = &arguments.scn {
        write(file, least)?;
    }
    let behind = |count| match count {
        0 => String::new(),
        count => format!(", behind {count} that run before it"),
    };
    let length = |program: &Program| program.steps.len();
    say!(
        "  before   {} steps, fails in {}{}",
        length(&finding.program),
        of(*before),
        behind(finding.earlier.len())
    );
    say!("  after    {} steps, fails in {}{}", length(least), of(*after), behind(earlier.len()));
    say!("  took     {runs} runs, {}", seconds(*took));
    say!("  kept in  {}", kept.display());
    say!("");
    say!("{}", least.to_string().trim_end());
    Ok(Exit::Held)
}

/// Makes the program of the finding in the folder `artifact` as small as it can be, and keeps that beside
/// it; None where it does not show.
pub fn minimize(
    repository: &Path,
    finding: &Finding,
    artifact: &Path,
    steps: &Steps,
) -> Result<Option<Minimized>> {
    let begun = Instant::now();
    let title = &finding.found.title;
    let least_file = artifact.join(LEAST);
    let length = finding.program.steps.len();

    steps.phase("run the finding");
    let (prepared, reference) = (finding.prepared(), finding.reference());
    let mut minimizer = Minimizer::start(prepared, reference, title, &finding.earlier)?;
    let before = minimizer.sound(&finding.program);
    if before.0 == 0 {
        steps.done();
        return Ok(None);
    }
    steps.phase("minimize");
    let header = finding.program.header.clone();
    let least = minimizer.reduce(&finding.program, before, |program, runs| {
        steps.at(&format!("{length} -> {} steps, {runs} runs", program.steps.len()));
        write(&least_file, &with_header(program, &header))
    })?;
    steps.phase("run what is left");
    let after = minimizer.sound(&least);
    let (runs, earlier) = (minimizer.runs(), minimizer.earlier().to_vec());
    drop(minimizer);

    let least = with_header(&least, &header);
    write(&least_file, &least)?;
    let kept = keep(repository, finding, artifact, &least, &earlier, after)?;
    steps.done();
    let took = begun.elapsed();
    Ok(Some(Minimized { before, least, after, earlier, runs, took, kept }))
}

fn of((found, runs): Rate) -> String {
    format!("{found} of {runs} runs")
}

fn with_header(program: &Program, header: &[String]) -> Program {
    Program { header: header.to_vec(), ..program.clone() }
}

/// Writes a scenario; it is there whole or not at all.
fn write(file: &Path, program: &Program) -> Result<()> {
    let doing = || format!("cannot write {}", file.display());
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::NamedTempFile::new_in(folder).with_context(doing)?;
    write!(new, "{program}").and_then(|()| new.as_file().sync_data()).with_context(doing)?;
    new.persist(file).map_err(|error| error.error).with_context(doing)?;
    Ok(())
}

/// The program of an outcome as C; none where it has no such form, of which it is said why.
fn c_source(repository: &Path, prepared: &Prepared, outcome: &Outcome) -> Result<Option<String>> {
    let Some(program) = &outcome.program else { return Ok(None) };
    let profile = prepare::api_of(repository, Some(prepared.api))?;
    match Source::of_verdict(program, &outcome.verdict, &profile).write(Form::Program) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            say!("  no C     {error}");
            Ok(None)
        }
    }
}

/// The least program as a finding beside the one that it was made of.
fn keep(
    repository: &Path,
    finding: &Finding,
    artifact: &Path,
    least: &Program,
    earlier: &[Earlier],
    rate: Rate,
) -> Result<PathBuf> {
    let name = format!("{} minimized", finding.found.scenario);
    let scenario = Scenario { name, program: least.clone() };
    let mut worker = Worker::start(finding.prepared(), finding.reference())?;
    // One that does not always fail is run until it does.
    for _ in 0..=rate.1 * 5 {
        let mut outcome = worker.run_behind(earlier, &scenario);
        if outcome.verdict.title().as_deref() == Some(finding.found.title.as_str()) {
            outcome.repeated = Some(rate);
            let artifact = artifact.canonicalize().context("the finding's folder")?;
            let parent = artifact.parent().context("the finding's folder has none above it")?;
            let (prepared, reference) = (finding.prepared(), finding.reference());
            // C has nothing that runs before, but tries what happens at the same time again and again.
            let has_block = least.steps.iter().any(|step| step.block.is_some());
            let c_source = match earlier {
                [_, ..] if !has_block => None,
                _ => c_source(repository, prepared, &outcome)?,
            };
            return Ok(artifact::write_with_c(parent, prepared, reference, &outcome, c_source)?);
        }
    }
    bail!("the least program, {LEAST} in {}, has not failed again", artifact.display())
}

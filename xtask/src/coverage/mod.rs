//! `coverage`: which lines and branches are passed.

mod terminal;
mod tool;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use refan_program::Program;
use refan_runner::corpus;
use refan_runner::gcov::{self, Tally};
use refan_runner::prepared::{COUNTER_NOTES, KERNEL_SOURCES};
use refan_runner::suite::Scenario;
use refan_site::compare::Changes;
use refan_site::coverage::{Coverage, File, Scope, VERSION};
use serde_json::{Value, json};
use xtask::kernel::Progress as _;

use crate::exit::{Exit, usage};
use crate::fuzz::source;
use crate::prepare::{self, Ready};
use crate::steps::Steps;
use crate::{cli, select, site};

/// Runs what is asked for and says what was passed.
pub fn run(repository: &Path, arguments: &cli::Coverage) -> Result<Exit> {
    let programs = programs(repository, arguments)?;
    let before = arguments.compare.as_deref().map(site::read_coverage).transpose()?;
    let name = &arguments.machine.target;
    if prepare::configs(repository).target(name)?.gcov.is_empty() {
        return Err(usage(format!(
            "kernels of target {name} do not count which lines are passed: choose the target `gcov`"
        )));
    }
    if arguments.machine.bzimage.is_some() {
        return Err(usage(
            "what an image counts only its build can tell: name its tree, --kernel-src",
        ));
    }
    let steps = Steps::new();
    let ready = prepare::prepare(repository, &arguments.machine, &steps)?;
    steps.phase(&format!("run {} programs", programs.len()));
    let machines = ready.prepared.machines(programs.len())?;
    let told = |count| steps.at(&format!("{count} of {}", programs.len()));
    let tally = gcov::run(&ready.prepared, &programs, machines, told)?;
    steps.phase("read the counters");
    let mut coverage = record(repository, arguments, &ready, &tally)?;
    coverage.changes = before.map(|before| Changes::between(&before, &coverage));
    let folder = arguments.site.clone().unwrap_or_else(|| site::default_folder(repository));
    site::write_coverage(&folder, &coverage)?;
    let page = site::make(repository, &folder)?.join("coverage.html");
    steps.done();
    if arguments.json {
        say!("{}", object(&coverage, &tally, &page));
    } else {
        terminal::print(&coverage, &tally, &page);
    }
    Ok(exit(&tally))
}

/// What is to be run: scenarios, a corpus, or both.
fn programs(repository: &Path, arguments: &cli::Coverage) -> Result<Vec<Scenario>> {
    let mut programs = match arguments.no_suites {
        true => Vec::new(),
        false => select::scenarios(repository, &arguments.scenarios)?,
    };
    if let Some(folder) = &arguments.corpus {
        let entries = corpus::entries(folder).map_err(|error| usage(format!("{error:#}")))?;
        if entries.is_empty() {
            return Err(usage(format!("{} holds no entry of a corpus", folder.display())));
        }
        programs.extend(entries.into_iter().map(|(name, content)| Scenario {
            name: format!("corpus/{name}"),
            program: Program::decode(&content),
        }));
    }
    Ok(programs)
}

/// The record of a run.
fn record(
    repository: &Path,
    arguments: &cli::Coverage,
    ready: &Ready,
    tally: &Tally,
) -> Result<Coverage> {
    let image = &ready.prepared.image;
    let counts = tool::counts(&image.with_file_name(COUNTER_NOTES), &tally.machines)?;
    let configs = prepare::configs(repository);
    let folders = configs.target(&arguments.machine.target)?.gcov;
    let mut of_series = source::of_series(repository, &arguments.machine)?;
    let exclusions = source::exclusions(repository)?;
    // Headers count where the series has changed them.
    let is_told = |path: &str| {
        let below = |folder: &String| Path::new(path).starts_with(folder);
        folders.iter().any(below) || of_series.contains_key(path)
    };
    let sources = image.with_file_name(KERNEL_SOURCES);
    let mut files = BTreeMap::new();
    for (path, lines) in counts.files.into_iter().filter(|(path, _)| is_told(path)) {
        let source = sources.join(&path);
        let text =
            std::fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let excluded = exclusions.lines(&path, &text);
        files.insert(path, File { text, lines, excluded, ..File::default() });
    }
    for (path, file) in &mut files {
        file.of_series = of_series.remove(path).unwrap_or_default();
    }
    let kernel = ready.prepared.kernel.clone();
    Ok(Coverage { version: VERSION, kernel, ran: ran(tally), changes: None, files })
}

/// What was run, in a line.
fn ran(tally: &Tally) -> String {
    let Tally { held, unsupported, unjudged, lost, findings, .. } = tally;
    format!(
        "{held} programs held, {} did not, {unjudged} without verdict, {unsupported} unsupported; {lost} \
         not counted, since their machine ended",
        findings.len()
    )
}

/// A finding outweighs all; where nothing held nothing was shown.
fn exit(tally: &Tally) -> Exit {
    if !tally.findings.is_empty() {
        Exit::Broken
    } else if tally.held == 0 {
        Exit::NoVerdict
    } else {
        Exit::Held
    }
}

/// The figures, and every line that counts and was not passed.
fn object(coverage: &Coverage, tally: &Tally, page: &Path) -> Value {
    let of_files = coverage.files.iter().map(|(path, file)| {
        json!({
            "path": path, "all": file.summary(Scope::All), "series": file.summary(Scope::Series),
            "missing": file.missing(Scope::All).collect::<Vec<_>>(),
            "missing_of_series": file.missing(Scope::Series).collect::<Vec<_>>(),
        })
    });
    json!({
        "event": "coverage", "version": 1, "kernel": coverage.kernel, "held": tally.held,
        "findings": tally.findings.len(), "unjudged": tally.unjudged,
        "unsupported": tally.unsupported, "lost": tally.lost,
        "all": coverage.summary(Scope::All), "series": coverage.summary(Scope::Series),
        "files": of_files.collect::<Vec<_>>(), "changes": coverage.changes, "page": page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_runner::Verdict;

    #[test]
    fn nothing_that_went_wrong_ends_in_zero() {
        let held = Tally { held: 1, ..Tally::default() };
        assert_eq!(exit(&held), Exit::Held);
        assert_eq!(exit(&Tally::default()), Exit::NoVerdict);
        let finding = ("x".to_owned(), Verdict::None(String::new()));
        assert_eq!(exit(&Tally { findings: vec![finding], ..held }), Exit::Broken);
    }
}

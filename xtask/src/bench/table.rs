//! `bench`: all figures of the project in one table.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use refan_runner::fuzz::as_searched;
use xtask::kernel::Progress as _;

use super::figure::Figure;
use super::fuzz::Rate;
use super::{boots, command, edit, fuzz, restores, search};
use crate::exit::{Exit, usage};
use crate::steps::Steps;
use crate::{cli, prepare, select};

/// How often a boot is measured, and a restore.
const BOOTS: u32 = 10;
const RESTORES: u32 = 20;

/// How long the fuzzer's rates are measured.
const FUZZ: Duration = Duration::from_secs(30);

/// Measures and prints all figures, each as it comes.
pub fn table(repository: &Path, arguments: &cli::AllFigures) -> Result<Exit> {
    let earlier = match &arguments.compare {
        Some(file) => Some(read(file)?),
        None => None,
    };
    let table = Table { json: arguments.json, earlier };
    table.head();
    if arguments.cold {
        table.row(&command::cold(repository)?);
    }
    let (warm, ran) = command::warm(repository)?;
    table.row(&warm);
    table.row(&edit::edit(repository)?);
    table.row(&boots(repository, &measure("fast", BOOTS)?)?);
    table.row(&restores(repository, &measure("fast", RESTORES)?)?);
    table.row(&suites(repository, &ran)?);
    let fuzzing = cli::MeasureFuzz { machine: machine("kasan")?, time: FUZZ, seed: 1, json: false };
    let (rates, _) = fuzz::rates(repository, &fuzzing)?;
    rates.iter().for_each(|rate| table.row(rate));
    let (searches, missed) = search::searches(repository)?;
    searches.iter().for_each(|search| table.row(search));
    if missed.is_empty() {
        return Ok(Exit::Held);
    }
    eprintln!("error: not found: {}", missed.join(", "));
    Ok(Exit::NoVerdict)
}

/// The suites beside their programs, run by guests alone on as many machines.
fn suites(repository: &Path, ran: &command::Ran) -> Result<Figure> {
    let steps = Steps::new();
    let ready = prepare::prepare(repository, &machine("fast")?, &steps)?;
    steps.phase("run the suites' programs alone");
    let programs: Vec<_> = select::scenarios(repository, &[])?
        .into_iter()
        .filter(|scenario| scenario.program.swept().is_none())
        .map(|scenario| as_searched(scenario.program))
        .collect();
    let one = fuzz::replayed(&ready.prepared, &programs)?;
    let all = Rate { count: one.count * ran.machines, time: one.time };
    let rate = Rate { count: ran.held, time: ran.suites };
    Ok(rate
        .beside(("scenarios through the suites", "their programs that the guests run alone"), &all))
}

fn measure(target: &str, runs: u32) -> Result<cli::Measure> {
    Ok(cli::Measure { machine: machine(target)?, runs, json: false })
}

/// The machine of a target, all else as it is by default.
fn machine(target: &str) -> Result<cli::Machine> {
    Ok(cli::Machine::of_words(&["--target".to_owned(), target.to_owned()])?)
}

/// The figures of an earlier run.
fn read(file: &Path) -> Result<Vec<Figure>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| usage(format!("cannot read {}: {error}", file.display())))?;
    let wrong =
        |why: String| usage(format!("{} is no output of `bench --json`: {why}", file.display()));
    let figures = Figure::read_all(&text).map_err(|error| wrong(error.to_string()))?;
    if figures.is_empty() { Err(wrong("there is no figure in it".to_owned())) } else { Ok(figures) }
}

struct Table {
    json: bool,
    earlier: Option<Vec<Figure>>,
}

impl Table {
    fn head(&self) {
        if !self.json {
            let change = if self.earlier.is_some() { "  change" } else { "" };
            say!("{:<30} {:>14} {:>7}{change}  {:<14} of", "figure", "measured", "ratio", "limit");
        }
    }

    fn row(&self, figure: &Figure) {
        if self.json {
            let mut object = figure.object();
            if let Some(earlier) = self.before(figure) {
                object["earlier"] = earlier.value.into();
            }
            say!("{object}");
            return;
        }
        let change = match (&self.earlier, self.before(figure)) {
            (None, _) => String::new(),
            (Some(_), None) => "     new".to_owned(),
            (Some(_), Some(earlier)) => {
                format!(" {:>+5.0} %", 100.0 * (figure.value / earlier.value - 1.0))
            }
        };
        say!(
            "{:<30} {:>14} {:>7.2}{change}  {:<14} {}",
            figure.name,
            figure.amount(figure.value),
            figure.ratio(),
            figure.amount(figure.of_limit),
            figure.limit
        );
    }

    fn before(&self, figure: &Figure) -> Option<&Figure> {
        let same = |it: &&Figure| it.name == figure.name && it.unit == figure.unit;
        self.earlier.as_ref()?.iter().find(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_run_is_read_or_what_is_wrong_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("figures.jsonl");
        assert!(read(&file).expect_err("missing").to_string().contains("cannot read"));
        std::fs::write(&file, "{\"event\":\"shares\"}\n").expect("written");
        assert!(read(&file).expect_err("empty").to_string().contains("no figure"));
        let figure =
            Figure::times("boot", &[Duration::from_secs(2)], "bare", &[Duration::from_secs(1)]);
        std::fs::write(&file, figure.object().to_string()).expect("written");
        assert_eq!(read(&file).expect("figures"), [figure]);
    }
}

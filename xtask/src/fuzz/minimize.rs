//! `fuzz --minimize`: the corpus by fewer entries of fewer steps.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use refan_program::Program;
use refan_runner::corpus;
use refan_runner::coverage::Code;
use refan_runner::fuzz::minimize::{Change, Extent, minimize};
use xtask::kernel::Progress as _;

use super::COVERED;
use crate::exit::{Exit, usage};
use crate::report::seconds;
use crate::steps::Steps;
use crate::{cli, prepare};

/// Makes the corpus small. What is smaller is there before what it replaces goes.
pub fn run(repository: &Path, arguments: &cli::Fuzz) -> Result<Exit> {
    super::check_covered(repository, arguments)?;
    let steps = Steps::new();
    let machine = prepare::in_campaigns(repository, &arguments.machine)?;
    let ready = prepare::prepare(repository, &machine, &steps)?;
    let folders: Vec<&str> =
        std::iter::once(COVERED).chain(arguments.cover.iter().map(String::as_str)).collect();
    let code = Code::of(&ready.prepared, &folders).map_err(|error| usage(format!("{error:#}")))?;
    let watching = ready.prepared.watching(&code, &folders);
    let folder = super::corpus_folder(arguments, &ready);
    if !folder.is_dir() {
        return Err(usage(format!("there is no corpus in {}", folder.display())));
    }
    let (mut corpus, _scratch) = super::open_corpus(&folder)?;
    let entries = corpus::entries(&folder)?;
    let (names, programs): (Vec<String>, Vec<Program>) =
        entries.into_iter().map(|(name, content)| (name, Program::decode(&content))).unzip();
    let length = |programs: &[Program]| programs.iter().map(|it| it.steps.len()).sum::<usize>();
    let before = (programs.len(), length(&programs));

    let begun = Instant::now();
    let until = arguments.time.map(|time| begun + time);
    let mut left = length(&programs);
    steps.phase("minimize the corpus");
    let extent = minimize(&watching, &programs, until, |change, extent| {
        let Extent { entries, stay, done, .. } = extent;
        steps.at(&format!("{entries} -> {stay} entries, {done} of them made small"));
        let Some(change) = change else { return Ok(()) };
        let (Change::LeftOut(at) | Change::Smaller(at, _)) = &change;
        left -= programs[*at].steps.len();
        if let Change::Smaller(_, program) = &change {
            left += program.steps.len();
            let content = program.encode();
            // Another entry may have become the same, and this one may be as plain as it gets.
            if !corpus.add(&content)? && corpus::name(&content) == names[*at] {
                return Ok(());
            }
        }
        corpus.remove(&names[*at])
    })
    .context("minimizing the corpus")?;
    steps.done();
    if extent.entries == 0 {
        say!("  verdict  no: none of the {} entries was judged in time", before.0);
        return Ok(Exit::NoVerdict);
    }
    say!("  before   {} entries, {} steps", before.0, before.1);
    say!("  after    {} entries, {left} steps", corpus.names().len());
    say!("  cover    {} edges and states of the model, as before", extent.features);
    if extent.entries < before.0 {
        say!("  as ever  {} entries, which do not hold here", before.0 - extent.entries);
    }
    if extent.done < extent.stay {
        say!("  left     {} entries, for lack of time: run it again", extent.stay - extent.done);
    }
    say!("  took     {}", seconds(begun.elapsed()));
    Ok(Exit::Held)
}

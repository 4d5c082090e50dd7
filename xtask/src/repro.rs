//! `repro`: a finding, run again.

use std::path::Path;

use anyhow::Result;
use refan_runner::artifact::{self, Repeats};

use crate::cli::Repro;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::steps::Steps;

/// Runs the finding's program and says how often it shows.
pub fn run(repository: &Path, arguments: &Repro) -> Result<Exit> {
    let steps = Steps::new();
    let finding = Finding::open(repository, &arguments.finding, &steps)?;
    steps.done();
    finding.tell();
    let mut number = 0;
    let repeats = artifact::repeat(
        finding.prepared(),
        finding.reference(),
        &finding.earlier,
        &finding.program,
        &finding.found.title,
        arguments.runs,
        |verdict| {
            number += 1;
            let title = verdict.title();
            let what = title.as_deref().unwrap_or_else(|| verdict.word());
            say!("  run {number:<4} {what}");
        },
    )?;
    print(&repeats, arguments.runs);
    Ok(match repeats.reproduces() {
        Some(true) => Exit::Broken,
        Some(false) => Exit::Held,
        None => Exit::NoVerdict,
    })
}

fn print(repeats: &Repeats, runs: u32) {
    for (title, count) in &repeats.others {
        say!("  other    {count} × {title}");
    }
    for (why, count) in &repeats.unjudged {
        say!("  unjudged {count} × {why}");
    }
    let word = match repeats.reproduces() {
        Some(true) => "reproduced",
        Some(false) => "not reproduced",
        None => "cannot tell",
    };
    say!("  verdict  {word}: {} of {runs} runs", repeats.found);
}

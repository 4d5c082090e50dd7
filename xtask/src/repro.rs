//! `repro`: a finding, run again.

use std::path::Path;

use anyhow::Result;
use refan_runner::Verdict;
use refan_runner::artifact::{self, Repeats};
use refan_runner::judge;
use refan_runner::run::Worker;

use crate::c_source;
use crate::cli::Repro;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::gdb;
use crate::steps::Steps;
use xtask::kernel::Progress as _;

/// Runs the finding's program and says how often it shows, or writes it as C.
pub fn run(repository: &Path, arguments: &Repro) -> Result<Exit> {
    if c_source::write(repository, arguments)? {
        return Ok(Exit::Held);
    }
    let steps = Steps::new();
    let finding = Finding::open(repository, &arguments.finding, &steps)?;
    steps.done();
    finding.tell();
    if arguments.trace {
        return trace(&finding);
    }
    if arguments.gdb {
        let run = gdb::run(&finding, &arguments.finding.artifact, arguments.at.as_ref())?;
        return Ok(verdict(&finding, &run.verdict));
    }
    if let Some(runs) = arguments.replay {
        return replay(&finding, runs);
    }
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

/// Runs it once and prints the walk through it.
fn trace(finding: &Finding) -> Result<Exit> {
    let mut worker = Worker::start(finding.prepared(), finding.reference())?;
    let run = worker.run_seen(&finding.earlier, &finding.program);
    let api = finding.prepared().api;
    say!("");
    say!("{}", judge::listing(&finding.program, &run.records, api, &run.verdict).trim_end());
    say!("");
    Ok(verdict(finding, &run.verdict))
}

/// Runs it again and again and holds each run against the first.
fn replay(finding: &Finding, runs: u32) -> Result<Exit> {
    let steps = Steps::new();
    steps.phase("run it");
    let replays = artifact::replay(
        finding.prepared(),
        finding.reference(),
        &finding.earlier,
        &finding.program,
        runs,
        |number| steps.at(&format!("{number} of {runs}")),
    )?;
    steps.done();
    say!("  same     {} of {runs} runs, trace and console", replays.same);
    if let Some(difference) = &replays.difference {
        say!("  differs  {difference}");
        return Ok(Exit::NoVerdict);
    }
    Ok(verdict(finding, &replays.first.verdict))
}

/// Says whether it is what was found.
fn verdict(finding: &Finding, verdict: &Verdict) -> Exit {
    let title = verdict.title();
    let (word, exit) = match &title {
        Some(title) if *title == finding.found.title => ("reproduced", Exit::Broken),
        None if matches!(verdict, Verdict::Held) => ("not reproduced", Exit::Held),
        _ => ("cannot tell", Exit::NoVerdict),
    };
    say!("  verdict  {word}: {}", title.as_deref().unwrap_or_else(|| verdict.word()));
    exit
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

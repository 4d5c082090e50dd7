//! `bench fuzz`: how much of what the guest can do is left of it in a campaign.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refan_program::Program;
use refan_runner::Prepared;
use refan_runner::corpus::Corpus;
use refan_runner::fuzz::{Driver, Feedback, Progress, Shares, as_searched};
use refan_runner::guest::Guest;
use serde_json::json;
use xtask::kernel::Progress as _;

use super::figure::{Figure, Unit};
use crate::cli;
use crate::exit::Exit;
use crate::fuzz::worker::{Order, Said, Worker};
use crate::fuzz::{self as campaign, COVERED};
use crate::prepare;
use crate::steps::Steps;

/// How many programs the guest runs at a time, as many as the fuzzer between two accountings.
const AT_A_TIME: usize = 20;

/// How many restarts the guest makes at a time.
const CYCLES: u32 = 20;

/// A restart as a program: the calls of the guest's own cycle.
const RESTART: &str = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
close(e)
close(q)
q2 = open_queue(c)
e2 = read(q2)
write(q2, e2, ALLOW)
a -> 0
close(e2)
close(q2)
close(c)
";

/// Programs through the whole fuzzer, beside the guest that runs them alone; and restarts by the
/// executor, beside their bare calls.
pub fn fuzz(repository: &Path, measure: &cli::MeasureFuzz) -> Result<Exit> {
    let (figures, shares) = rates(repository, measure)?;
    for figure in figures {
        figure.print(measure.json);
    }
    if measure.json {
        let shares: serde_json::Map<_, _> = shares
            .named()
            .into_iter()
            .map(|(name, share)| (name.to_owned(), json!(share)))
            .collect();
        say!("{}", json!({"event": "shares", "version": 1, "shares": shares}));
    } else {
        let shares = shares.named().into_iter();
        let shares: Vec<String> =
            shares.map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
        say!("  time of the fuzzer          {}", shares.join(", "));
    }
    Ok(Exit::Held)
}

/// The rates, and what the fuzzer spent its time with.
pub fn rates(repository: &Path, measure: &cli::MeasureFuzz) -> Result<([Figure; 2], Shares)> {
    let steps = Steps::new();
    let machine = prepare::in_campaigns(repository, &measure.machine)?;
    let ready = prepare::prepare(repository, &machine, &steps)?;
    let prepared = &ready.prepared;
    steps.phase("build the fuzz target");
    let target = campaign::build(repository)?;
    steps.phase("fuzz");
    let (whole, programs, shares) = searched(repository, prepared, &target, measure)?;
    steps.phase("run the same programs alone");
    let alone = replayed(prepared, &programs)?;
    let restarts = measure.time / 6;
    steps.phase("restart by programs");
    let executed = executed(prepared, restarts)?;
    steps.phase("restart by bare calls");
    let bare = bare(prepared, restarts)?;
    steps.done();
    let programs = ("programs through the fuzzer", "programs that the guest runs alone");
    let restarts = ("restarts by a program", "restarts by their bare calls");
    Ok(([whole.beside(programs, &alone), executed.beside(restarts, &bare)], shares))
}

/// So many a second.
pub struct Rate {
    pub count: usize,
    pub time: Duration,
}

impl Rate {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// It as a figure and its limit by these names.
    pub fn beside(&self, (name, limit): (&str, &str), of_limit: &Self) -> Figure {
        Figure {
            name: name.to_owned(),
            unit: Unit::PerSecond,
            value: self.per_second(),
            limit: limit.to_owned(),
            of_limit: of_limit.per_second(),
            runs: self.count,
        }
    }
}

/// One worker, from the scenarios on: its rate, and what it ran.
fn searched(
    repository: &Path,
    prepared: &Prepared,
    target: &Path,
    measure: &cli::MeasureFuzz,
) -> Result<(Rate, Vec<Program>, Shares)> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let at = |name: &str| scratch.path().join(name);
    let mut corpus = Corpus::open(&at("corpus"), &at("aside"))?;
    campaign::add_seeds(&mut corpus, repository)?;
    let text = serde_json::to_vec(prepared).context("the machine as JSON")?;
    std::fs::write(at("prepared.json"), text).context("cannot write a temporary file")?;
    let order = Order {
        target,
        prepared: &at("prepared.json"),
        exact: None,
        findings: &at("findings"),
        cover: &[],
        corpus: &at("corpus"),
        seed: measure.seed.max(1),
        runs: None,
        seconds: Some(measure.time.as_secs().max(1)),
        ran: Some(&at("ran")),
    };
    let (sender, said) = mpsc::channel();
    let mut worker = Worker::start(0, &order, at("log"), sender)?;
    let mut last = Progress::default();
    loop {
        match said.recv().context("the worker is gone")? {
            (_, Said::Progress(progress)) => last = *progress,
            (_, Said::Nonsense(line)) => bail!("the worker says {line:?}"),
            (_, Said::End) => break,
        }
    }
    worker.ended().map_err(anyhow::Error::msg).context("the worker was lost")?;
    let ran = std::fs::read(at("ran")).context("cannot read what the worker ran")?;
    let rate = Rate { count: last.runs as usize, time: last.shares.total };
    Ok((rate, programs(&ran)?, last.shares))
}

/// What a worker wrote down.
fn programs(mut ran: &[u8]) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    while let Some((len, rest)) = ran.split_first_chunk::<4>() {
        let (program, rest) = rest
            .split_at_checked(u32::from_le_bytes(*len) as usize)
            .context("what the worker ran is cut off")?;
        programs.push(as_searched(Program::decode(program)));
        ran = rest;
    }
    Ok(programs)
}

/// The guest runs these programs, where the kernel has what they need.
pub fn replayed(prepared: &Prepared, programs: &[Program]) -> Result<Rate> {
    let mut guest = Guest::start(prepared)?;
    let capabilities = guest.probe(prepared)?;
    let programs: Vec<Program> =
        programs.iter().filter(|it| capabilities.lacking(it).is_none()).cloned().collect();
    let mut rate = Rate { count: 0, time: Duration::ZERO };
    for mut programs in programs.chunks(AT_A_TIME) {
        while !programs.is_empty() {
            let begun = Instant::now();
            let done = guest.replay(programs)?;
            let is_clean = done == programs.len();
            if is_clean {
                guest.account()?;
            }
            rate.time += begun.elapsed();
            rate.count += done;
            programs = programs.get(done + 1..).unwrap_or_default();
            if !is_clean {
                // The program behind those that were done has left something.
                guest = Guest::start(prepared)?;
            }
        }
    }
    Ok(rate)
}

/// The fuzzer's driver runs a program again and again, and judges it each time.
fn executed(prepared: &Prepared, time: Duration) -> Result<Rate> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let program = refan_program::parse(RESTART).context("the restart as a program")?;
    let bytes = program.bare().encode();
    let mut driver = Driver::start(prepared, None, &[COVERED], scratch.path().to_owned())?;
    let mut feedback = Feedback::default();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        if let Some(found) = driver.run(&bytes, &mut feedback)? {
            bail!("the restart is a finding: {}\n{}", found.key, found.verdict);
        }
        count += 1;
    }
    let time = begun.elapsed();
    let progress = driver.progress();
    if progress.unsupported > 0 || !progress.unjudged.is_empty() {
        bail!("the kernel under test has no restartable events, so there is no restart to measure");
    }
    Ok(Rate { count, time })
}

/// The guest makes the bare calls again and again.
fn bare(prepared: &Prepared, time: Duration) -> Result<Rate> {
    let mut guest = Guest::start(prepared)?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        guest.cycle(CYCLES)?;
        count += CYCLES as usize;
    }
    Ok(Rate { count, time: begun.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_ran_is_read_back() {
        let program = refan_program::parse(RESTART).expect("a program").bare().encode();
        let entry = [&(program.len() as u32).to_le_bytes()[..], &program].concat();
        let ran = [entry.clone(), entry].concat();
        let read = programs(&ran).expect("programs");
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].encode(), program);
        assert!(programs(&ran[..ran.len() - 1]).is_err());
    }
}

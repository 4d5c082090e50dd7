//! `bench crashes`: kernels that report, hang and die on purpose, one after another.

mod data;
mod usage;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_program::Program;
use refan_runner::prepared::DEBUG_IMAGE;
use refan_runner::run::Worker;
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Outcome, Prepared, Verdict, kernel_log};
use xtask::kernel::Progress;

use crate::cli::{self, Crashes};
use crate::exit::{Exit, usage};
use crate::prepare;
use crate::report::seconds;
use crate::steps::Steps;

use data::{Bug, Bugs};
use usage::Usage;

/// So many programs leave enough behind for kmemleak to be asked.
const MANY: u32 = 60;

/// A program that removes a mark, which is what provokes.
const PROGRAM: &str = "# X5: what the removal of a mark provokes is told.
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
fanotify_mark(c, REMOVE, OPEN_PERM, f0)
";

/// The same in a task of its own, which the others wait for longer than the kernel's watchdog does.
const BLOCKING: &str = "# X5: what a removal of a mark that never ends provokes is told.
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
a = spawn fanotify_mark(c, REMOVE, OPEN_PERM, f0)
sleep(100000)
";

/// Has machine after machine crash and holds what is told of each against what its bug is.
pub fn run(repository: &Path, arguments: &Crashes) -> Result<Exit> {
    let bugs = Bugs::load(repository)?;
    let chosen = bugs.chosen(&arguments.bugs, &arguments.target);
    let chosen = chosen.map_err(|error| usage(error.to_string()))?;
    let steps = Steps::new();
    let machine = cli::Machine {
        series: Some(data::SERIES.to_owned()),
        ..cli::Machine::of_words(&["--target".to_owned(), arguments.target.clone()])?
    };
    let ready = prepare::prepare(repository, &machine, &steps)?;
    let parsed = |text| {
        refan_program::parse(text)
            .map_err(|error| anyhow::anyhow!("{}", error.render("the crashes' program", text)))
    };
    let (program, blocking) = (parsed(PROGRAM)?, parsed(BLOCKING)?);
    let has_lines = ready.prepared.image.with_file_name(DEBUG_IMAGE).exists();
    if !has_lines {
        steps.note("the kernel has no debug information: lines of the source are not looked for");
    }
    steps.phase("crash");
    let chosen: Vec<Crash<'_>> = chosen
        .into_iter()
        .map(|(name, bug)| {
            Crash::new(&ready.prepared, if bug.blocks { &blocking } else { &program }, name, bug)
        })
        .collect();
    let mut worker = Worker::start(&ready.prepared, None)?;
    let mut wrong = Vec::new();
    let mut times = Vec::new();
    let mut first_round = None;
    let runs = chosen.len().max(arguments.runs as usize);
    for number in 0..runs {
        let crash = &chosen[number % chosen.len()];
        let name = crash.scenario.name.as_str();
        if number == chosen.len() {
            first_round = Some(Usage::now(&ready.prepared)?);
        }
        let begun = Instant::now();
        let outcome = crash.run(&mut worker)?;
        times.push(begun.elapsed());
        steps.at(&format!("{} of {runs}", number + 1));
        let first = number < chosen.len();
        if first {
            say!("  {name:<20} {:<70} {}", told(&outcome), seconds(begun.elapsed()));
        }
        let is_report = |outcome: &Outcome| kernel_log::first_report(&outcome.console).is_some();
        if let Some(folder) = arguments.logs.as_ref().filter(|_| first && is_report(&outcome)) {
            let file = folder.join(format!("{name}.log"));
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&file, &outcome.console))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let mut fault = bugs.fault(name, &outcome, has_lines);
        if first && fault.is_none() {
            fault = afterwards(&mut worker, &ready.prepared, &program);
        }
        if let Some(fault) = fault {
            say!("  wrong    {name}: {fault}");
            wrong.push(name);
        }
    }
    steps.done();
    let last = Usage::now(&ready.prepared)?;
    times.sort();
    let total: Duration = times.iter().sum();
    let median = times[times.len() / 2];
    say!(
        "  crashes  {} of {} told as what they are, in {} (median {})",
        times.len() - wrong.len(),
        times.len(),
        seconds(total),
        seconds(median)
    );
    let mut growth = None;
    if let Some(first) = first_round {
        say!("  after the first of each   {first}");
        growth = last.growth(&first);
    }
    say!("  at the end                {last}");
    if let Some(growth) = &growth {
        say!("  wrong    {growth}");
    }
    Ok(if wrong.is_empty() && growth.is_none() { Exit::Held } else { Exit::Broken })
}

/// What is wrong with the next machine after a crash; nothing where it is as good as ever.
fn afterwards<'w>(
    worker: &mut Worker<'w>,
    healthy: &'w Prepared,
    program: &Program,
) -> Option<String> {
    worker.go_on_as(healthy);
    let verdict = worker.run_afresh(program);
    (!matches!(verdict, Verdict::Held)).then(|| format!("and then {}: {verdict}", verdict.word()))
}

/// A bug, and the machine and program by which it shows.
struct Crash<'a> {
    prepared: Prepared,
    scenario: Scenario,
    bug: &'a Bug,
}

impl<'a> Crash<'a> {
    fn new(prepared: &Prepared, program: &Program, name: &str, bug: &'a Bug) -> Self {
        let prepared = Prepared {
            mutant: Some(bug.number),
            patience: bug.seconds.map_or(prepared.patience, Duration::from_secs),
            ..prepared.clone()
        };
        Self {
            prepared,
            scenario: Scenario { name: name.to_owned(), program: program.clone() },
            bug,
        }
    }

    /// What is told of the machine.
    fn run<'w>(&'w self, worker: &mut Worker<'w>) -> Result<Outcome> {
        if !self.bug.many {
            worker.go_on_as(&self.prepared);
            return Ok(worker.run_once(&self.scenario));
        }
        // Its end asks what the programs of its machine have left.
        let mut worker = Worker::start(&self.prepared, None)?;
        let mut outcome = worker.run_once(&self.scenario);
        for _ in 1..MANY {
            outcome = worker.run(&self.scenario, Budget::default());
        }
        Ok(worker.finish().unwrap_or(outcome))
    }
}

fn told(outcome: &Outcome) -> String {
    outcome.verdict.title().unwrap_or_else(|| {
        let text = outcome.verdict.to_string();
        text.lines().next().unwrap_or_default().chars().take(68).collect()
    })
}

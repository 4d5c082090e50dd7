//! `fuzz`: campaigns of programs that nobody wrote.
//!
//! Workers are processes of the fuzz target `program`, one machine each. Every one has a corpus of its
//! own, which libFuzzer reads and writes; the supervisor copies what is whole into the corpus that
//! stays, and to the other workers, who take it up (libFuzzer's `-reload`).

#[cfg(test)]
mod driven;
mod history;
mod memory;
mod minimize;
mod shared;
pub mod source;
mod summary;
pub mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refan_program::Program;
use refan_runner::corpus::Corpus;
use refan_runner::coverage::Code;
use refan_runner::fuzz::Found;
use refan_runner::suite;
use xtask::kernel::Progress as _;

use crate::exit::{Exit, usage};
use crate::prepare::Ready;
use crate::steps::Steps;
use crate::{agent, cli, mutants, prepare, select, site};
use history::History;
use shared::Shared;
use source::Source;
use summary::Summary;
use worker::{Order, Said, Worker};

/// The folder of the kernel's source that is always covered.
pub const COVERED: &str = "fs/notify";

/// How often corpora are brought together, and it is told how it goes.
const PERIOD: Duration = Duration::from_secs(1);

/// How often it is told where nobody looks on.
const QUIET_PERIOD: Duration = Duration::from_secs(30);

/// How long after its time a worker may still confirm what it has found.
const GRACE: Duration = Duration::from_secs(240);

/// Where the machine has one processor, one worker begins on a machine with several: for so little of the time,
/// since calls that meet there meet by chance.
const SHARE_OF_SEVERAL: u32 = 4;

/// There it begins with so many entries of the corpus, of those that have a block: all of them would take it all
/// of that time.
const MOST_OF_SEVERAL: usize = 48;

/// The machine with several processors, a name in vm-images.
const SEVERAL: &str = "smp";

/// How often workers may be lost before there is something wrong with them.
const MOST_LOST: u32 = 10;

/// Runs a campaign.
pub fn run(repository: &Path, arguments: &cli::Fuzz) -> Result<Exit> {
    if arguments.minimize {
        return minimize::run(repository, arguments);
    }
    check_covered(repository, arguments)?;
    let steps = Steps::new();
    let prepare = |machine: &cli::Machine| match &arguments.mutant {
        Some(name) => mutants::prepare(repository, name, machine, &steps),
        None => prepare::prepare(repository, machine, &steps),
    };
    let machine = prepare::in_campaigns(repository, &arguments.machine)?;
    let ready = prepare(&machine)?;
    let is_exact = ready.prepared.spec()?.profile.virtual_time.is_some();
    let several = match machine.machine {
        None if is_exact && ready.smp && arguments.time.is_some() => {
            Some(prepare(&cli::Machine { machine: Some(SEVERAL.to_owned()), ..machine })?)
        }
        _ => None,
    };
    let folders: Vec<&str> =
        std::iter::once(COVERED).chain(arguments.cover.iter().map(String::as_str)).collect();
    let code = Code::of(&ready.prepared, &folders).map_err(|error| usage(format!("{error:#}")))?;
    let source = Source::of(repository, &arguments.machine, &ready.prepared, code)?;
    steps.phase("build the fuzz target");
    let target = build(repository)?;
    if arguments.store.is_some() {
        steps.phase("take the corpus that is shared");
    }
    let until = Until::TimeIsUp;
    let mut campaign =
        Campaign::open(repository, arguments, &ready, several.as_ref(), target, until)?;
    steps.done();
    let several_machine = several.as_ref().map(|several| several.prepared.machine.as_str());
    summary::print_start(&ready.prepared, several_machine, arguments.json);
    let mut history = campaign.begin_history(&site::kept(repository), &ready)?;
    let summary = campaign.run(&steps, &source, &mut history)?;
    steps.done();
    let object = summary.object("summary", &source)?;
    history.end(summary.sample(), object.clone())?;
    let page = site::make(repository, &site::default_folder(repository))?.join("campaigns.html");
    if arguments.json {
        say!("{object}");
    } else {
        say!("");
        summary.print(&source)?;
        say!("  see          {}", page.display());
    }
    Ok(summary.exit())
}

/// What a campaign came to that ends with its first finding.
pub struct First {
    /// The finding, if there was one in its time.
    pub found: Option<Found>,
    /// Programs run.
    pub runs: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Runs a campaign up to its first finding that shows again; pages tell nothing of it.
pub fn first(
    repository: &Path,
    arguments: &cli::Fuzz,
    ready: &Ready,
    target: &Path,
    steps: &Steps,
) -> Result<First> {
    let code =
        Code::of(&ready.prepared, &[COVERED]).map_err(|error| usage(format!("{error:#}")))?;
    let source = Source::of(repository, &arguments.machine, &ready.prepared, code)?;
    let until = Until::Found;
    let mut campaign =
        Campaign::open(repository, arguments, ready, None, target.to_owned(), until)?;
    let aside = campaign.scratch.path().to_owned();
    let mut history = campaign.begin_history(&aside, ready)?;
    let summary = campaign.run(steps, &source, &mut history)?;
    steps.done();
    let found = summary.confirmed().next().cloned();
    Ok(First { found, runs: summary.runs(), elapsed: summary.elapsed })
}

/// Coverage can only be asked for where the target's kernel tells it.
fn check_covered(repository: &Path, arguments: &cli::Fuzz) -> Result<()> {
    let name = &arguments.machine.target;
    let known = prepare::configs(repository).target(name)?.coverage;
    let is_known = |path: &&String| known.iter().any(|known| Path::new(path).starts_with(known));
    match arguments.cover.iter().find(|path| !is_known(path)) {
        Some(path) => Err(usage(format!(
            "kernels of target {name} do not tell what is passed in {path}; `coverage` in \
             kernel-configs/targets/{name}.toml names what they tell"
        ))),
        None => Ok(()),
    }
}

/// Builds the fuzz target, without sanitizer coverage of its own: only the kernel steers it.
pub fn build(repository: &Path) -> Result<PathBuf> {
    release(repository, "refan-fuzz", "program")
}

/// Builds a program that only campaigns need.
fn release(repository: &Path, package: &str, binary: &str) -> Result<PathBuf> {
    let output = Command::new(agent::cargo())
        .current_dir(repository)
        .args(["build", "--quiet", "--release", "--package", package, "--bin", binary])
        .output()
        .with_context(|| format!("cannot run {}", agent::cargo().display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{binary}` of {package} does not build:\n{said}");
    }
    Ok(agent::target_folder(repository).join("release").join(binary))
}

/// Adds the scenarios to a corpus.
pub fn add_seeds(corpus: &mut Corpus, repository: &Path) -> Result<()> {
    for (name, file) in suite::find(&repository.join("scenarios"))? {
        let scenarios = select::scenarios(repository, &[name])
            .with_context(|| format!("the seed {}", file.display()))?;
        for scenario in scenarios {
            corpus.add(&scenario.program.bare().encode())?;
        }
    }
    Ok(())
}

/// What ends a campaign.
#[derive(Clone, Copy)]
enum Until {
    /// Time or runs, as the arguments have it; findings are told as they come.
    TimeIsUp,
    /// The first finding that shows again, if time or runs do not end before.
    Found,
}

struct Campaign<'a> {
    arguments: &'a cli::Fuzz,
    target: PathBuf,
    prepared: PathBuf,
    /// If a worker begins on a machine with several processors: that, and its corpus and folder there.
    several: Option<(PathBuf, Corpus, PathBuf)>,
    findings: PathBuf,
    corpus: Corpus,
    /// Of each worker its corpus and its folder.
    own: Vec<(Corpus, PathBuf)>,
    /// If other campaigns share the corpus: the exchange with them.
    shared: Option<Shared>,
    until: Until,
    /// Deleted at the end.
    scratch: tempfile::TempDir,
}

impl<'a> Campaign<'a> {
    fn open(
        repository: &Path,
        arguments: &'a cli::Fuzz,
        ready: &Ready,
        several: Option<&Ready>,
        target: PathBuf,
        until: Until,
    ) -> Result<Self> {
        let folder = corpus_folder(arguments, ready);
        let (mut corpus, scratch) = open_corpus(&folder)?;
        if !arguments.no_seeds {
            add_seeds(&mut corpus, repository)?;
        }
        let shared = match &arguments.store {
            Some(store) => {
                let shared =
                    Shared::begin(repository, &shared::location(store)?, &folder, scratch.path())?;
                corpus.collect(&shared.inbox)?;
                Some(shared)
            }
            None => None,
        };
        let write = |name: &str, ready: &Ready| {
            let file = scratch.path().join(name);
            let text = serde_json::to_vec(&ready.prepared).context("the machine as JSON")?;
            std::fs::write(&file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
            anyhow::Ok(file)
        };
        let prepared = write("prepared.json", ready)?;
        let several = match several {
            Some(several) => {
                let folder = scratch.path().join("several");
                let mut own = Corpus::open(&folder, &scratch.path().join("aside"))?;
                corpus.copy_some_to(&mut own, MOST_OF_SEVERAL, has_block)?;
                Some((write("several.json", several)?, own, folder))
            }
            None => None,
        };
        let jobs = match arguments.jobs {
            Some(jobs) => usize::from(jobs.get()),
            None => ready.prepared.machines(usize::MAX)?,
        };
        let mut own = Vec::new();
        for job in 0..jobs {
            let folder = scratch.path().join(format!("{job}"));
            let mut of_worker = Corpus::open(&folder, &scratch.path().join("aside"))?;
            corpus.copy_to(&mut of_worker)?;
            own.push((of_worker, folder));
        }
        let findings = agent::target_folder(repository).join("refan/artifacts");
        Ok(Self {
            arguments,
            target,
            prepared,
            several,
            findings,
            corpus,
            own,
            shared,
            until,
            scratch,
        })
    }

    fn start(
        &self,
        number: usize,
        generation: u32,
        on_several: bool,
        left: Left,
        said: &mpsc::Sender<(usize, Said)>,
    ) -> Result<Worker> {
        let jobs = self.own.len() as u64;
        let (prepared, exact, corpus, time) = match &self.several {
            Some((several, _, corpus)) if on_several => {
                let time = left.time.map(|time| time / SHARE_OF_SEVERAL);
                (several, Some(self.prepared.as_path()), corpus, time)
            }
            _ => (&self.prepared, None, &self.own[number].1, left.time),
        };
        let order = Order {
            target: &self.target,
            prepared,
            exact,
            findings: &self.findings,
            cover: &self.arguments.cover,
            corpus,
            // 0 would have libFuzzer choose one.
            seed: self
                .arguments
                .seed
                .wrapping_add(number as u32)
                .wrapping_add(generation.wrapping_mul(0x1_0001))
                .max(1),
            runs: left.runs.map(|runs| runs.div_ceil(jobs)),
            seconds: time.map(|time| time.as_secs().max(1)),
            ran: None,
        };
        Worker::start(number, &order, corpus.with_extension("log"), said.clone())
    }

    fn begin_history(&self, kept: &Path, ready: &Ready) -> Result<History> {
        let (jobs, entries) = (self.own.len(), self.corpus.names().len());
        let folder = kept.join(site::CAMPAIGNS);
        History::begin(&folder, &ready.prepared, self.arguments.seed, jobs, entries)
    }

    fn run(&mut self, steps: &Steps, source: &Source, history: &mut History) -> Result<Summary> {
        let begun = Instant::now();
        let at_first = self.corpus.names().len();
        let (sender, said) = mpsc::channel();
        // The last one: alone it is the first one, too.
        let mut on_several = self.several.as_ref().and(self.own.len().checked_sub(1));
        let mut workers = Vec::new();
        for number in 0..self.own.len() {
            let left = self.left(begun, 0);
            let several = on_several == Some(number);
            workers.push(Some(self.start(number, 0, several, left, &sender)?));
        }
        let mut generation = 0;
        let mut summary = Summary::default();
        let (mut shared, mut told) = (Instant::now(), Instant::now());
        steps.phase("fuzz");
        while workers.iter().any(Option::is_some) {
            match said.recv_timeout(PERIOD) {
                Ok((number, Said::Progress(progress))) => {
                    let found = summary.add(number, *progress);
                    let new = match self.until {
                        Until::Found if summary.confirmed().next().is_some() => break,
                        Until::Found => Vec::new(),
                        Until::TimeIsUp => found,
                    };
                    for found in new {
                        steps.done();
                        history.finding(begun.elapsed(), &found)?;
                        if let Some(shared) = &mut self.shared {
                            shared.finding(&found)?;
                        }
                        if self.arguments.json {
                            say!("{}", summary::finding_object(&found));
                        } else {
                            say!("{}", summary::finding_text(&found));
                        }
                        steps.phase("fuzz");
                    }
                }
                Ok((_, Said::Nonsense(line))) => steps.note(&format!("a worker says {line:?}")),
                Ok((number, Said::End)) => {
                    summary.ended(number);
                    let ended = workers[number].take().map_or(Ok(()), |mut worker| worker.ended());
                    let mut goes_on = on_several.take_if(|several| *several == number).is_some();
                    if let Err(why) = ended {
                        summary.lost += 1;
                        steps.note(&format!("a worker was lost: {why}"));
                        goes_on = true;
                    }
                    let left = self.left(begun, summary.runs());
                    if goes_on && summary.lost < MOST_LOST && !left.is_nothing() {
                        generation += 1;
                        workers[number] =
                            Some(self.start(number, generation, false, left, &sender)?);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            summary.elapsed = begun.elapsed();
            if shared.elapsed() >= PERIOD {
                shared = Instant::now();
                self.share()?;
                for why in self.shared.iter().map(Shared::failures).collect::<Result<Vec<_>>>()? {
                    why.iter().for_each(|why| steps.note(&format!("tried again later: {why}")));
                }
                summary.corpus = self.corpus.names().len();
                summary.added = summary.corpus - at_first;
                steps.at(&summary.line());
                summary.memory.note(workers.iter().flatten().map(Worker::pid));
                history.sample(summary.elapsed, || summary.sample())?;
            }
            if told.elapsed() >= QUIET_PERIOD {
                told = Instant::now();
                if self.arguments.json {
                    say!("{}", summary.object("progress", source)?);
                } else if !steps.is_terminal() {
                    steps.note(&summary.line());
                }
            }
            if self.arguments.time.is_some_and(|time| begun.elapsed() > time + GRACE) {
                steps.note("a worker does not end and is killed");
                break;
            }
        }
        drop(workers);
        self.share()?;
        if let Some(shared) = &mut self.shared {
            steps.phase("write to the store");
            summary.shared = Some(shared.end().map_err(|error| format!("{error:#}")));
            self.share()?;
        }
        summary.corpus = self.corpus.names().len();
        summary.added = summary.corpus - at_first;
        summary.elapsed = begun.elapsed();
        Ok(summary)
    }

    /// What is left to be done after so many runs.
    fn left(&self, begun: Instant, runs: u64) -> Left {
        Left {
            time: self.arguments.time.map(|time| time.saturating_sub(begun.elapsed())),
            runs: self.arguments.runs.map(|all| all.saturating_sub(runs)),
        }
    }

    /// Brings the corpora together.
    fn share(&mut self) -> Result<()> {
        for from in 0..self.own.len() {
            let new = self.corpus.collect(&self.own[from].1)?;
            self.hand_out(&new, Some(from))?;
        }
        let of_several = self.several.as_ref().map(|(_, _, folder)| folder);
        let of_others = self.shared.as_ref().map(|shared| &shared.inbox);
        for folder in [of_several, of_others].into_iter().flatten().cloned().collect::<Vec<_>>() {
            let new = self.corpus.collect(&folder)?;
            self.hand_out(&new, None)?;
        }
        Ok(())
    }

    /// Gives entries to all workers but the one that they are from.
    fn hand_out(&mut self, new: &[Vec<u8>], from: Option<usize>) -> Result<()> {
        for (to, (of_worker, _)) in self.own.iter_mut().enumerate() {
            if Some(to) != from {
                new.iter().try_for_each(|content| of_worker.add(content).map(drop))?;
            }
        }
        Ok(())
    }
}

fn corpus_folder(arguments: &cli::Fuzz, ready: &Ready) -> PathBuf {
    match &arguments.corpus {
        Some(folder) => folder.clone(),
        None => ready.cache_root().join("corpus").join(&arguments.machine.target),
    }
}

/// Opens a corpus, with what campaigns have found that were killed. Beside it comes a folder of this process, deleted
/// at the end: workers write there, and entries until they are whole.
fn open_corpus(folder: &Path) -> Result<(Corpus, tempfile::TempDir)> {
    let mut beside = folder.to_owned().into_os_string();
    beside.push(".workers");
    let beside = PathBuf::from(beside);
    std::fs::create_dir_all(&beside)
        .with_context(|| format!("cannot make {}", beside.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix(&format!("{}-", std::process::id()))
        .tempdir_in(&beside)
        .with_context(|| format!("cannot make a folder in {}", beside.display()))?;
    let mut corpus = Corpus::open(folder, &scratch.path().join("aside"))?;
    take_over(&mut corpus, &beside)?;
    Ok((corpus, scratch))
}

/// Whether calls can meet in an entry of a corpus.
fn has_block(content: &[u8]) -> bool {
    Program::decode(content).steps.iter().any(|step| step.block.is_some())
}

#[derive(Clone, Copy)]
struct Left {
    time: Option<Duration>,
    runs: Option<u64>,
}

impl Left {
    fn is_nothing(self) -> bool {
        self.time.is_some_and(|time| time.is_zero()) || self.runs == Some(0)
    }
}

/// Takes over what workers have found whose supervisor was killed, and deletes their folders.
fn take_over(corpus: &mut Corpus, beside: &Path) -> Result<()> {
    let doing = || format!("taking over what is in {}", beside.display());
    for campaign in std::fs::read_dir(beside).with_context(doing)? {
        let campaign = campaign.with_context(doing)?;
        let name = campaign.file_name();
        let pid = name.to_str().and_then(|name| name.split_once('-')?.0.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        for worker in std::fs::read_dir(campaign.path()).with_context(doing)? {
            let worker = worker.with_context(doing)?.path();
            if worker.is_dir() {
                corpus.collect(&worker)?;
            }
        }
        std::fs::remove_dir_all(campaign.path()).with_context(doing)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use refan_runner::corpus;

    use super::*;

    #[test]
    fn what_a_killed_campaign_has_found_is_taken_over_and_nothing_else_of_it_stays() {
        let top = tempfile::tempdir().expect("a folder");
        let (folder, beside) = (top.path().join("corpus"), top.path().join("corpus.workers"));
        let (_, scratch) = open_corpus(&folder).expect("opened");
        // No process can have this number (PID_MAX_LIMIT in include/linux/threads.h).
        let killed = beside.join("4194305-killed");
        for part in ["0", "aside"] {
            std::fs::create_dir_all(killed.join(part)).expect("made");
        }
        std::fs::write(killed.join("0").join(corpus::name(b"found")), "found").expect("written");
        std::fs::write(killed.join("aside/half"), "fo").expect("written");
        let (taken, own) = open_corpus(&folder).expect("opened");
        assert!(taken.names().iter().eq([&corpus::name(b"found")]));
        assert!(!killed.exists() && scratch.path().exists() && own.path().exists());
        drop((scratch, own));
        assert_eq!(std::fs::read_dir(beside).expect("listed").count(), 0);
    }
}

//! Programs on a kernel whose code counts (gcov), and what its counters come to.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use crate::fuzz::as_searched;
use crate::guest::{Capabilities, Guest};
use crate::prepared::Prepared;
use crate::run;
use crate::suite::Scenario;
use crate::verdict::Verdict;

/// After so many programs a machine is asked for its counters: what it has not told is lost with it.
const BATCH: usize = 20;

/// Of each object file of the kernel its path and what gcov reads.
pub type Counters = Vec<(String, Vec<u8>)>;

/// What programs came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Of each machine what it had counted when it was asked last: since it was started, boot included.
    pub machines: Vec<Counters>,
    /// Programs that held, or of which nothing but what is known was reported.
    pub held: usize,
    /// Those that this kernel lacks something for.
    pub unsupported: usize,
    /// Those without a verdict.
    pub unjudged: usize,
    /// Those that are not counted, since their machine ended before it could be asked.
    pub lost: usize,
    /// What was found: by which program.
    pub findings: Vec<(String, Verdict)>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.machines.extend(other.machines);
        self.held += other.held;
        self.unsupported += other.unsupported;
        self.unjudged += other.unjudged;
        self.lost += other.lost;
        self.findings.extend(other.findings);
    }
}

/// Runs programs side by side on so many machines, each program once; a branch that is to be swept
/// begins with its block. `told` is called with the number of programs that have run.
///
/// # Errors
/// A machine cannot be started, its kernel does not count or is not what it is said to be.
pub fn run(
    prepared: &Prepared,
    programs: &[Scenario],
    machines: usize,
    told: impl Fn(usize) + Sync,
) -> Result<Tally> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counting = Counting::start(prepared)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(program) = programs.get(number) else { return counting.end() };
            counting.run(program)?;
            told(number + 1);
        }
    };
    let tallies: Vec<Result<Tally>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..machines).map(|_| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Tally>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.add(tally?);
    }
    Ok(all)
}

/// One machine after another, as each runs programs until one does not hold.
struct Counting<'a> {
    prepared: &'a Prepared,
    capabilities: Capabilities,
    guest: Option<Guest>,
    /// What the machine had counted when it was asked last, and how many programs it has run since.
    counters: Counters,
    since: usize,
    tally: Tally,
}

impl<'a> Counting<'a> {
    fn start(prepared: &'a Prepared) -> Result<Self> {
        let mut guest = Guest::start(prepared)?;
        let capabilities = guest.probe(prepared)?;
        let counters = guest.counters()?;
        if counters.is_empty() {
            bail!(
                "{} does not count which of its lines are passed: choose the target `gcov`",
                prepared.kernel
            );
        }
        let (guest, tally) = (Some(guest), Tally::default());
        Ok(Self { prepared, capabilities, guest, counters, since: 0, tally })
    }

    fn run(&mut self, scenario: &Scenario) -> Result<()> {
        let program = as_searched(scenario.program.clone());
        if self.capabilities.lacking(&program).is_some() {
            self.tally.unsupported += 1;
            return Ok(());
        }
        let guest = match &mut self.guest {
            Some(guest) => guest,
            empty => empty.insert(Guest::start(self.prepared)?),
        };
        let ran = guest.run(&program)?;
        self.since += 1;
        let is_alive = ran.failure.is_none();
        let restartable = self.capabilities.restartable;
        let (verdict, _) = run::verdict(&program, ran, self.prepared, restartable);
        let is_clean = matches!(verdict, Verdict::Held | Verdict::Unsupported(_));
        match verdict {
            Verdict::Held | Verdict::Known(_) => self.tally.held += 1,
            Verdict::Unsupported(_) => self.tally.unsupported += 1,
            Verdict::None(_) => self.tally.unjudged += 1,
            Verdict::Broken(_) | Verdict::Report(_) => {
                self.tally.findings.push((scenario.name.clone(), verdict));
            }
        }
        if is_clean {
            return if self.since >= BATCH { self.ask() } else { Ok(()) };
        }
        if is_alive && let Err(error) = self.ask() {
            // After what it has been through it need not answer.
            eprintln!("note: {}: {error:#}", scenario.name);
        }
        self.give_up();
        Ok(())
    }

    fn ask(&mut self) -> Result<()> {
        if let Some(guest) = &mut self.guest {
            self.counters = guest.counters().context("asking for counters")?;
            self.since = 0;
        }
        Ok(())
    }

    /// Goes on with another machine.
    fn give_up(&mut self) {
        self.tally.lost += std::mem::take(&mut self.since);
        let counters = std::mem::take(&mut self.counters);
        if !counters.is_empty() {
            self.tally.machines.push(counters);
        }
        self.guest = None;
    }

    fn end(mut self) -> Result<Tally> {
        self.ask()?;
        self.give_up();
        Ok(self.tally)
    }
}

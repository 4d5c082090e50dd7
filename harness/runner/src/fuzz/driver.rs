//! One machine that runs whatever programs come, and what each of them came to.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_program::{Call, Offset, Program, Step};
use refan_wire::{COUNTERS, Record};

use super::race::{Race, Races};
use super::{Confirmer, Found, Key, Progress};
use crate::coverage::Code;
use crate::earlier::Earlier;
use crate::guest::{Capabilities, Guest};
use crate::reach::Reach;
use crate::run;
use crate::verdict::Verdict;
use crate::{Prepared, judge, watchdog};

/// How many counters there are for what the model saw.
pub const MODEL_COUNTERS: usize = 16 << 10;

/// Of how many programs it is asked at a time what they have left in the kernel: listing the live
/// objects takes it as long as some programs take to run.
const BATCH: usize = 20;

/// One in so many programs is run twice, to see whether its coverage is the same.
const COMPARED: u64 = 100;

/// A machine runs so many programs: what ran there before a finding is run again if the finding needs it.
const MOST_EARLIER: usize = 200;

/// The share of the time that races are tried in at other instants is one in so many.
const SHARE_OF_RACES: u32 = 3;

/// Where time is not virtual, no program sleeps longer in all, in milliseconds.
const LONGEST_SLEEP: u64 = 1000;

/// Branches begin before so many nanoseconds, twice what an exec beside three other calls takes on `kasan`: bytes that
/// stand for no more than a number are a start of seconds, and a machine whose time is real would wait for it.
const STARTS: u32 = 1 << 26;

/// What a program leads the search by.
pub struct Feedback {
    /// How often each edge of the kernel was passed, up to 255.
    pub edges: Box<[u8; COUNTERS]>,
    /// What the model saw of it: each counter is 0 or 1.
    pub model: Box<[u8; MODEL_COUNTERS]>,
}

impl Default for Feedback {
    fn default() -> Self {
        Self { edges: Box::new([0; COUNTERS]), model: Box::new([0; MODEL_COUNTERS]) }
    }
}

/// One machine after another, as each runs programs until one does not hold.
pub struct Driver {
    prepared: Prepared,
    capabilities: Capabilities,
    guest: Option<Guest>,
    confirmer: Confirmer,
    /// Whether time is virtual, so that the same comes to the same.
    is_exact: bool,
    /// The findings that were confirmed, or tried to.
    known: HashSet<Key>,
    /// Those that have run since it was last asked what is left of them.
    batch: Vec<Program>,
    /// The races that were met, and those of them that are to be tried at other instants.
    races: Races,
    open: VecDeque<Race>,
    racing: Duration,
    edges: HashSet<u32>,
    states: HashSet<u32>,
    places: BTreeSet<u32>,
    progress: Progress,
    begun: Instant,
}

impl Driver {
    /// Starts the machine. What the code of these folders passes is told; findings go below `findings`.
    /// They are confirmed on `exact`, a deterministic machine with the same kernel, if there is one
    /// beside.
    pub fn start(
        prepared: &Prepared,
        exact: Option<&Prepared>,
        folders: &[&str],
        findings: PathBuf,
    ) -> Result<Self> {
        let begun = Instant::now();
        let code = Code::of(prepared, folders)?;
        let watching = prepared.watching(&code, folders);
        let confirmer = match exact {
            Some(exact) => {
                Confirmer::new([exact.clone(), exact.watching(&code, folders)], findings)
                    .of_campaign_on(watching.clone())
            }
            None => Confirmer::new([prepared.clone(), watching.clone()], findings),
        };
        let capabilities = Guest::start(&watching)?.probe(prepared)?;
        // What a machine has done is all that it runs: a later one begins as this.
        let guest = Guest::start(&watching)?;
        let mut progress = Progress::default();
        progress.shares.restore = begun.elapsed();
        Ok(Self {
            confirmer,
            is_exact: prepared.spec()?.profile.virtual_time.is_some(),
            prepared: watching,
            capabilities,
            guest: Some(guest),
            known: HashSet::new(),
            batch: Vec::new(),
            races: Races::default(),
            open: VecDeque::new(),
            racing: Duration::ZERO,
            edges: HashSet::new(),
            states: HashSet::new(),
            places: BTreeSet::new(),
            progress,
            begun,
        })
    }

    /// Runs and judges the program that some bytes decode to, and says whether it or what it shows of
    /// the programs before it is a finding that is new here.
    ///
    /// # Errors
    /// When no machine can be started any more.
    pub fn run(&mut self, bytes: &[u8], feedback: &mut Feedback) -> Result<Option<Found>> {
        let program = as_searched(Program::decode(bytes));
        feedback.model.fill(0);
        let takes_too_long = !self.is_exact && sleeps(&program) > LONGEST_SLEEP;
        if takes_too_long || self.capabilities.lacking(&program).is_some() {
            self.progress.unsupported += 1;
            feedback.edges.fill(0);
            return Ok(None);
        }
        let (records, found) = self.judged(&program, feedback)?;
        if found.is_some() {
            return Ok(found);
        }
        if !self.is_exact {
            return Ok(None);
        }
        self.open.extend(self.races.new_in(&program, &records));
        if self.racing * SHARE_OF_RACES < self.begun.elapsed() { self.race() } else { Ok(None) }
    }

    /// Runs and judges a program; from time to time also what programs have left behind.
    fn judged(
        &mut self,
        program: &Program,
        feedback: &mut Feedback,
    ) -> Result<(Vec<Record>, Option<Found>)> {
        if self.guest.as_ref().is_some_and(|guest| !watchdog::is_as_set_by(program, guest)) {
            let found = self.account()?;
            self.drop_machine();
            if found.is_some() {
                return Ok((Vec::new(), found));
            }
        }
        let (records, verdict) = self.once(program, feedback)?;
        self.progress.runs += 1;
        if verdict.is_finding() {
            let earlier = self.drop_machine();
            return Ok((records, self.found(program, verdict, &earlier)?));
        }
        if let Some(why) = verdict.obstacle() {
            *self.progress.unjudged.entry(why.to_owned()).or_default() += 1;
        }
        if let Verdict::Known(report) = &verdict {
            *self.progress.known.entry(report.title.clone()).or_default() += 1;
            self.drop_machine();
        }
        if self.guest.is_none() {
            return Ok((records, None));
        }
        let is_compared = self.is_exact
            && self.progress.runs.is_multiple_of(COMPARED)
            // It would find the watchdog as it has left it.
            && !watchdog::is_asked_by(program);
        if is_compared && matches!(verdict, Verdict::Held) {
            let found = self.compare(program, feedback)?;
            if found.is_some() || self.guest.is_none() {
                return Ok((records, found));
            }
        }
        self.batch.push(program.clone());
        if self.batch.len() < BATCH {
            return Ok((records, None));
        }
        let found = self.account()?;
        if self.guest.as_ref().is_some_and(|guest| guest.earlier().len() >= MOST_EARLIER) {
            self.drop_machine();
        }
        Ok((records, found))
    }

    /// Tries a race that was met at another instant.
    fn race(&mut self) -> Result<Option<Found>> {
        let begun = Instant::now();
        let Some(mut race) = self.open.pop_front() else { return Ok(None) };
        let Some(program) = race.next() else { return Ok(None) };
        let (records, found) = self.judged(&program, &mut Feedback::default())?;
        race.note(&program, &records);
        if found.is_none() {
            self.open.push_front(race);
        }
        self.progress.races += 1;
        self.racing += begun.elapsed();
        Ok(found)
    }

    /// What has happened since this was last asked, of what is counted as distinct; else since the
    /// beginning.
    pub fn progress(&mut self) -> Progress {
        self.take_places();
        self.progress.shares.total = self.begun.elapsed();
        let told = self.progress.clone();
        let Progress { edges, states, places, findings, .. } = &mut self.progress;
        for list in [edges, states, places] {
            list.clear();
        }
        findings.clear();
        told
    }

    fn guest(&mut self) -> Result<&mut Guest> {
        if self.guest.is_none() {
            let begun = Instant::now();
            let guest =
                Guest::start(&self.prepared).context("no machine can be started any more")?;
            self.guest = Some(guest);
            self.progress.restarts += 1;
            self.progress.shares.restore += begun.elapsed();
        }
        self.guest.as_mut().context("the machine is gone")
    }

    /// What a machine has seen is in its memory until it is gone. Returns what it had done before its last
    /// program.
    fn drop_machine(&mut self) -> Vec<Earlier> {
        self.take_places();
        self.batch.clear();
        self.guest.take().map(|guest| guest.earlier().to_vec()).unwrap_or_default()
    }

    fn take_places(&mut self) {
        let passed = self.guest.as_ref().map(Guest::places_passed).unwrap_or_default();
        let new = passed.into_iter().filter(|place| self.places.insert(*place));
        self.progress.places.extend(new);
    }

    fn once(
        &mut self,
        program: &Program,
        feedback: &mut Feedback,
    ) -> Result<(Vec<Record>, Verdict)> {
        let guest = self.guest()?;
        let begun = Instant::now();
        let run = guest.run(program)?;
        let in_guest = guest.waited();
        guest.take_counters(&mut feedback.edges);
        let transport = begun.elapsed().saturating_sub(in_guest);
        let begun = Instant::now();
        let records = run.records.clone().unwrap_or_default();
        let whole = run.failure.is_none() && judge::is_whole(program, &records);
        let restartable = self.capabilities.restartable;
        let (verdict, reached) = run::verdict(program, run, &self.prepared, restartable);
        let reach = Reach::of(program, &records, reached);
        self.note(&reach, feedback);
        self.progress.shares.judging += begun.elapsed();
        self.progress.shares.guest += in_guest;
        self.progress.shares.transport += transport;
        if verdict.is_finding() {
            return Ok((records, verdict));
        }
        if !whole {
            self.drop_machine();
        }
        Ok((records, verdict))
    }

    fn note(&mut self, reach: &Reach, feedback: &mut Feedback) {
        for what in reach.reached.keys() {
            *self.progress.reached.entry(what.name().to_owned()).or_default() += 1;
        }
        for feature in &reach.features {
            feedback.model[*feature as usize % MODEL_COUNTERS] = 1;
            if self.states.insert(*feature) {
                self.progress.states.push(*feature);
            }
        }
        let passed = (0..).zip(feedback.edges.iter()).filter(|(_, count)| **count > 0);
        let new = passed.map(|(edge, _)| edge).filter(|edge| self.edges.insert(*edge));
        self.progress.edges.extend(new);
    }

    /// Runs a program that has held once more, on the machine as it is now.
    fn compare(&mut self, program: &Program, first: &Feedback) -> Result<Option<Found>> {
        let mut second = Feedback::default();
        let (_, verdict) = self.once(program, &mut second)?;
        if verdict.is_finding() {
            let earlier = self.drop_machine();
            return self.found(program, verdict, &earlier);
        }
        if matches!(verdict, Verdict::Held) {
            let passed = |feedback: &Feedback| feedback.edges.map(|count| count > 0);
            self.progress.compared += 1;
            self.progress.unstable += u64::from(passed(first) != passed(&second));
        }
        Ok(None)
    }

    /// Asks what the programs since it was last asked have left, and if there is anything which of
    /// them has.
    fn account(&mut self) -> Result<Option<Found>> {
        let begun = Instant::now();
        let leaks = self.guest()?.account();
        self.progress.shares.accounting += begun.elapsed();
        let batch = std::mem::take(&mut self.batch);
        let Some(last) = batch.last() else { return Ok(None) };
        let verdict = match leaks {
            Ok(leaks) => match judge::leaked(last, &leaks) {
                Some(violation) => Verdict::Broken(violation),
                None => return Ok(None),
            },
            Err(error) => Verdict::None(format!("{error:#}")),
        };
        self.drop_machine();
        if !verdict.is_finding() {
            return Ok(None);
        }
        let begun = Instant::now();
        let leaking = self.confirmer.leaking(&batch)?;
        self.progress.shares.confirming += begun.elapsed();
        self.found(leaking.unwrap_or(last), verdict, &[])
    }

    fn found(
        &mut self,
        program: &Program,
        verdict: Verdict,
        earlier: &[Earlier],
    ) -> Result<Option<Found>> {
        let Some(key) = Key::of(program, &verdict).filter(|key| self.known.insert(key.clone()))
        else {
            return Ok(None);
        };
        let begun = Instant::now();
        let mut hasher = DefaultHasher::new();
        program.encode().hash(&mut hasher);
        let name = format!("fuzz/{:016x}", hasher.finish());
        let found = self.confirmer.confirm(&name, program, verdict, key, earlier)?;
        self.progress.shares.confirming += begun.elapsed();
        self.known.insert(found.key.clone());
        self.progress.findings.push(found.clone());
        Ok(Some(found))
    }
}

/// How long a program sleeps in all, in milliseconds.
fn sleeps(program: &Program) -> u64 {
    let of_step = |step: &Step| match step.call.innermost() {
        Call::Sleep { ms } => u64::from(*ms),
        _ => 0,
    };
    program.steps.iter().map(of_step).sum()
}

/// The program as a search runs it. A sweep is many runs of one program; here it is one, with the branch at the
/// instant. And no branch begins long after all others are over: what is left of a later start is a start among
/// them.
pub fn as_searched(mut program: Program) -> Program {
    for start in program.steps.iter_mut().filter_map(|step| step.start.as_mut()) {
        start.at = match start.at {
            Offset::Sweep => Offset::Nanoseconds(0),
            Offset::Nanoseconds(at) => Offset::Nanoseconds(at % STARTS),
        };
    }
    program
}

#[cfg(test)]
mod tests {
    use refan_program::Start;

    use super::*;

    #[test]
    fn branches_begin_soon_and_at_one_instant() {
        let searched = |start: &str| {
            let text = format!("par {{\n    dup(0)\n    a = spawn dup(1) @ {start}\n}}\n");
            as_searched(refan_program::parse(&text).expect("a program")).steps[1].start
        };
        for (start, at) in [("sweep", 0), ("67108848ns", 67_108_848), ("2728781281ns", 44_426_721)]
        {
            let at = Offset::Nanoseconds(at);
            assert_eq!(searched(start), Some(Start { at, priority: 1 }), "{start}");
        }
    }

    #[test]
    fn sleeps_add_up() {
        let program = refan_program::parse("sleep(5)\nopen(f0, O_RDONLY)\nsleep(250)\n");
        assert_eq!(sleeps(&program.expect("a program")), 255);
    }
}

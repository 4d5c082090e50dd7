//! A running machine that takes jobs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refan_abi::{ApiValues, Errno};
use refan_program::{Facility, Program};
use refan_vm::{Machine, MachineError, SharedMemory};
use refan_wire::{COUNTERS, Job, Leak, Placed, PlacesError, Record, RegionError};

use crate::earlier::Earlier;
use crate::prepared::{Declared, Prepared};

/// What the kernel under test can do.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// It has restartable events.
    pub restartable: bool,
    /// What it has that not every kernel has.
    pub facilities: Vec<Facility>,
}

impl Capabilities {
    /// Why a program cannot be judged here, if it needs what the kernel lacks.
    pub fn lacking(&self, program: &Program) -> Option<String> {
        let lacks: Vec<&str> = program
            .needs()
            .filter(|facility| !self.facilities.contains(facility))
            .map(Facility::name)
            .collect();
        (!lacks.is_empty()).then(|| format!("not judged: the kernel lacks {}", lacks.join(" and ")))
    }
}

/// A machine with an agent that waits for a job.
pub struct Guest {
    machine: Machine,
    api: ApiValues,
    patience: Duration,
    jobs: u64,
    programs: u32,
    /// What it has done since it was started, as far as programs may depend on it.
    done: Vec<Earlier>,
    console_seen: u64,
    waited: Duration,
}

/// What a job left behind.
pub struct Run {
    /// The trace as far as it was written, or why it is none.
    pub records: Result<Vec<Record>, RegionError>,
    /// What the console printed meanwhile.
    pub console: String,
    /// How the machine ended, if it did.
    pub failure: Option<MachineError>,
}

impl Guest {
    /// Starts a machine: from its snapshot, or where there is none by booting.
    pub fn start(prepared: &Prepared) -> Result<Self> {
        let spec = prepared.spec()?;
        let prepare = || {
            let shared = SharedMemory::new(spec.profile.shared_bytes())?;
            format(prepared, &shared).map_err(std::io::Error::other)?;
            Ok(shared)
        };
        let deadline = Instant::now() + prepared.patience;
        let machine = match prepared.open_snapshot()? {
            Some(snapshot) => Machine::restore_or_boot(&spec, &snapshot, prepare, deadline).map(
                |(machine, failure)| {
                    if let Some(failure) = failure {
                        eprintln!("note: the snapshot was not restored, so the machine was booted: {failure}");
                    }
                    machine
                },
            ),
            None => {
                Machine::boot(&spec, prepare().context("cannot make the shared memory")?, deadline)
            }
        };
        let machine = machine.context("the machine did not start")?;
        let console_seen = machine.console().len();
        let Prepared { api, patience, mutant, .. } = *prepared;
        let waited = Duration::ZERO;
        let (jobs, programs, done) = (0, 0, Vec::new());
        let mut guest = Self { machine, api, patience, jobs, programs, done, console_seen, waited };
        mutant.map_or(Ok(()), |switch| guest.set_mutant(switch))?;
        Ok(guest)
    }

    /// Loads a machine that somebody else lets run, by its gdbstub on this socket ([`Guest::begin`] goes
    /// on then). A job may take as long as they like.
    pub(crate) fn load_for_gdb(prepared: &Prepared, socket: &Path) -> Result<Self> {
        const LONG: Duration = Duration::from_secs(24 * 60 * 60);
        let spec = prepared.spec()?;
        let snapshot = prepared.open_snapshot()?.context(
            "there is no snapshot of the machine, so that it would boot, and not be the same",
        )?;
        let shared = SharedMemory::new(spec.profile.shared_bytes())
            .context("cannot make the shared memory")?;
        format(prepared, &shared)?;
        let deadline = Instant::now() + prepared.patience;
        let machine = Machine::restore_for_gdb(&spec, &snapshot, shared, socket, deadline)
            .context("the machine did not start")?;
        let console_seen = machine.console().len();
        let (api, waited) = (prepared.api, Duration::ZERO);
        let (jobs, programs, done) = (0, 0, Vec::new());
        Ok(Self { machine, api, patience: LONG, jobs, programs, done, console_seen, waited })
    }

    /// Waits until the machine rings for the first time, and has its kernel be what it is told to be.
    pub(crate) fn begin(&mut self, mutant: Option<u32>) -> Result<()> {
        self.machine.wait_ring(Instant::now() + self.patience)?;
        mutant.map_or(Ok(()), |switch| self.set_mutant(switch))
    }

    /// QEMU's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.machine.pid()
    }

    /// The memory in which the trace grows.
    pub(crate) fn shared(&self) -> &SharedMemory {
        self.machine.shared()
    }

    /// Has the kernel be the mutant of this number from now on.
    fn set_mutant(&mut self, switch: u32) -> Result<()> {
        self.done(&Job::SetMutant { switch }).context("setting the kernel's mutant")
    }

    /// Whether it has done anything since it was started.
    pub fn is_used(&self) -> bool {
        self.jobs > 0
    }

    /// The command that runs the machine.
    pub fn command_line(&self) -> Vec<String> {
        let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
        self.machine.command_line().iter().map(text).collect()
    }

    /// Asks what the kernel can do, and holds it against what it declares.
    pub fn probe(&mut self, prepared: &Prepared) -> Result<Capabilities> {
        let run = self.job(&Job::Probe { api: self.api_pair() })?;
        if let Some(failure) = run.failure {
            return Err(failure).context("the machine failed while its kernel was probed");
        }
        let records = run.records.context("the probe's answer")?;
        let [
            Record::Probe {
                release,
                init,
                open_queue,
                classic,
                facilities,
                timer_resolution,
                processors,
            },
        ] = &records[..]
        else {
            bail!("the probe was answered with {records:?}");
        };
        if let Some(errno) = Errno::from_return(*classic) {
            bail!("fanotify of kernel {release} gives no group for permission events: {errno}");
        }
        if *timer_resolution != 1 {
            bail!("kernel {release} has no high-resolution timers here ({timer_resolution} ns)");
        }
        let cpus = prepared.spec()?.profile.cpus;
        if *processors != cpus {
            bail!(
                "kernel {release} runs on {processors} of the machine's {cpus} processors: it shows nothing of what \
                 they do side by side; choose a machine with as many as it takes, by `--machine`"
            );
        }
        let accepts = Errno::from_return(*init).is_none();
        let opens = accepts && Errno::from_return(*open_queue).is_none();
        if accepts && !opens {
            bail!(
                "kernel {release} takes the flag of restartable events, but the ioctl that opens a queue fails \
                 ({}): it claims a feature that it lacks",
                Errno::from_return(*open_queue).map_or_else(String::new, |errno| errno.to_string())
            );
        }
        match (prepared.declared, opens) {
            (Declared::Present, false) => bail!(
                "kernel {release} has no restartable events, though it is said to have them: choose `--series \
                 restartable` to add them or `--series none` to test it without"
            ),
            (Declared::Absent, true) => {
                bail!("kernel {release} has restartable events, though it is said to have none")
            }
            _ => Ok(Capabilities {
                restartable: opens,
                facilities: Facility::ALL
                    .into_iter()
                    .filter(|facility| facilities.iter().any(|name| name == facility.name()))
                    .collect(),
            }),
        }
    }

    /// Copies the counters of edges out, raised since this was last done.
    pub fn take_counters(&self, into: &mut [u8; COUNTERS]) {
        refan_wire::take_counters(self.machine.shared(), into);
    }

    /// The numbers of the places that have been passed, ascending.
    pub fn places_passed(&self) -> Vec<u32> {
        refan_wire::places_passed(self.machine.shared())
    }

    /// How long the machine took to do its last job.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How many programs it has run.
    pub fn programs(&self) -> u32 {
        self.programs
    }

    /// What it has done so far.
    pub fn so_far(&self) -> &[Earlier] {
        &self.done
    }

    /// What it had done when it began with the program that it ran last.
    pub fn earlier(&self) -> &[Earlier] {
        let last = self.done.iter().rposition(|one| matches!(one, Earlier::Program(_)));
        &self.done[..last.unwrap_or(self.done.len())]
    }

    /// Runs a program.
    pub fn run(&mut self, program: &Program) -> Result<Run> {
        self.programs += 1;
        self.done.push(Earlier::Program(program.clone()));
        self.job(&Job::Run { api: self.api_pair(), program: program.bare().encode() })
    }

    /// Runs programs one after another and tells nothing of them but how many left nothing behind: all,
    /// or those before the first one that has. The machine has to be given up then.
    pub fn replay(&mut self, programs: &[Program]) -> Result<usize> {
        self.programs += programs.len() as u32;
        let programs = programs.iter().map(|program| program.bare().encode()).collect();
        self.count(&Job::Replay { api: self.api_pair(), programs })
    }

    /// Makes the bare calls of a restart so often.
    pub fn cycle(&mut self, times: u32) -> Result<()> {
        self.count(&Job::Cycle { api: self.api_pair(), times }).map(drop)
    }

    fn count(&mut self, job: &Job) -> Result<usize> {
        let run = self.job(job)?;
        if let Some(failure) = run.failure {
            return Err(failure).context("the machine failed meanwhile");
        }
        match run.records.context("the answer")?.as_slice() {
            [Record::Done { count }] => Ok(*count as usize),
            [Record::Broken { what }] => bail!("{what}"),
            records => bail!("it was answered with {records:?}"),
        }
    }

    /// What the programs that have run here have left in the kernel beyond what each was asked for.
    pub fn account(&mut self) -> Result<Vec<Leak>> {
        self.done.push(Earlier::Account);
        let run = self.job(&Job::Account)?;
        if let Some(failure) = run.failure {
            return Err(failure).context("the machine failed in the accounting");
        }
        match <[Record; 1]>::try_from(run.records.context("the accounting's answer")?) {
            Ok([Record::Accounts { leaks }]) => Ok(leaks),
            Ok([record]) => bail!("the accounting was answered with {record:?}"),
            Err(records) => bail!("the accounting was answered with {records:?}"),
        }
    }

    /// What kmemleak says of objects that nothing refers to any more; None where the kernel does not
    /// look for them.
    pub fn unreferenced(&mut self) -> Result<Option<String>> {
        let run = self.job(&Job::FindUnreferenced)?;
        if let Some(failure) = run.failure {
            return Err(failure).context("the machine failed while it looked for leaks");
        }
        match <[Record; 1]>::try_from(run.records.context("the answer about leaks")?) {
            Ok([Record::Unreferenced { objects }]) => Ok(objects),
            Ok([record]) => bail!("the question about leaks was answered with {record:?}"),
            Err(records) => bail!("the question about leaks was answered with {records:?}"),
        }
    }

    /// How often the kernel's lines and branches have been passed since it was started: by object file
    /// what gcov reads. Nothing where the kernel does not count.
    pub fn counters(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let run = self.job(&Job::Counters)?;
        if let Some(failure) = run.failure {
            return Err(failure).context("the machine failed while its counters were read");
        }
        let records = run.records.context("the answer about counters")?;
        let counters = records.into_iter().map(|record| match record {
            Record::Counters { path, bytes } => Ok((path, bytes)),
            Record::Broken { what } => bail!("{what}"),
            record => bail!("the question about counters was answered with {record:?}"),
        });
        counters.collect()
    }

    /// Makes the file systems that a command finds.
    pub(crate) fn furnish(&mut self) -> Result<()> {
        self.done(&Job::Furnish).context("making file systems in the guest")
    }

    /// Puts files there; the bytes of regular ones are given one behind the other.
    pub(crate) fn place(&mut self, files: Vec<Placed>, bytes: &[u8]) -> Result<()> {
        refan_wire::attach(self.machine.shared(), bytes)?;
        self.done(&Job::Place { files })
    }

    /// How many bytes go with a job.
    pub(crate) fn attachable(&self) -> usize {
        refan_wire::attachable(self.machine.shared())
    }

    /// Has a job done that is answered with nothing.
    fn done(&mut self, job: &Job) -> Result<()> {
        let run = self.job(job)?;
        if let Some(failure) = run.failure {
            return Err(failure).context("the machine failed meanwhile");
        }
        match run.records.context("the answer")?.as_slice() {
            [] => Ok(()),
            [Record::Broken { what }] => bail!("{what}"),
            records => bail!("it was answered with {records:?}"),
        }
    }

    fn api_pair(&self) -> (u32, u32) {
        (self.api.init_flag, self.api.open_queue_ioctl)
    }

    fn job(&mut self, job: &Job) -> Result<Run> {
        self.job_by(job, Instant::now() + self.patience)
    }

    /// Has a job done by the deadline.
    pub(crate) fn job_by(&mut self, job: &Job, deadline: Instant) -> Result<Run> {
        self.jobs += 1;
        refan_wire::put_job(self.machine.shared(), self.jobs, job)
            .context("cannot hand over a job")?;
        let begun = Instant::now();
        let failure =
            self.machine.open_gate().and_then(|()| self.machine.wait_ring(deadline)).err();
        self.waited = begun.elapsed();
        let shared = self.machine.shared();
        let answered = match failure {
            None => refan_wire::check_answered(shared, self.jobs),
            Some(_) => Ok(()),
        };
        let records = answered
            .and_then(|()| refan_wire::take_trace(shared))
            .and_then(|bytes| refan_wire::decode_trace(&bytes));
        let console = self.machine.console().read_from(self.console_seen);
        self.console_seen += console.len() as u64;
        Ok(Run { records, console: String::from_utf8_lossy(&console).into_owned(), failure })
    }
}

/// Writes what the guest finds in its memory when it starts.
fn format(prepared: &Prepared, shared: &SharedMemory) -> Result<(), PlacesError> {
    refan_wire::format(shared);
    let watched = prepared.watched.as_ref();
    let (ranges, left_out) =
        watched.map_or_else(Default::default, |it| (&it.ranges[..], &it.left_out[..]));
    refan_wire::watch(shared, ranges, left_out)
}

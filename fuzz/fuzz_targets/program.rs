//! Programs against the kernel: any bytes are one, which a machine runs and the model judges.
//!
//! The process drives one machine. What is told to it comes by the environment:
//!
//! - `REFAN_PREPARED`: a file with what the machine is made from (`refan_runner::Prepared` as JSON).
//!   Without it the target `kasan` is taken, as `cargo xtask test --prepare --target kasan` left it.
//! - `REFAN_EXACT`: the same of a deterministic machine with that kernel, on which findings are confirmed
//!   instead.
//! - `REFAN_CAMPAIGN`: a folder for findings. With it a finding is kept there and the campaign goes
//!   on, and each second a line on standard output tells how it goes (`refan_runner::fuzz::Progress`
//!   as JSON). Without it a finding ends the process, as drivers of libFuzzer expect.
//! - `REFAN_SECONDS`: how long a campaign goes on. libFuzzer's own limit does not hold while it runs what
//!   it begins with.
//! - `REFAN_RAN`: a file to which every program that is run is appended, each behind the length of its
//!   binary form as four bytes, the lowest first.
//! - `REFAN_COVER`: folders of the kernel's source to be covered beside `fs/notify`, with `:` between.
#![no_main]

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use refan_runner::Prepared;
use refan_runner::cache::Cache;
use refan_runner::fuzz::{Driver, Feedback, MODEL_COUNTERS};

const EDGES: usize = refan_wire::COUNTERS;

/// What libFuzzer reads after each run and clears before the next one (`FuzzerExtraCounters.cpp`).
#[used]
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; EDGES + MODEL_COUNTERS + 1] =
    [const { AtomicU8::new(0) }; EDGES + MODEL_COUNTERS + 1];

/// How often it is told how it goes.
const PERIOD: Duration = Duration::from_secs(1);

struct Session {
    driver: Driver,
    feedback: Feedback,
    campaign: bool,
    told: Instant,
    until: Option<Instant>,
    ran: Option<BufWriter<File>>,
}

/// Not local to the thread: what is local is gone when the functions run that run at exit.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// Does something with the session, if it has begun. Who panicked with it has ended the process.
fn with_session(act: impl FnOnce(&mut Session)) {
    if let Ok(mut session) = SESSION.try_lock()
        && let Some(session) = session.as_mut()
    {
        act(session);
    }
}

fn begin() {
    let session = Session::begin().unwrap_or_else(|error| fail(&error));
    if let Ok(mut place) = SESSION.lock() {
        *place = Some(session);
    }
    // SAFETY: the function lasts as long as the process.
    unsafe { libc::atexit(tell_at_exit) };
}

fn write_ran(ran: &mut impl Write, data: &[u8]) -> std::io::Result<()> {
    ran.write_all(&(data.len() as u32).to_le_bytes())?;
    ran.write_all(data)
}

extern "C" fn tell_at_exit() {
    with_session(|session| {
        if session.campaign {
            session.tell();
        }
    });
}

/// Ends the process where nothing is found and nothing can be any more.
fn fail(error: &anyhow::Error) -> ! {
    eprintln!("error: {error:#}");
    // SAFETY: ends the process without the functions that run at exit, by one of which libFuzzer takes an exit from
    // within its target for something found.
    unsafe { libc::_exit(3) }
}

impl Session {
    fn begin() -> anyhow::Result<Self> {
        let told = |name: &str| -> anyhow::Result<Option<Prepared>> {
            let Some(file) = std::env::var_os(name) else { return Ok(None) };
            let doing = || format!("cannot read {}", Path::new(&file).display());
            let text = std::fs::read(&file).with_context(doing)?;
            Ok(Some(serde_json::from_slice(&text).with_context(doing)?))
        };
        let exact = told("REFAN_EXACT")?;
        let prepared = match told("REFAN_PREPARED")? {
            Some(prepared) => prepared,
            None => {
                let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
                let repository = repository.parent().unwrap_or(repository);
                Prepared::load(&Cache::open()?, repository, "kasan")?
            }
        };
        let campaign = std::env::var_os("REFAN_CAMPAIGN").map(PathBuf::from);
        let cover = std::env::var_os("REFAN_COVER").map(OsString::into_string);
        let cover = cover.transpose().map_err(|text| anyhow::anyhow!("{text:?} is no text"))?;
        let folders: Vec<&str> = std::iter::once("fs/notify")
            .chain(cover.iter().flat_map(|text| text.split(':')))
            .filter(|folder| !folder.is_empty())
            .collect();
        let findings = campaign.clone().unwrap_or_else(|| PathBuf::from("artifacts"));
        let driver = Driver::start(&prepared, exact.as_ref(), &folders, findings)?;
        let (feedback, campaign) = (Feedback::default(), campaign.is_some());
        let seconds = std::env::var("REFAN_SECONDS").ok().map(|text| text.parse()).transpose()?;
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let ran = std::env::var_os("REFAN_RAN").map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { driver, feedback, campaign, told: Instant::now(), until, ran })
    }

    fn run(&mut self, data: &[u8]) {
        let found = match self.driver.run(data, &mut self.feedback) {
            Ok(found) => found,
            Err(error) => fail(&error),
        };
        if let Some(ran) = &mut self.ran
            && let Err(error) = write_ran(ran, data)
        {
            fail(&error.into());
        }
        let counts = self.feedback.edges.iter().chain(self.feedback.model.iter());
        // The last one is for libFuzzer, which takes a program without any for a target without.
        for (counter, count) in COUNTERS.iter().zip(counts.chain([&1])) {
            counter.store(*count, Ordering::Relaxed);
        }
        if let Some(found) = found.filter(|_| !self.campaign) {
            panic!("{}\n{}\n{}", found.key, found.verdict, found.program);
        }
        let is_over = self.until.is_some_and(|until| Instant::now() >= until);
        if self.campaign && (is_over || self.told.elapsed() >= PERIOD) {
            self.tell();
        }
        if is_over {
            if self.ran.as_mut().is_some_and(|ran| ran.flush().is_err()) {
                // SAFETY: as in `fail`.
                unsafe { libc::_exit(3) }
            }
            // SAFETY: as in `fail`.
            unsafe { libc::_exit(0) }
        }
    }

    /// A campaign that nobody listens to is over.
    fn tell(&mut self) {
        self.told = Instant::now();
        let told = serde_json::to_string(&self.driver.progress())
            .map_err(anyhow::Error::from)
            .and_then(|line| Ok(writeln!(std::io::stdout().lock(), "{line}")?));
        if told.is_err() {
            // SAFETY: ends the process without the functions that run at exit, of which this can be one.
            unsafe { libc::_exit(3) }
        }
    }
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| {
    with_session(|session| session.run(data));
});

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    refan_program::mutate::mutate(data, size, max_size, seed)
});

libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    refan_program::mutate::crossover(one, other, out, seed)
});

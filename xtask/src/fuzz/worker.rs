//! A worker: a process of the fuzz target, which drives one machine.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use refan_runner::fuzz::Progress;
use rustix::process::Signal;

/// Longest program in bytes: more steps than that are no shorter way to anything.
const MAX_LEN: u32 = 2048;

/// What a worker says.
pub enum Said {
    /// How it goes.
    Progress(Box<Progress>),
    /// A line that is not what workers say.
    Nonsense(String),
    /// Nothing more: its process ends.
    End,
}

/// What a worker's process is started with.
pub struct Order<'a> {
    /// The fuzz target.
    pub target: &'a Path,
    /// A file with what its machine is made from.
    pub prepared: &'a Path,
    /// The same of the machine on which its findings are confirmed, if that is another one.
    pub exact: Option<&'a Path>,
    /// Where its findings go.
    pub findings: &'a Path,
    /// Folders of the kernel's source beside the one that is always covered.
    pub cover: &'a [String],
    /// Where it finds its corpus, and adds to it.
    pub corpus: &'a Path,
    /// Seed of the engine.
    pub seed: u32,
    /// How many runs it makes, if they are counted.
    pub runs: Option<u64>,
    /// How many seconds it goes on, if they are.
    pub seconds: Option<u64>,
    /// Where it writes down what it has run, if that is asked for.
    pub ran: Option<&'a Path>,
}

/// A running worker; dropping it kills and reaps it.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts it from the thread that lasts as long as the process, whose end is then its end too
    /// (`PR_SET_PDEATHSIG` of `prctl(2)`). What it says comes by `said`, with its number.
    pub fn start(
        number: usize,
        order: &Order<'_>,
        log: PathBuf,
        said: Sender<(usize, Said)>,
    ) -> Result<Self> {
        let doing = || format!("cannot start {}", order.target.display());
        let output = File::options().create(true).append(true).open(&log).with_context(doing)?;
        let mut command = Command::new(order.target);
        let option = |name: &str, value: u64| OsString::from(format!("-{name}={value}"));
        // What libFuzzer leaves of a worker that it loses stays with the worker.
        let mut prefix = OsString::from("-artifact_prefix=");
        prefix.push(log.with_extension("left-"));
        command.arg(order.corpus).arg(prefix).args([
            option("seed", order.seed.into()),
            option("max_len", MAX_LEN.into()),
            // Long programs are as welcome as short ones from the beginning.
            option("len_control", 0),
            // A machine that hangs has deadlines of its own, and findings are confirmed in between.
            option("timeout", 0),
            option("rss_limit_mb", 0),
            option("detect_leaks", 0),
            option("runs", order.runs.unwrap_or(u64::from(u32::MAX >> 1))),
        ]);
        if let Some(seconds) = order.seconds {
            command.env("REFAN_SECONDS", seconds.to_string());
        }
        if let Some(exact) = order.exact {
            command.env("REFAN_EXACT", exact);
        }
        if let Some(ran) = order.ran {
            command.env("REFAN_RAN", ran);
        }
        command
            .env("REFAN_PREPARED", order.prepared)
            .env("REFAN_CAMPAIGN", order.findings)
            .env("REFAN_COVER", order.cover.join(":"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(output);
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec only two system calls are made.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                match rustix::process::getppid() {
                    Some(pid) if pid == parent => Ok(()),
                    _ => Err(std::io::ErrorKind::BrokenPipe.into()),
                }
            });
        }
        let mut child = command.spawn().with_context(doing)?;
        let lines = child.stdout.take().context("a worker without output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let what = match serde_json::from_str(&line) {
                    Ok(progress) => Said::Progress(Box::new(progress)),
                    Err(_) => Said::Nonsense(line),
                };
                if said.send((number, what)).is_err() {
                    return;
                }
            }
            // Where nobody listens any more, nobody wants to know.
            let _ = said.send((number, Said::End));
        });
        Ok(Self { child, log })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of a process that has nothing more to say. Says how it went, if not well.
    pub fn ended(&mut self) -> Result<(), String> {
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("it ended with {status}: {}", self.last_words())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What it wrote for people about its end: from the error on, else the last lines.
    fn last_words(&self) -> String {
        const LINES: usize = 5;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let is_error = |line: &&str| line.starts_with("error: ") || line.contains(" panicked at ");
        let from = lines.iter().rposition(is_error);
        let from = from.unwrap_or_else(|| lines.len().saturating_sub(LINES));
        lines[from..].iter().take(LINES).copied().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended; and it dies with this process anyway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

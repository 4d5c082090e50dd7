//! Brings a folder and a store together, for as long as its standard input is open.
//!
//! `cargo xtask fuzz --store` runs it beside a campaign, as a process of its own: it outlives a campaign that is
//! killed by as long as it takes to write what that one has found.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use refan_runner::fuzz::{Exchanged, ToShare};
use refan_store::{Exchange, Findings, Objects};

/// How often it is looked for entries that the campaign has added.
const PUSH: Duration = Duration::from_secs(1);

/// How often it is asked what others have added: that is a list of the whole corpus.
const PULL: Duration = Duration::from_secs(10);

/// The corpus that campaigns share.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Exchange entries until standard input ends; findings are named there, an object a line
    Exchange {
        /// Folder or URL of the store
        store: String,
        /// The campaign's corpus
        corpus: PathBuf,
        /// Where to put what others have added
        inbox: PathBuf,
    },
    /// Take what the store has, once
    Fetch {
        /// Folder or URL of the store
        store: String,
        /// Folder for the entries that are not in it
        corpus: PathBuf,
        /// Folder for the findings
        findings: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Exchange { store, corpus, inbox } => Objects::open(&store)
            .map_err(Into::into)
            .and_then(|objects| Session::open(&objects, &corpus, &inbox)?.run()),
        Command::Fetch { store, corpus, findings } => fetch(&store, &corpus, &findings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// A folder's temporary files are beside it, so that they can be moved there.
fn aside(folder: &std::path::Path) -> PathBuf {
    let mut name = folder.to_owned().into_os_string();
    name.push(".aside");
    name.into()
}

fn fetch(store: &str, corpus: &std::path::Path, findings: &std::path::Path) -> Result<()> {
    let objects = Objects::open(store)?;
    let aside = aside(corpus);
    std::fs::create_dir_all(corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let pulled = Exchange::open(corpus, corpus, &aside)?.pull(&objects)?;
    std::fs::remove_dir(&aside).with_context(|| format!("cannot delete {}", aside.display()))?;
    let new = Findings::of(&objects).pull(findings)?;
    for folder in new {
        println!("{}", folder.display());
    }
    tell(&Exchanged::End { pulled, pushed: 0, findings: 0 })
}

struct Session<'a> {
    objects: &'a Objects,
    exchange: Exchange,
    /// Findings that are not in the store yet.
    to_share: Vec<ToShare>,
    pulled: usize,
    pushed: usize,
    shared: usize,
}

impl<'a> Session<'a> {
    fn open(
        objects: &'a Objects,
        corpus: &std::path::Path,
        inbox: &std::path::Path,
    ) -> Result<Self> {
        let exchange = Exchange::open(corpus, inbox, &aside(inbox))?;
        Ok(Self { objects, exchange, to_share: Vec::new(), pulled: 0, pushed: 0, shared: 0 })
    }

    fn run(mut self) -> Result<()> {
        self.pulled = self.exchange.pull(self.objects)?;
        tell(&Exchanged::Ready { pulled: self.pulled })?;
        let lines = lines();
        let mut pulled = Instant::now();
        loop {
            match lines.recv_timeout(PUSH) {
                Ok(line) => {
                    let told = serde_json::from_str(&line);
                    self.to_share.push(told.with_context(|| format!("no finding: {line:?}"))?);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Err(error) = self.push() {
                tell(&Exchanged::Failed { why: format!("{error:#}") })?;
            }
            if pulled.elapsed() >= PULL {
                pulled = Instant::now();
                match self.exchange.pull(self.objects) {
                    Ok(new) => self.pulled += new,
                    Err(error) => tell(&Exchanged::Failed { why: format!("{error:#}") })?,
                }
            }
        }
        self.push()?;
        let Self { pulled, pushed, shared: findings, .. } = self;
        // Who was killed hears nothing any more, and all is done.
        let _ = tell(&Exchanged::End { pulled, pushed, findings });
        Ok(())
    }

    fn push(&mut self) -> Result<()> {
        self.pushed += self.exchange.push(self.objects)?;
        while let Some(finding) = self.to_share.first() {
            let findings = Findings::of(self.objects);
            self.shared += usize::from(findings.push(&finding.title, &finding.folder)?);
            self.to_share.remove(0);
        }
        Ok(())
    }
}

/// The lines of standard input as they come.
fn lines() -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn tell(what: &Exchanged) -> Result<()> {
    let line = serde_json::to_string(what).context("JSON")?;
    writeln!(std::io::stdout().lock(), "{line}").context("cannot write to standard output")
}

//! A corpus that other campaigns share: the process that exchanges it with a store (`harness/store`).

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};

use anyhow::{Context, Result, bail};
use refan_runner::fuzz::{Exchanged, Found, ToShare};

use crate::exit::usage;

const GONE: &str = "the corpus is not exchanged any more";

/// What a campaign has of the exchange.
pub struct Shared {
    /// Where entries of others come in.
    pub inbox: PathBuf,
    child: Child,
    said: Receiver<Exchanged>,
    log: PathBuf,
}

impl Shared {
    /// Begins it for the corpus in a folder, with `store` as `--store` names it. All that the store has is in
    /// the inbox, a folder in `scratch`, when this returns.
    pub fn begin(repository: &Path, store: &str, corpus: &Path, scratch: &Path) -> Result<Self> {
        let (inbox, log) = (scratch.join("inbox"), scratch.join("exchange.log"));
        let doing = || format!("cannot exchange the corpus with {store}");
        let output = std::fs::File::create(&log).with_context(doing)?;
        let mut child = Command::new(super::release(repository, "refan-store", "refan-store")?)
            .args(["exchange", store])
            .args([corpus, &inbox])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            // What ends the campaign from the terminal does not end this: it has what was found to write.
            .process_group(0)
            .spawn()
            .with_context(doing)?;
        let lines = child.stdout.take().with_context(doing)?;
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let Ok(told) = serde_json::from_str(&line) else { return };
                if sender.send(told).is_err() {
                    return;
                }
            }
        });
        let shared = Self { inbox, child, said, log };
        match shared.said.recv() {
            Ok(Exchanged::Ready { .. }) => Ok(shared),
            _ => Err(usage(format!("{}: {}", doing(), shared.last_words()))),
        }
    }

    /// Lets others know of a finding.
    pub fn finding(&mut self, found: &Found) -> Result<()> {
        let Some(folder) = found.artifact.clone() else { return Ok(()) };
        let line = serde_json::to_string(&ToShare { title: found.key.to_string(), folder })?;
        let input = self.child.stdin.as_mut().context("the exchange has no input")?;
        writeln!(input, "{line}").with_context(|| format!("{GONE}: {}", self.last_words()))
    }

    /// What did not work since this was last asked.
    pub fn failures(&self) -> Result<Vec<String>> {
        let mut failures = Vec::new();
        loop {
            match self.said.try_recv() {
                Ok(Exchanged::Failed { why }) => failures.push(why),
                Ok(_) => {}
                Err(TryRecvError::Empty) => return Ok(failures),
                Err(TryRecvError::Disconnected) => bail!("{GONE}: {}", self.last_words()),
            }
        }
    }

    /// Waits until all that the campaign has is in the store. What it came to is [`Exchanged::End`].
    pub fn end(&mut self) -> Result<Exchanged> {
        drop(self.child.stdin.take());
        let end = self.said.iter().find(|told| matches!(told, Exchanged::End { .. }));
        let status = self.child.wait().context("cannot wait for the exchange")?;
        match end {
            Some(end) if status.success() => Ok(end),
            _ => bail!("the store does not have all that was found: {}", self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        match text.trim_end() {
            "" => "its process has ended".to_owned(),
            text => text.to_owned(),
        }
    }
}

/// A store as it is named from any folder.
pub fn location(store: &str) -> Result<String> {
    if store.contains("://") {
        return Ok(store.to_owned());
    }
    let path = std::path::absolute(store).with_context(|| format!("the store `{store}`"))?;
    Ok(path.to_string_lossy().into_owned())
}

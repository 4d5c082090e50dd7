//! The record of a campaign, written while it goes on.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use refan_runner::Prepared;
use refan_runner::fuzz::Found;
use refan_site::campaign::{Begin, Event, Finding, Sample, VERSION};
use serde_json::Value;

use crate::site::CAMPAIGN;

/// Samples are this far from each other, later this share of the time: a long campaign does not have
/// many more of them than a short one.
const STEP: Duration = Duration::from_secs(1);
const SHARE: f64 = 0.02;

/// A record that is being written.
pub struct History {
    file: File,
    /// When the next sample is due, since the campaign began.
    due: Duration,
}

impl History {
    /// Begins the next record in a folder. Its name is a number.
    pub fn begin(
        folder: &Path,
        prepared: &Prepared,
        seed: u32,
        jobs: usize,
        corpus: usize,
    ) -> Result<Self> {
        let doing = || format!("cannot write a record into {}", folder.display());
        std::fs::create_dir_all(folder).with_context(doing)?;
        let mut history = Self { file: next(folder).with_context(doing)?, due: Duration::ZERO };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (kernel, machine) = (prepared.kernel.clone(), prepared.machine.clone());
        let begin = Begin { version: VERSION, at, kernel, machine, seed, jobs, corpus };
        history.write(&Event::Begin(begin))?;
        Ok(history)
    }

    /// Takes a sample, if one is due.
    pub fn sample(&mut self, elapsed: Duration, sample: impl FnOnce() -> Sample) -> Result<()> {
        if elapsed < self.due {
            return Ok(());
        }
        self.due = elapsed + STEP.max(elapsed.mul_f64(SHARE));
        self.write(&Event::Sample(sample()))
    }

    /// Something was found.
    pub fn finding(&mut self, elapsed: Duration, found: &Found) -> Result<()> {
        self.write(&Event::Finding(Finding {
            seconds: elapsed.as_secs_f64(),
            title: found.key.to_string(),
            verdict: found.verdict.clone(),
            repeated: found.repeated,
            program: found.program.clone(),
            artifact: found.artifact.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
        }))
    }

    /// The campaign is over.
    pub fn end(mut self, sample: Sample, summary: Value) -> Result<()> {
        self.write(&Event::Sample(sample))?;
        self.write(&Event::End { summary })
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        let line = serde_json::to_string(event).context("the campaign's record as JSON")? + "\n";
        self.file.write_all(line.as_bytes()).context("cannot write the campaign's record")
    }
}

/// A new file whose name is the next number. Campaigns can begin at the same time.
fn next(folder: &Path) -> std::io::Result<File> {
    let mut number: u64 = 1;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let taken = name.split('.').next().and_then(|name| name.parse::<u64>().ok());
        number = number.max(taken.map_or(0, |taken| taken.saturating_add(1)));
    }
    loop {
        match File::create_new(folder.join(format!("{number}.{CAMPAIGN}"))) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            made => return made,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_numbers_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = || {
            next(folder.path()).expect("a file");
            let entries = std::fs::read_dir(folder.path()).expect("listed").flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(named(), ["1.jsonl"]);
        std::fs::rename(folder.path().join("1.jsonl"), folder.path().join("9.jsonl"))
            .expect("moved");
        assert_eq!(named(), ["10.jsonl", "9.jsonl"]);
    }

    #[test]
    fn an_hour_has_a_few_hundred_samples() {
        let mut history =
            History { file: tempfile::tempfile().expect("a file"), due: Duration::ZERO };
        let mut taken = 0;
        for second in 0..3600 {
            let sample = || {
                taken += 1;
                Sample::default()
            };
            history.sample(Duration::from_secs(second), sample).expect("written");
        }
        assert!((200..400).contains(&taken), "{taken}");
    }
}

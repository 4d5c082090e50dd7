//! The record of a campaign: one JSON object a line, written while it goes on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the record.
pub const VERSION: u32 = 1;

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line.
    Begin(Begin),
    /// How it goes.
    Sample(Sample),
    /// Something was found.
    Finding(Finding),
    /// The last line; a campaign that was killed has none.
    End {
        /// The summary, as `fuzz --json` prints it.
        summary: Value,
    },
}

/// What a campaign was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// [`VERSION`].
    pub version: u32,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The kernel, for people.
    pub kernel: String,
    /// The machine, for people.
    pub machine: String,
    /// Its seed.
    pub seed: u32,
    /// Workers.
    pub jobs: usize,
    /// Entries that the corpus had.
    pub corpus: usize,
}

/// How it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since it began.
    pub seconds: f64,
    /// Programs run.
    pub runs: u64,
    /// Edges of the kernel.
    pub edges: usize,
    /// States of the model.
    pub states: usize,
    /// Entries of the corpus.
    pub corpus: usize,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// When, in seconds since the campaign began.
    pub seconds: f64,
    /// Its title.
    pub title: String,
    /// What is wrong.
    pub verdict: String,
    /// How often it showed again, of so many tries.
    pub repeated: (u32, u32),
    /// The program as text.
    pub program: String,
    /// The folder that it is kept in.
    pub artifact: Option<String>,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    /// Its name, that of its record.
    pub name: String,
    /// What it was started with.
    pub begin: Begin,
    /// How it went, in the order of time.
    pub samples: Vec<Sample>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// The summary, if it came to its end.
    pub summary: Option<Value>,
}

/// A record that is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that is not the last one is malformed.
    #[error("line {number}: {error}")]
    Line {
        /// From 1.
        number: usize,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// It does not begin with [`Event::Begin`] of this version.
    #[error("it does not begin as a record of version {VERSION} does")]
    Beginning,
}

impl Campaign {
    /// Reads a record. Of a campaign that was killed the last line may be cut off: it is passed over.
    ///
    /// # Errors
    /// It is no record.
    pub fn read(name: &str, text: &str) -> Result<Self, Error> {
        let mut events = Vec::new();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            match serde_json::from_str(line) {
                Ok(event) => events.push(event),
                Err(_) if lines.peek().is_none() && !text.ends_with('\n') => {}
                Err(error) => return Err(Error::Line { number: at + 1, error }),
            }
        }
        let mut events = events.into_iter();
        let Some(Event::Begin(begin)) = events.next() else { return Err(Error::Beginning) };
        if begin.version != VERSION {
            return Err(Error::Beginning);
        }
        let (samples, findings) = (Vec::new(), Vec::new());
        let name = name.to_owned();
        let mut campaign = Self { name, begin, samples, findings, summary: None };
        for event in events {
            match event {
                Event::Begin(_) => return Err(Error::Beginning),
                Event::Sample(sample) => campaign.samples.push(sample),
                Event::Finding(finding) => campaign.findings.push(finding),
                Event::End { summary } => campaign.summary = Some(summary),
            }
        }
        Ok(campaign)
    }

    /// How it stood when it was looked at last.
    pub fn last(&self) -> Sample {
        self.samples.last().copied().unwrap_or_default()
    }

    /// Programs a second over time: of the times between samples.
    pub fn rates(&self) -> Vec<(f64, f64)> {
        let before = std::iter::once(Sample::default()).chain(self.samples.iter().copied());
        before
            .zip(&self.samples)
            .filter(|(before, after)| after.seconds > before.seconds)
            .map(|(before, after)| {
                let runs = after.runs.saturating_sub(before.runs) as f64;
                (after.seconds, runs / (after.seconds - before.seconds))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::campaign;

    fn record(campaign: &Campaign) -> String {
        let events = std::iter::once(Event::Begin(campaign.begin.clone()))
            .chain(campaign.samples.iter().copied().map(Event::Sample))
            .chain(campaign.findings.iter().cloned().map(Event::Finding))
            .chain(campaign.summary.iter().cloned().map(|summary| Event::End { summary }));
        let lines = events.map(|event| serde_json::to_string(&event).expect("JSON") + "\n");
        lines.collect()
    }

    #[test]
    fn a_record_is_read_back_and_may_be_cut_off() {
        let campaign = campaign();
        let text = record(&campaign);
        assert_eq!(Campaign::read(&campaign.name, &text).expect("a record"), campaign);
        let cut = &text[..text.len() - 5];
        let read = Campaign::read(&campaign.name, cut).expect("a record");
        assert_eq!(read, Campaign { summary: None, ..campaign });
    }

    #[test]
    fn what_is_no_record_is_told() {
        let text = record(&campaign());
        let (first, rest) = text.split_once('\n').expect("lines");
        assert!(matches!(Campaign::read("x", rest), Err(Error::Beginning)));
        assert!(matches!(Campaign::read("x", ""), Err(Error::Beginning)));
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(Campaign::read("x", &newer), Err(Error::Beginning)));
        let broken = format!("{first}\nnonsense\n{rest}");
        assert!(matches!(Campaign::read("x", &broken), Err(Error::Line { number: 2, .. })));
    }

    #[test]
    fn rates_are_of_the_time_between_samples() {
        let sample = |seconds, runs| Sample { seconds, runs, ..Sample::default() };
        let samples = vec![sample(1.0, 10), sample(3.0, 50), sample(3.0, 51)];
        let campaign = Campaign { samples, ..campaign() };
        assert_eq!(campaign.rates(), [(1.0, 10.0), (3.0, 20.0)]);
    }
}

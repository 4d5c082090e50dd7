//! The campaign of a night: `fuzz --json` as a process of its own, and what it says.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::agent::cargo;
use crate::exit::Exit;

/// What a campaign says, a line each; what is not needed here is left out.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Said {
    /// It begins.
    Start(Start),
    /// Something was found.
    Finding(Finding),
    /// It has ended.
    Summary(Summary),
    /// Anything else.
    #[serde(other)]
    Else,
}

/// Where it ran.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Start {
    /// The kernel.
    pub kernel: String,
    /// The machine.
    pub machine: String,
}

/// Something that was found.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// What it has in common with others.
    pub title: String,
    /// What was wrong.
    pub verdict: String,
    /// How often it showed again.
    pub repeated: u32,
    /// Of how many tries.
    pub tries: u32,
    /// The program that shows it.
    pub program: String,
    /// Where it is kept, if it could be.
    pub artifact: Option<PathBuf>,
}

/// What it came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// How long it took.
    pub seconds: f64,
    /// Programs.
    pub runs: u64,
    /// Programs a second.
    pub rate: f64,
    /// Edges of the kernel's code that were passed.
    pub edges: usize,
    /// States of the model that were reached.
    pub states: usize,
    /// Entries of the corpus.
    pub corpus: usize,
    /// Those that this campaign has added.
    pub added: usize,
    /// Programs of which nothing can be said.
    pub unjudged: u64,
    /// Workers that ended before their time.
    pub lost_workers: u32,
    /// Functions of the code that is covered.
    pub functions: usize,
    /// Those that no program entered.
    pub not_entered: Vec<String>,
}

/// A campaign that has ended.
pub struct Campaign {
    /// Where it ran; nothing if it did not come to that.
    pub start: Start,
    /// What it found, in order.
    pub findings: Vec<Finding>,
    /// What it came to; none where it did not get to its end.
    pub summary: Option<Summary>,
    /// How its process ended.
    pub exit: Exit,
}

impl Campaign {
    /// Runs one with these options. What it says goes to the file `log`, too.
    pub fn run(repository: &Path, options: &[OsString], log: &Path) -> Result<Self> {
        let mut child = Command::new(cargo())
            .current_dir(repository)
            .args(["xtask", "fuzz", "--json"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `cargo xtask fuzz`")?;
        let mut file = std::fs::File::create(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let lines = child.stdout.take().context("a campaign without output")?;
        let (mut start, mut findings, mut summary) = (Start::default(), Vec::new(), None);
        for line in BufReader::new(lines).lines() {
            let line = line.context("cannot read what the campaign says")?;
            writeln!(file, "{line}").with_context(|| format!("cannot write {}", log.display()))?;
            match serde_json::from_str(&line)
                .with_context(|| format!("the campaign says {line:?}"))?
            {
                Said::Start(told) => start = told,
                Said::Finding(found) => {
                    say!("  finding  {}", found.title);
                    findings.push(found);
                }
                Said::Summary(told) => summary = Some(told),
                Said::Else => {}
            }
        }
        let status = child.wait().context("cannot wait for the campaign")?;
        Ok(Self { start, findings, summary, exit: Exit::of_status(status) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_campaign_says_is_understood() {
        let finding = r#"{"event":"finding","version":1,"title":"rule R2 broken at read",
            "verdict":"rule R2","repeated":3,"tries":3,"program":"p","artifact":"/a"}"#;
        let Ok(Said::Finding(found)) = serde_json::from_str(finding) else { panic!("no finding") };
        assert_eq!((found.title.as_str(), found.tries), ("rule R2 broken at read", 3));
        let other = serde_json::from_str(r#"{"event":"progress","runs":1}"#);
        assert!(matches!(other, Ok(Said::Else)));
    }
}

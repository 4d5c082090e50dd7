//! What a campaign came to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use refan_runner::Prepared;
use refan_runner::fuzz::{Exchanged, Found, Key, Progress, Shares};
use refan_site::campaign::Sample;
use serde_json::{Value, json};

use super::memory::Memory;
use super::source::Source;
use crate::exit::Exit;
use crate::report::{self, seconds};

/// What all workers have done together.
#[derive(Default)]
pub struct Summary {
    /// By worker: the sums since it began that it told last, and those of its predecessors.
    last: BTreeMap<usize, Progress>,
    before: Vec<Progress>,
    edges: BTreeSet<u32>,
    states: BTreeSet<u32>,
    places: BTreeSet<u32>,
    findings: BTreeMap<Key, Found>,
    /// Workers that ended before their time.
    pub lost: u32,
    /// Entries of the corpus.
    pub corpus: usize,
    /// Those that were not there at the beginning.
    pub added: usize,
    /// What the workers and their machines held of the host's memory.
    pub memory: Memory,
    /// What the exchange with other campaigns came to, if there were any, or why the store does not have all.
    pub shared: Option<Result<Exchanged, String>>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Summary {
    /// Adds what a worker has told. Returns the findings that are new.
    pub fn add(&mut self, worker: usize, mut told: Progress) -> Vec<Found> {
        self.edges.extend(std::mem::take(&mut told.edges));
        self.states.extend(std::mem::take(&mut told.states));
        self.places.extend(std::mem::take(&mut told.places));
        let found = std::mem::take(&mut told.findings);
        self.last.insert(worker, told);
        let new = found.into_iter().filter(|it| !self.findings.contains_key(&it.key));
        let new: Vec<Found> = new.collect();
        self.findings.extend(new.iter().map(|found| (found.key.clone(), found.clone())));
        new
    }

    /// The findings that have shown again.
    pub fn confirmed(&self) -> impl Iterator<Item = &Found> {
        self.findings.values().filter(|found| found.repeated.0 > 0)
    }

    /// A worker has ended; another one may take its number.
    pub fn ended(&mut self, worker: usize) {
        self.before.extend(self.last.remove(&worker));
    }

    fn all(&self) -> impl Iterator<Item = &Progress> {
        self.before.iter().chain(self.last.values())
    }

    fn sum(&self, count: impl Fn(&Progress) -> u64) -> u64 {
        self.all().map(count).sum()
    }

    /// Programs run.
    pub fn runs(&self) -> u64 {
        self.sum(|progress| progress.runs)
    }

    fn rate(&self) -> f64 {
        self.runs() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn shares(&self) -> Shares {
        let mut shares = Shares::default();
        self.all().for_each(|progress| shares.add(&progress.shares));
        shares
    }

    fn reached(&self) -> BTreeMap<&str, u64> {
        self.counted(|progress| &progress.reached)
    }

    fn known(&self) -> BTreeMap<&str, u64> {
        self.counted(|progress| &progress.known)
    }

    fn unjudged(&self) -> BTreeMap<&str, u64> {
        self.counted(|progress| &progress.unjudged)
    }

    fn counted(&self, counts: impl Fn(&Progress) -> &BTreeMap<String, u64>) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (what, count) in self.all().flat_map(counts) {
            *all.entry(what.as_str()).or_default() += count;
        }
        all
    }

    /// How it goes, for the campaign's record.
    pub fn sample(&self) -> Sample {
        Sample {
            seconds: self.elapsed.as_secs_f64(),
            runs: self.runs(),
            edges: self.edges.len(),
            states: self.states.len(),
            corpus: self.corpus,
        }
    }

    /// How it goes, on one line.
    pub fn line(&self) -> String {
        format!(
            "{}, {} runs, {:.0}/s, {} edges, {} states, corpus {} (+{}), {} findings, {} restarts",
            seconds(self.elapsed),
            self.runs(),
            self.rate(),
            self.edges.len(),
            self.states.len(),
            self.corpus,
            self.added,
            self.findings.len(),
            self.sum(|progress| progress.restarts),
        )
    }

    /// The same as an object, with what is told only at the end.
    pub fn object(&self, event: &str, source: &Source) -> Result<Value> {
        let lines = source.lines(&self.places, &self.edges)?;
        let shares: BTreeMap<_, _> = self.shares().named().into_iter().collect();
        Ok(json!({
            "event": event, "version": 1, "seconds": self.elapsed.as_secs_f64(),
            "runs": self.runs(), "rate": self.rate(), "edges": self.edges.len(),
            "states": self.states.len(), "places": self.places.len(), "corpus": self.corpus,
            "added": self.added, "findings": self.findings.len(), "lost_workers": self.lost,
            "restarts": self.sum(|progress| progress.restarts),
            "races": self.sum(|progress| progress.races),
            "unjudged": self.unjudged().values().sum::<u64>(), "why_unjudged": self.unjudged(),
            "unsupported": self.sum(|progress| progress.unsupported),
            "compared": self.sum(|progress| progress.compared),
            "unstable": self.sum(|progress| progress.unstable),
            "reached": self.reached(), "known": self.known(), "time": shares,
            "memory": self.memory.object(), "functions": source.code.functions(),
            "not_entered": source.code.not_entered(&self.places), "lines": lines,
            "shared": self.shared.as_ref().map(shared),
        }))
    }

    /// For people.
    pub fn print(&self, source: &Source) -> Result<()> {
        let runs = self.runs().max(1);
        let percent = |count: u64| format!("{:.1} %", 100.0 * count as f64 / runs as f64);
        say!("  campaign     {}", self.line());
        let reached: Vec<String> = self
            .reached()
            .iter()
            .map(|(what, count)| format!("{what} {}", percent(*count)))
            .collect();
        say!("  reached      {}", reached.join(", "));
        say!("  races        {} of the runs", percent(self.sum(|it| it.races)));
        let unsupported = self.sum(|it| it.unsupported);
        say!(
            "  not judged   {}; not run for what the kernel lacks: {unsupported}",
            percent(self.unjudged().values().sum())
        );
        for (why, count) in self.unjudged() {
            say!("  not judged   {count} × {why}");
        }
        for (title, count) in self.known() {
            say!("  known        {count} × {title}");
        }
        let (unstable, compared) = (self.sum(|it| it.unstable), self.sum(|it| it.compared));
        say!("  instability  {unstable} of {compared} programs did not pass the same edges twice");
        let shares = self.shares().named();
        let shares = shares.iter().map(|(name, share)| format!("{name} {:.1} %", 100.0 * share));
        say!("  time         {}", shares.collect::<Vec<_>>().join(", "));
        say!("  memory       at most in each quarter: {}", self.memory);
        let missing = source.code.not_entered(&self.places);
        let functions = source.code.functions();
        let entered = functions - missing.len();
        say!("  functions    {entered} of {functions} entered; never: {}", missing.join(" "));
        let lines = source.lines(&self.places, &self.edges)?;
        lines.parts.iter().for_each(|part| say!("  lines        {part}"));
        lines.missing.iter().for_each(|missing| say!("  not covered  {missing}"));
        match &self.shared {
            Some(Ok(Exchanged::End { pulled, pushed, findings })) => {
                say!(
                    "  shared       {pushed} entries and {findings} findings, got {pulled} entries"
                );
            }
            Some(Err(why)) => say!("  not shared   {why}"),
            _ => {}
        }
        if self.lost > 0 {
            say!("  workers      {} ended before their time", self.lost);
        }
        Ok(())
    }

    /// A finding outweighs all; without a program that was judged and coverage, or where others do not get what was
    /// found, there is no verdict.
    pub fn exit(&self) -> Exit {
        let judged = self.runs().saturating_sub(self.unjudged().values().sum());
        if !self.findings.is_empty() {
            Exit::Broken
        } else if judged == 0 || self.edges.is_empty() || matches!(self.shared, Some(Err(_))) {
            Exit::NoVerdict
        } else {
            Exit::Held
        }
    }
}

/// What went to a store and came from it, or why it did not.
fn shared(came: &Result<Exchanged, String>) -> Value {
    match came {
        Ok(Exchanged::End { pulled, pushed, findings }) => {
            json!({ "pulled": pulled, "pushed": pushed, "findings": findings })
        }
        Ok(Exchanged::Ready { pulled }) => json!({ "pulled": pulled }),
        Ok(Exchanged::Failed { why }) | Err(why) => json!({ "failed": why }),
    }
}

/// Where a campaign runs.
pub fn print_start(prepared: &Prepared, several: Option<&str>, json: bool) {
    let Prepared { kernel, machine, .. } = prepared;
    if json {
        let object = json!({
            "event": "start", "version": 1, "kernel": kernel, "machine": machine, "at_first": several,
        });
        say!("{object}");
    } else {
        say!("  kernel   {kernel}");
        say!("  machine  {machine}");
        if let Some(several) = several {
            say!("  at first {several}, for one worker");
        }
    }
}

/// A finding, for people.
pub fn finding_text(found: &Found) -> String {
    let verdict = found.verdict.lines().map(|line| format!("    {line}"));
    let repeated = format!("    repeated  {}", report::repeated(found.repeated, found.earlier));
    let kept = found.artifact.iter().map(|folder| format!("    kept in   {}", folder.display()));
    let program = found.program.lines().map(|line| format!("      {line}"));
    let lines = verdict.chain([repeated]).chain(kept).chain(program);
    format!("\nfinding: {}\n{}", found.key, lines.collect::<Vec<_>>().join("\n"))
}

/// The same as an object.
pub fn finding_object(found: &Found) -> Value {
    json!({
        "event": "finding", "version": 1, "title": found.key, "verdict": found.verdict,
        "repeated": found.repeated.0, "tries": found.repeated.1, "earlier": found.earlier, "program": found.program,
        "artifact": found.artifact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(runs: u64, unjudged: u64, edges: &[u32]) -> Progress {
        let unjudged = [("a".to_owned(), unjudged / 2), ("b".to_owned(), unjudged.div_ceil(2))];
        let unjudged = BTreeMap::from(unjudged);
        Progress { runs, unjudged, edges: edges.to_vec(), ..Progress::default() }
    }

    #[test]
    fn sums_survive_a_worker_and_edges_are_counted_once() {
        let mut summary = Summary::default();
        summary.add(0, progress(5, 0, &[1, 2]));
        summary.add(0, progress(9, 0, &[3]));
        summary.ended(0);
        summary.add(0, progress(1, 0, &[2]));
        summary.add(1, progress(2, 0, &[4]));
        assert_eq!((summary.runs(), summary.edges.len()), (12, 4));
    }

    #[test]
    fn a_finding_is_told_with_what_it_is() {
        let found = serde_json::json!({
            "key": "rule R2 broken at read", "repeated": [2, 2], "earlier": 0, "artifact": "/a", "program": "dup(0)\n",
            "verdict": "rule      R2, at step 1",
        });
        let found: Found = serde_json::from_value(found).expect("a finding");
        let lines = [
            "",
            "finding: rule R2 broken at read",
            "    rule      R2, at step 1",
            "    repeated  2 of 2 on a freshly restored machine",
            "    kept in   /a",
            "      dup(0)",
        ];
        assert_eq!(finding_text(&found), lines.join("\n"));
    }

    #[test]
    fn nothing_learnt_is_no_verdict() {
        let exit = |told: Progress| {
            let mut summary = Summary::default();
            summary.add(0, told);
            summary.exit()
        };
        assert_eq!(exit(progress(5, 0, &[1])), Exit::Held);
        assert_eq!(exit(progress(5, 5, &[1])), Exit::NoVerdict);
        assert_eq!(exit(progress(5, 0, &[])), Exit::NoVerdict);
        assert_eq!(exit(progress(0, 0, &[])), Exit::NoVerdict);
        let mut unshared = Summary::default();
        unshared.add(0, progress(5, 0, &[1]));
        unshared.shared = Some(Err("no answer".to_owned()));
        assert_eq!(unshared.exit(), Exit::NoVerdict);
    }
}

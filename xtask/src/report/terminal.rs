//! For a person: quiet about what holds, whole about what does not.

use std::fmt::Write as _;
use std::time::Duration;

use refan_runner::{Outcome, Prepared, Verdict};

use super::{Report, Totals};

/// Prints a line a suite and a paragraph a failure.
#[derive(Default)]
pub struct Terminal {
    failures: Vec<String>,
}

impl Report for Terminal {
    fn start(&mut self, prepared: &Prepared, scenarios: usize, machines: usize) {
        println!("  kernel   {}", prepared.kernel);
        println!("  machine  {}", prepared.machine);
        let s = |n| if n == 1 { "" } else { "s" };
        println!(
            "  running  {scenarios} scenario{} on {machines} machine{}",
            s(scenarios),
            s(machines)
        );
    }

    fn outcome(&mut self, outcome: &Outcome) {
        if matches!(outcome.verdict, Verdict::Held | Verdict::Unsupported(_)) {
            return;
        }
        println!("  {:<13} {}", outcome.verdict.word(), outcome.name);
        self.failures.push(paragraph(outcome));
    }

    fn end(&mut self, totals: &Totals) {
        for failure in &self.failures {
            println!("\n{failure}");
        }
        let mut line = format!("{} held, {} broken", totals.held, totals.findings);
        if totals.unsupported > 0 {
            let _ = write!(line, ", {} unsupported", totals.unsupported);
        }
        if totals.none > 0 {
            let _ = write!(line, ", {} without a verdict", totals.none);
        }
        println!("  verdict  {line} in {}", seconds(totals.elapsed));
    }
}

fn paragraph(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", outcome.name, outcome.verdict.word());
    indent(&mut text, &outcome.verdict.to_string());
    if let Some((again, runs)) = outcome.repeated {
        indent(&mut text, &format!("repeated  {again} of {runs} on a freshly restored machine"));
    }
    section(&mut text, "history", &outcome.history);
    let console = match &outcome.verdict {
        Verdict::Report(report) => &report.text,
        _ => &outcome.console,
    };
    section(&mut text, "kernel log", console);
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    if !body.trim().is_empty() {
        let _ = writeln!(text, "  {title}");
        indent(text, body);
    }
}

fn indent(text: &mut String, block: &str) {
    for line in block.lines() {
        let _ = writeln!(text, "    {line}");
    }
}

/// A duration as people read it.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}

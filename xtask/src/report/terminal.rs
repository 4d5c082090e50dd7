//! For a person: quiet about what holds, whole about what does not.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use refan_model::Reached;
use refan_runner::reach::{Blocks, Reach};
use refan_runner::sweep::Sweep;
use refan_runner::{Outcome, Prepared, Verdict};

use super::{Counts, Report, Sweeps, Totals};

/// With more scenarios than this, a sweep is told of only if it never raced.
const FEW: usize = 20;

/// Prints a line for what is not as it should be and a paragraph a failure; of a few scenarios also
/// what each sweep saw.
#[derive(Default)]
pub struct Terminal {
    few: bool,
    failures: Vec<String>,
}

impl Report for Terminal {
    fn start(&mut self, prepared: &Prepared, scenarios: usize, machines: usize) {
        self.few = scenarios <= FEW;
        say!("  kernel   {}", prepared.kernel);
        say!("  machine  {}", prepared.machine);
        say!(
            "  running  {scenarios} scenario{} on {machines} machine{}",
            s(scenarios),
            s(machines)
        );
    }

    fn outcome(&mut self, outcome: &Outcome, artifact: Option<&Path>) {
        if let Some(sweep) = outcome.sweep.as_ref().filter(|sweep| self.few || sweep.raced == 0) {
            print_sweep(&outcome.name, sweep);
        }
        // Those that are known are told by title, at the end.
        if matches!(outcome.verdict, Verdict::Held | Verdict::Known(_) | Verdict::Unsupported(_)) {
            return;
        }
        say!("  {:<13} {}", outcome.verdict.word(), outcome.name);
        self.failures.push(paragraph(outcome, artifact));
    }

    fn end(&mut self, totals: &Totals) {
        for failure in &self.failures {
            say!("\n{failure}");
        }
        if totals.sweeps.sweeps > 0 {
            print_sweeps(&totals.sweeps);
        }
        if let Some(reach) = &totals.reach {
            print_reach(reach);
        }
        if totals.unjudged.len() > 1 {
            for (why, count) in &totals.unjudged {
                say!("  unjudged {count} × {why}");
            }
        }
        for (title, count) in &totals.known {
            say!("  known    {count} × {title}");
        }
        let mut line = format!("{} held, {} broken", totals.held, totals.findings);
        if !totals.known.is_empty() {
            let _ = write!(line, ", {} known", totals.known());
        }
        if totals.unsupported > 0 {
            let _ = write!(line, ", {} unsupported", totals.unsupported);
        }
        if totals.none > 0 {
            let _ = write!(line, ", {} without a verdict", totals.none);
        }
        say!("  verdict  {line} in {}", seconds(totals.elapsed));
    }
}

/// A line for the sweep and one for each outcome that it has seen.
fn print_sweep(name: &str, sweep: &Sweep) {
    let orders = sweep.orders();
    say!(
        "  swept    {name}: {}{} run{}, {} raced, {} outcome{}, {orders} order{}",
        sweep
            .places
            .as_ref()
            .map_or_else(String::new, |places| format!("{}, ", Counts::of(places))),
        sweep.runs,
        s(sweep.runs as usize),
        sweep.raced,
        sweep.outcomes.len(),
        s(sweep.outcomes.len()),
        s(orders),
    );
    if sweep.raced == 0 {
        say!("             no call was made while another was under way");
    }
    if orders == 1 {
        say!("             the calls have returned in one order only");
    }
    for (outcome, count) in &sweep.outcomes {
        say!("           {count:>6} × {}; returned: {}", outcome.results, outcome.order);
    }
}

fn print_sweeps(sweeps: &Sweeps) {
    let Sweeps { sweeps: number, without_race, complete, runs, raced, counts, distinct } = sweeps;
    let mut line = format!("{number} in all: {runs} runs, {raced} raced, {complete} to the end");
    if *without_race > 0 {
        let _ = write!(line, ", {without_race} without a race");
    }
    if counts.total > 0 {
        let _ = write!(line, "; {counts}, of distinct ones {}", Counts::of(distinct));
    }
    say!("  swept    {line}");
}

fn print_reach(reach: &Reach) {
    let share =
        |number: u32, of: u32| format!("{:.0} %", 100.0 * f64::from(number) / f64::from(of));
    if reach.programs > 0 {
        let found = Reached::ALL.iter().map(|what| {
            let number = reach.reached.get(what).copied().unwrap_or_default();
            format!("{} {}", share(number, reach.programs), what.name())
        });
        say!("  reached  of {} programs {}", reach.programs, found.collect::<Vec<_>>().join(", "));
    }
    let Blocks { blocks, reordered, started, raced } = reach.blocks;
    if blocks > 0 {
        let raced = if started > 0 { share(raced, started) } else { "none".to_owned() };
        say!(
            "  blocks   {blocks}, {} returned out of order; {started} branches with a start, {raced} raced",
            share(reordered, blocks)
        );
    }
}

fn s(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// How often a finding showed again, of how many tries, and behind how much of what ran before.
pub fn repeated((again, tries): (u32, u32), earlier: usize) -> String {
    let behind = match earlier {
        0 => String::new(),
        earlier => format!(", behind {earlier} that ran there before it"),
    };
    format!("{again} of {tries} on a freshly restored machine{behind}")
}

fn paragraph(outcome: &Outcome, artifact: Option<&Path>) -> String {
    let mut text = format!("{}: {}\n", outcome.name, outcome.verdict.word());
    indent(&mut text, &outcome.verdict.to_string());
    if let Some(rate) = outcome.repeated {
        indent(&mut text, &format!("repeated  {}", repeated(rate, outcome.earlier.len())));
    }
    if let Some(folder) = artifact {
        indent(&mut text, &format!("kept in   {}", folder.display()));
    }
    if let Some(program) = outcome.program.as_ref().filter(|_| outcome.sweep.is_some()) {
        section(&mut text, "program", &program.to_string());
    }
    section(&mut text, "history", &outcome.history);
    let console = match &outcome.verdict {
        Verdict::Report(report) => report.best_text(),
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

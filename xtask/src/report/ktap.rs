//! KTAP version 1, as `Documentation/dev-tools/ktap.rst` of Linux has it.

use std::path::Path;

use refan_runner::{Outcome, Prepared, Verdict};

use super::{Report, Totals};

/// Numbers the results.
#[derive(Default)]
pub struct Ktap {
    done: usize,
}

impl Report for Ktap {
    fn start(&mut self, prepared: &Prepared, scenarios: usize, _machines: usize) {
        say!("KTAP version 1\n# {}\n# {}\n1..{scenarios}", prepared.kernel, prepared.machine);
    }

    fn outcome(&mut self, outcome: &Outcome, artifact: Option<&Path>) {
        self.done += 1;
        let (n, name) = (self.done, &outcome.name);
        match &outcome.verdict {
            Verdict::Held => {
                if let Some(sweep) = &outcome.sweep {
                    say!("# {} runs, {} raced", sweep.runs, sweep.raced);
                }
                say!("ok {n} {name}");
            }
            Verdict::Unsupported(why) => say!("ok {n} {name} # SKIP {why}"),
            Verdict::Known(report) => say!("not ok {n} {name} # XFAIL known: {}", report.title),
            verdict => {
                let what = verdict.to_string();
                for line in
                    what.lines().chain(outcome.history.lines()).chain(outcome.console.lines())
                {
                    say!("# {line}");
                }
                if let Some(folder) = artifact {
                    say!("# kept in {}", folder.display());
                }
                say!("not ok {n} {name}");
            }
        }
    }

    fn end(&mut self, totals: &Totals) {
        let Totals { held, findings, unsupported, none, .. } = totals;
        say!(
            "# Totals: pass:{held} fail:{} xfail:{} xpass:0 skip:{unsupported} error:0",
            findings + none,
            totals.known()
        );
    }
}

//! One JSON object a line.

use std::path::Path;

use refan_model::Reached;
use refan_runner::{Outcome, Prepared, Verdict};
use serde_json::{Value, json};

use super::{Counts, Report, Totals};

/// Version of the objects: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// Prints objects with the key `event`: `start`, `outcome`, `end`.
pub struct Json;

impl Report for Json {
    fn start(&mut self, prepared: &Prepared, scenarios: usize, machines: usize) {
        let object = json!({
            "event": "start", "version": VERSION, "kernel": prepared.kernel, "machine": prepared.machine,
            "scenarios": scenarios, "machines": machines,
        });
        say!("{object}");
    }

    fn outcome(&mut self, outcome: &Outcome, artifact: Option<&Path>) {
        let mut object = json!({
            "event": "outcome", "name": outcome.name, "verdict": outcome.verdict.word(),
            "rules": outcome.rules.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "seconds": outcome.elapsed.as_secs_f64(),
        });
        match &outcome.verdict {
            Verdict::Held => {}
            Verdict::Broken(violation) => {
                object["rule"] = violation.rule.to_string().into();
                object["step"] = violation.step.into();
                object["allowed"] = violation.allowed.clone().into();
                object["observed"] = violation.observed.clone().into();
                if !violation.history.is_empty() {
                    object["history"] = violation.history.clone().into();
                }
            }
            Verdict::Report(report) | Verdict::Known(report) => {
                object["title"] = report.title.clone().into();
                object["report"] = report.best_text().into();
            }
            Verdict::Unsupported(why) | Verdict::None(why) => object["why"] = why.clone().into(),
        }
        if !matches!(outcome.verdict, Verdict::Held | Verdict::Unsupported(_)) {
            object["history"] = outcome.history.clone().into();
            object["console"] = outcome.console.clone().into();
            object["repeated"] = json!(outcome.repeated);
            object["earlier"] = json!(outcome.earlier.len());
            object["artifact"] = json!(artifact);
            object["program"] = json!(outcome.program.as_ref().map(ToString::to_string));
        }
        if let Some(sweep) = &outcome.sweep {
            let outcomes = sweep.outcomes.iter().map(|(outcome, count)| {
                json!({ "results": outcome.results, "order": outcome.order, "count": count })
            });
            object["sweep"] = json!({
                "runs": sweep.runs, "raced": sweep.raced, "complete": sweep.complete,
                "places": sweep.places.as_ref().map(|places| counts(Counts::of(places))), "outcomes": outcomes.collect::<Vec<_>>(),
            });
        }
        say!("{object}");
    }

    fn end(&mut self, totals: &Totals) {
        let mut object = json!({
            "event": "end", "held": totals.held, "findings": totals.findings,
            "known": totals.known, "unsupported": totals.unsupported, "no_verdict": totals.none,
            "seconds": totals.elapsed.as_secs_f64(),
            "sweeps": {
                "sweeps": totals.sweeps.sweeps, "runs": totals.sweeps.runs,
                "raced": totals.sweeps.raced,
                "complete": totals.sweeps.complete, "without_race": totals.sweeps.without_race,
                "places": counts(totals.sweeps.counts),
                "distinct_places": counts(Counts::of(&totals.sweeps.distinct)),
            },
        });
        if let Some(reach) = &totals.reach {
            let number = |what| reach.reached.get(what).copied().unwrap_or_default();
            let reached =
                Reached::ALL.iter().map(|what| (what.name().to_owned(), number(what).into()));
            object["reach"] = json!({
                "programs": reach.programs, "reached": reached.collect::<serde_json::Map<_, _>>(),
                "blocks": reach.blocks.blocks, "reordered": reach.blocks.reordered,
                "started": reach.blocks.started, "raced": reach.blocks.raced,
            });
        }
        say!("{object}");
    }
}

fn counts(Counts { hit, out_of_reach, total }: Counts) -> Value {
    json!({ "hit": hit, "out_of_reach": out_of_reach, "total": total })
}

//! The kill matrix as JSON, an object a line.

use std::time::Duration;

use serde_json::{Value, json};

use super::matrix::{Came, Kill, Matrix, Row, Seen, Unmutated};

/// Version of the objects: raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// Objects with the key `event`: `mutant` for each, then `end`.
pub fn objects(matrix: &Matrix, kernels: &[&str], elapsed: Duration) -> Vec<Value> {
    let mut objects: Vec<Value> = matrix.rows.iter().map(object).collect();
    let counts = matrix.counts();
    let Unmutated { held, unsupported, programs } = matrix.unmutated;
    let end = json!({
        "event": "end", "version": VERSION, "kernels": kernels,
        "unmutated": { "held": held, "unsupported": unsupported, "programs": programs },
        "killed": counts.killed(), "judged": counts.judged(), "right_rule": counts.right_rule,
        "other_rule": counts.other_rule, "share_of_other_rules": counts.share_of_other_rules(),
        "report": counts.report, "refused": counts.refused, "survived": counts.survived, "unreachable": counts.unreachable,
        "unjudged": counts.unjudged, "set_apart": counts.set_apart,
        "status": matrix.exit().status(), "seconds": elapsed.as_secs_f64(),
    });
    objects.push(end);
    objects
}

fn object(row: &Row) -> Value {
    let Row { name, mutant, came, elapsed } = row;
    let breaks: Vec<String> = mutant.breaks.iter().map(ToString::to_string).collect();
    let mut object = json!({
        "event": "mutant", "name": name, "switch": mutant.switch, "breaks": breaks,
        "summary": mutant.summary, "fate": came.word(), "seconds": elapsed.as_secs_f64(),
    });
    match came {
        Came::Survived => {}
        Came::Unjudged(reasons) => {
            let reasons = reasons.iter().map(|(name, why)| json!({ "scenario": name, "why": why }));
            object["unjudged"] = reasons.collect();
        }
        Came::Killed(kills) => object["killed_by"] = kills.iter().map(kill).collect(),
        Came::Refused(why) | Came::SetApart(why) | Came::Unreachable(why) => {
            object["why"] = why.trim_end().into()
        }
    }
    object
}

fn kill(kill: &Kill) -> Value {
    let mut object = json!({ "scenario": kill.scenario, "repeated": kill.repeated });
    match &kill.seen {
        Seen::Rule { rule, right } => {
            object["rule"] = rule.to_string().into();
            object["right"] = (*right).into();
        }
        Seen::Report(title) => object["report"] = title.as_str().into(),
    }
    object
}

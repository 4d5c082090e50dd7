//! The kill matrix as lines for people.

use std::time::Duration;

use super::matrix::{Came, Kill, Matrix, Row, Seen, Unmutated, list};
use crate::report::seconds;

/// Prints the matrix; of a full run each scenario that saw a mutant has a line.
pub fn print(matrix: &Matrix, elapsed: Duration) {
    for line in matrix.rows.iter().flat_map(lines) {
        say!("  {line}");
    }
    let counts = matrix.counts();
    let other = counts.share_of_other_rules() * 100.0;
    match matrix.unmutated {
        Unmutated { held, unsupported, programs: 0 } => {
            say!("  unmutated   {held} held, {unsupported} unsupported");
        }
        Unmutated { programs, .. } => say!("  unmutated   {programs} programs, no finding"),
    }
    say!(
        "  verdict     {} of {} killed in {}: {} by a rule that they break, {} by another ({other:.1} %), {} \
         by the kernel's report, {} by the probe; {} survived, {} out of reach, {} without verdict, {} set apart",
        counts.killed(),
        counts.judged(),
        seconds(elapsed),
        counts.right_rule,
        counts.other_rule,
        counts.report,
        counts.refused,
        counts.survived,
        counts.unreachable,
        counts.unjudged,
        counts.set_apart,
    );
}

/// The first line on a mutant.
pub fn line(row: &Row) -> String {
    lines(row).into_iter().next().unwrap_or_default()
}

fn lines(row: &Row) -> Vec<String> {
    let Row { name, mutant, came, elapsed } = row;
    let breaks = if mutant.breaks.is_empty() {
        String::new()
    } else {
        format!("breaks {:<12} ", list(&mutant.breaks))
    };
    let word = match came {
        Came::Survived | Came::Unreachable(_) | Came::Unjudged(_) => came.word().to_uppercase(),
        _ => came.word().to_owned(),
    };
    let head = format!("{word:<11} {name:<28} {breaks}");
    let timed = format!("{head}{:>7}", seconds(*elapsed));
    let below = |head: String, more: Vec<String>| {
        let more = more.into_iter().map(|line| format!("              {line}"));
        std::iter::once(head).chain(more).collect()
    };
    match came {
        Came::SetApart(why) | Came::Unreachable(why) => {
            vec![format!("{}: {}", head.trim_end(), why.trim_end())]
        }
        Came::Refused(why) => vec![format!("{timed}  by the probe: {why}")],
        Came::Survived => {
            let what = [&mutant.summary, &mutant.why].map(|text| text.lines());
            below(timed, what.into_iter().flatten().map(str::to_owned).collect())
        }
        Came::Unjudged(reasons) => {
            below(timed, reasons.iter().map(|(name, why)| format!("{name}: {why}")).collect())
        }
        Came::Killed(kills) => match kills.as_slice() {
            [only] => vec![format!("{timed}  {}", told(only))],
            kills => below(timed, kills.iter().map(told).collect()),
        },
    }
}

/// By what it was seen and how: the rule that was named, and whether that is one that it breaks.
fn told(kill: &Kill) -> String {
    let how = match &kill.seen {
        Seen::Rule { rule, right: true } => rule.to_string(),
        Seen::Rule { rule, right: false } => format!("named {rule}, which it does not break"),
        Seen::Report(title) => format!("kernel report: {title}"),
    };
    let unsteady = match kill.repeated {
        Some((again, tries)) if again < tries => format!(", again in {again} of {tries}"),
        _ => String::new(),
    };
    format!("by {}: {how}{unsteady}", kill.scenario)
}

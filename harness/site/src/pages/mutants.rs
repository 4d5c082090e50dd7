//! The kill matrix.

use maud::{Markup, html};

use crate::mutants::{Kill, Matrix, Mutant, Unmutated};
use crate::page::{Page, card, page, table};
use crate::plot::time;

/// The matrices, in each those that nothing saw first.
pub fn pages(matrices: &[Matrix]) -> Vec<Page> {
    let content = html! {
        @if matrices.is_empty() { (none()) }
        @for matrix in matrices {
            h2 { (matrix.title) }
            p.quiet {
                (matrix.end.kernels.join("; ")) br;
                "without a bug " (without_a_bug(matrix.end.unmutated)) "; took "
                (time(matrix.end.seconds))
            }
            (cards(matrix))
            (table(&["Bug", "Breaks", "", "Seen by"], &rows(&matrix.mutants)))
        }
    };
    vec![page("mutants.html", "Mutants", &content)]
}

fn without_a_bug(unmutated: Unmutated) -> String {
    match unmutated {
        Unmutated { held, unsupported, programs: 0 } => {
            format!("{held} scenarios held, {unsupported} unsupported")
        }
        Unmutated { programs, .. } => format!("{programs} programs of campaigns found nothing"),
    }
}

/// How there come to be any.
pub fn none() -> Markup {
    html! { p { "Not run yet: " code { "cargo xtask mutants --full" } } }
}

fn rows(mutants: &[Mutant]) -> Markup {
    let mut sorted: Vec<&Mutant> = mutants.iter().collect();
    sorted.sort_by_key(|mutant| (rank(mutant), &mutant.name));
    html! {
        @for mutant in sorted {
            tr {
                td { code { (mutant.name) } br; span.note { (marked(&mutant.summary)) } }
                td { (mutant.breaks.join(", ")) }
                td class=(class(mutant)) { (mutant.fate) }
                td {
                    @for kill in &mutant.killed_by { (kill_of(kill)) br; }
                    @for unjudged in &mutant.unjudged {
                        (unjudged.scenario) ": " (unjudged.why) br;
                    }
                    @if let Some(why) = &mutant.why { (why) }
                }
            }
        }
    }
}

/// Text with what stands between backquotes as code.
fn marked(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// How many came to what.
pub fn cards(matrix: &Matrix) -> Markup {
    let count = |fate| matrix.mutants.iter().filter(|mutant| mutant.fate == fate).count();
    let judged = matrix.mutants.len() - count("apart");
    let by_other = matrix.mutants.iter().filter(|mutant| rank(mutant) == BY_OTHER_RULE).count();
    html! {
        div.cards {
            (card("Killed", &count("killed").to_string(), &format!("of {judged}")))
            (card("By a rule that they do not break", &by_other.to_string(), ""))
            (card("Survived", &count("survived").to_string(), ""))
            (card("Without verdict", &count("no verdict").to_string(), ""))
        }
    }
}

/// The rank of those that were seen as something else than they are.
const BY_OTHER_RULE: u8 = 2;

fn rank(mutant: &Mutant) -> u8 {
    match mutant.fate.as_str() {
        "survived" => 0,
        "no verdict" => 1,
        "killed" if mutant.killed_by.first().is_some_and(|kill| kill.right == Some(false)) => {
            BY_OTHER_RULE
        }
        "killed" => 3,
        _ => 4,
    }
}

fn class(mutant: &Mutant) -> &'static str {
    ["bad", "bad", "part", "good", ""][usize::from(rank(mutant))]
}

fn kill_of(kill: &Kill) -> Markup {
    html! {
        (kill.scenario)
        @if let Some(rule) = &kill.rule {
            ": " @if kill.right == Some(false) { span.part { "named " (rule) } } @else { (rule) }
        }
        @if let Some(report) = &kill.report { ": " (report) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MATRIX;

    #[test]
    fn survivors_stand_first() {
        let matrix = Matrix::read("By hand", MATRIX).expect("a matrix");
        let html = &pages(&[matrix])[0].html;
        let at = |what: &str| html.find(what).unwrap_or_else(|| panic!("{what}: {html}"));
        assert!(at("&lt;b&gt; stays") < at("is lost"));
        assert!(at("is lost") < at("it makes no difference"));
        at("restart/before-unread: R2");
        at("<code>order</code> is lost");
        at("Linux &lt;7&gt;");
    }
}

//! The rules of the contract, with what stands for each.

use maud::html;

use crate::page::{Page, page, table};

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `R2`.
    pub name: String,
    /// What it says.
    pub title: String,
    /// The scenarios that show that it holds.
    pub scenarios: Vec<String>,
    /// The mutants that break it.
    pub mutants: Vec<String>,
}

/// The rules, in the order of the contract.
pub fn pages(rules: &[Rule]) -> Vec<Page> {
    let rows = html! {
        @for rule in rules {
            tr {
                td { strong { (rule.name) } }
                td {
                    (rule.title)
                    details {
                        summary.note {
                            (rule.scenarios.len()) " scenarios, "
                            span.bad[rule.mutants.is_empty()] { (rule.mutants.len()) " mutants" }
                        }
                        p.quiet { (rule.scenarios.join(", ")) }
                        p.quiet { "Mutants: " (rule.mutants.join(", ")) }
                    }
                }
            }
        }
    };
    vec![page("rules.html", "Rules", &table(&["Rule", "Says"], &rows))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_what_stands_for_it() {
        let rule = Rule {
            name: "R2".to_owned(),
            title: "order <kept>".to_owned(),
            scenarios: vec!["restart/order".to_owned()],
            mutants: Vec::new(),
        };
        let html = &pages(&[rule])[0].html;
        assert!(html.contains("order &lt;kept&gt;") && html.contains("restart/order"), "{html}");
        assert!(html.contains("class=\"bad\">0 mutants"), "{html}");
    }
}

//! What there is, at a glance.

use maud::html;

use super::{campaign, coverage, mutants};
use crate::campaign::Campaign;
use crate::coverage::Coverage;
use crate::mutants::Matrix;
use crate::page::{Page, page};

/// Campaigns that are listed.
const CAMPAIGNS: usize = 10;

/// The first page.
pub fn pages(
    coverage: Option<&Coverage>,
    campaigns: &[Campaign],
    matrices: &[Matrix],
) -> Vec<Page> {
    let latest = &campaigns[..campaigns.len().min(CAMPAIGNS)];
    let content = html! {
        h2 { a href="coverage.html" { "Coverage" } }
        @match coverage {
            Some(coverage) => { (coverage::cards(coverage)) p.quiet { (coverage.kernel) } },
            None => (coverage::none()),
        }
        h2 { a href="campaigns.html" { "Campaigns" } }
        (campaign::list(latest))
        h2 { a href="mutants.html" { "Mutants" } }
        @if matrices.is_empty() { (mutants::none()) }
        @for matrix in matrices {
            h3 { (matrix.title) }
            (mutants::cards(matrix))
        }
        h2 { a href="rules.html" { "Rules of the contract" } }
        p { a href="rules.html" { "Each rule with its scenarios and mutants" } }
    };
    vec![page("index.html", "Refan", &content)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_there_is_not_yet_is_told_how_to_get() {
        let html = &pages(None, &[], &[])[0].html;
        assert!(html.contains("cargo xtask coverage") && html.contains("cargo xtask fuzz"));
        let matrix = Matrix::read("By hand", testing::MATRIX).expect("a matrix");
        let html = &pages(Some(&testing::coverage()), &[testing::campaign()], &[matrix])[0].html;
        assert!(html.contains("33.3 %") && html.contains("campaign-7.html"), "{html}");
    }
}

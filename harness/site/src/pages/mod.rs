//! The pages, each from what it shows.

pub mod campaign;
mod code;
pub mod coverage;
pub mod index;
pub mod mutants;
pub mod rules;

use crate::campaign::Campaign;
use crate::coverage::Coverage;
use crate::mutants::Matrix;
use crate::page::Page;

/// What a site shows.
#[derive(Default)]
pub struct Records {
    /// The coverage that was measured last, if it ever was.
    pub coverage: Option<Coverage>,
    /// Campaigns, the latest first.
    pub campaigns: Vec<Campaign>,
    /// Where the folder of findings is, as seen from the site.
    pub artifacts: String,
    /// The kill matrices of the last runs.
    pub matrices: Vec<Matrix>,
    /// The rules of the contract.
    pub rules: Vec<rules::Rule>,
}

impl Records {
    /// All pages.
    pub fn pages(&self) -> Vec<Page> {
        let Self { coverage, campaigns, artifacts, matrices, rules } = self;
        let mut pages = index::pages(coverage.as_ref(), campaigns, matrices);
        pages.extend(coverage::pages(coverage.as_ref()));
        pages.extend(campaign::pages(campaigns, artifacts));
        pages.extend(mutants::pages(matrices));
        pages.extend(rules::pages(rules));
        pages
    }
}

#[cfg(test)]
mod tests {
    use crate::page::STYLE;
    use crate::testing;

    #[test]
    fn pages_need_nothing_from_elsewhere_and_no_link_is_broken() {
        let pages = testing::records().pages();
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
        let files: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        for page in &pages {
            assert!(!page.html.contains("<script") && !page.html.contains("src="));
            let links =
                page.html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
            for link in links {
                let (file, place) = link.split_once('#').unwrap_or((link, ""));
                let is_known = file.is_empty()
                    || file == crate::page::STYLE_FILE
                    || file.starts_with("../artifacts/")
                    || files.contains(&file);
                assert!(is_known, "{}: {link}", page.file);
                let target = pages.iter().find(|it| it.file == file).unwrap_or(page);
                let is_there = place.is_empty() || target.html.contains(&format!("id=\"{place}\""));
                assert!(is_there, "{}: {link}", page.file);
            }
        }
    }
}

//! A page for each campaign, and one that lists them.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};
use serde_json::Value;

use crate::campaign::{Campaign, Finding};
use crate::page::{Page, card, page, table};
use crate::plot::{Plot, time};

/// The list and a page for each campaign, the latest first. `artifacts` is where the folder of findings
/// is, as seen from the site.
pub fn pages(campaigns: &[Campaign], artifacts: &str) -> Vec<Page> {
    let list = page("campaigns.html", "Campaigns", &list(campaigns));
    let each = campaigns.iter().map(|campaign| one(campaign, artifacts));
    std::iter::once(list).chain(each).collect()
}

fn page_of(campaign: &Campaign) -> String {
    format!("campaign-{}.html", campaign.name)
}

/// The campaigns as a table.
pub fn list(campaigns: &[Campaign]) -> Markup {
    let rows = html! {
        @for campaign in campaigns {
            @let last = campaign.last();
            tr {
                td { a href=(page_of(campaign)) { (campaign.name) } }
                td.number.bad[!campaign.findings.is_empty()] { (campaign.findings.len()) }
                td.number { (time(last.seconds)) }
                td.number { (last.runs) }
                td.number { (last.edges) }
                td.number { (last.corpus) }
                td.number { (date(campaign.begin.at)) }
                td { (campaign.begin.kernel) }
            }
        }
    };
    html! {
        @if campaigns.is_empty() {
            p { "None yet: " code { "cargo xtask fuzz --time 10m" } }
        } @else {
            (table(&["", "Findings", "Took", "Programs", "Edges", "Corpus", "Began", "Kernel"], &rows))
        }
    }
}

fn one(campaign: &Campaign, artifacts: &str) -> Page {
    let (begin, last) = (&campaign.begin, campaign.last());
    let rate = last.runs as f64 / last.seconds.max(f64::MIN_POSITIVE);
    let added = last.corpus.saturating_sub(begin.corpus);
    let content = html! {
        p.quiet {
            (begin.kernel) br; (begin.machine) br;
            "began " (date(begin.at)) " UTC with seed " (begin.seed) ", " (begin.jobs) " workers and "
            (begin.corpus) " entries"
            @if campaign.summary.is_none() { br; "It was ended before its time." }
        }
        div.cards {
            (card("Programs", &last.runs.to_string(), &format!("{rate:.1} a second for {}", time(last.seconds))))
            (card("Edges", &last.edges.to_string(), "of the kernel's code under test"))
            (card("States", &last.states.to_string(), "of the model"))
            (card("Corpus", &last.corpus.to_string(), &format!("{added} added")))
            (card("Findings", &campaign.findings.len().to_string(), ""))
        }
        h2 { "Findings" }
        @if campaign.findings.is_empty() { p { "None." } }
        @for finding in &campaign.findings { (found(finding, artifacts)) }
        h2 { "Over time" }
        (plots(campaign))
        @if let Some(summary) = &campaign.summary { (summed(summary)) }
    };
    page(&page_of(campaign), &format!("Campaign {}", campaign.name), &content)
}

fn found(finding: &Finding, artifacts: &str) -> Markup {
    let (again, tries) = finding.repeated;
    html! {
        h3 { (finding.title) }
        p.quiet {
            "after " (time(finding.seconds)) ", again in " (again) " of " (tries) " on a fresh machine"
            @if let Some(folder) = &finding.artifact {
                @let name = folder.rsplit('/').next().unwrap_or(folder);
                "; kept in " a href=(format!("{artifacts}/{name}/README")) { (name) }
            }
        }
        pre { (finding.verdict.trim_end()) "\n\n" (finding.program.trim_end()) }
    }
}

fn plots(campaign: &Campaign) -> Markup {
    let of = |value: fn(&crate::campaign::Sample) -> f64| -> Vec<(f64, f64)> {
        campaign.samples.iter().map(|sample| (sample.seconds, value(sample))).collect()
    };
    let curves = [
        ("Programs a second", campaign.rates()),
        ("Edges", of(|sample| sample.edges as f64)),
        ("States of the model", of(|sample| sample.states as f64)),
        ("Entries of the corpus", of(|sample| sample.corpus as f64)),
    ];
    let found: Vec<f64> = campaign.findings.iter().map(|finding| finding.seconds).collect();
    html! {
        div.plots {
            @for (name, points) in &curves { (Plot { name, points, found: &found }.draw()) }
        }
        @if !found.is_empty() { p.quiet { "Dashed: something was found." } }
    }
}

/// What is told at the end.
fn summed(summary: &Value) -> Markup {
    let number = |name: &str| summary[name].as_u64().unwrap_or(0);
    let runs = number("runs").max(1) as f64;
    let shares = |name: &str, of: f64| -> Vec<(String, String)> {
        let values = summary[name].as_object().into_iter().flatten();
        let percent = |value: &Value| 100.0 * value.as_f64().unwrap_or(0.0) / of;
        values.map(|(name, value)| (name.clone(), format!("{:.1} %", percent(value)))).collect()
    };
    let texts = |name: &str| -> Vec<&str> {
        summary[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let not_entered = texts("not_entered");
    let functions = number("functions");
    let parts = summary["lines"]["parts"].as_array();
    let rows = |rows: Vec<(String, String)>| {
        html! { @for (name, value) in rows { tr { td { (name) } td.number { (value) } } } }
    };
    let counts = [
        ("not judged", number("unjudged")),
        ("not run for what the kernel lacks", number("unsupported")),
        ("of them run twice", number("compared")),
        ("not passing the same edges twice", number("unstable")),
        ("machines restored", number("restarts")),
        ("workers lost", number("lost_workers")),
    ];
    let counts = counts.map(|(name, count)| (name.to_owned(), count.to_string())).to_vec();
    html! {
        h2 { "What programs reached" }
        (table(&["", "Of all programs"], &rows(shares("reached", runs))))
        h2 { "Programs" }
        (table(&["", ""], &rows(counts)))
        h2 { "Where the time went" }
        (table(&["", "Of the workers' time"], &rows(shares("time", 1.0))))
        @if let Some(parts) = parts {
            h2 { "Lines" }
            (table(&["", "Covered", "Of", "Excluded"], &html! {
                @for part in parts {
                    tr {
                        td { (part["name"].as_str().unwrap_or_default()) }
                        @for name in ["covered", "lines", "excluded"] {
                            td.number { (part[name].as_u64().unwrap_or(0)) }
                        }
                    }
                }
            }))
        }
        h2 { "Functions" }
        p {
            (functions.saturating_sub(not_entered.len() as u64)) " of " (functions) " entered"
            @if !not_entered.is_empty() { "; never:" }
        }
        p { @for name in not_entered { code { (name) } " " } }
    }
}

/// Day and time.
fn date(at: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(at)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string().replace(['T', 'Z'], " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn findings_stand_before_curves_and_are_linked() {
        let pages = pages(&[testing::campaign()], "../artifacts");
        let page = pages.iter().find(|page| page.file == "campaign-7.html").expect("the page");
        let html = &page.html;
        assert!(html.contains("href=\"../artifacts/rule-R2-broken-fuzz-1/README\""), "{html}");
        assert!(html.contains("allowed   OPEN_PERM &lt;f0&gt;"), "{html}");
        assert!(html.find("rule R2 broken") < html.find("<svg"), "{html}");
        assert_eq!(html.matches("<svg").count(), 4);
        assert!(html.contains("104 of 106 entered") && html.contains("dnotify_flush"), "{html}");
        assert!(html.contains("began 2025-11-28 20:00:00 UTC"), "{html}");
        assert!(!html.contains("ended before its time"));
        assert!(pages[0].html.contains("href=\"campaign-7.html\""));
    }

    #[test]
    fn a_campaign_that_was_killed_has_a_page() {
        let mut campaign = testing::campaign();
        campaign.summary = None;
        campaign.samples.clear();
        let html = &pages(&[campaign], "x")[1].html;
        assert!(html.contains("ended before its time") && !html.contains("NaN"), "{html}");
    }
}

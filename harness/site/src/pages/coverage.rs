//! The pages about coverage: what was not passed of the series first, then file by file.

use maud::{Markup, html};

use super::code::{self, HERE, link_to, page_of};
use crate::compare::{Changes, Lines, count};
use crate::coverage::{Coverage, File, Scope, Share, Summary};
use crate::page::{Page, bar, page, share_card, table};

/// Lines that are shown around those in question.
const AROUND: u32 = 3;

/// The overview and a page for each file.
pub fn pages(coverage: Option<&Coverage>) -> Vec<Page> {
    let content = coverage.map_or_else(none, overview);
    let sources = coverage.iter().flat_map(|coverage| &coverage.files);
    let sources = sources.map(|(path, file)| source(path, file));
    std::iter::once(page("coverage.html", "Coverage", &content)).chain(sources).collect()
}

/// How it is measured.
pub fn none() -> Markup {
    html! { p { "Not measured yet: " code { "cargo xtask coverage" } } }
}

/// The figures of a record.
pub fn cards(coverage: &Coverage) -> Markup {
    let [all, series] = [Scope::All, Scope::Series].map(|scope| coverage.summary(scope));
    shares(series, "All lines", "All branches", all)
}

/// The shares of the series, if it is there, and of all.
fn shares(series: Summary, lines: &str, branches: &str, all: Summary) -> Markup {
    html! {
        div.cards {
            @if series.lines.of > 0 {
                (share_card("Lines of the series", series.lines))
                (share_card("Branches of the series", series.branches))
            }
            (share_card(lines, all.lines))
            (share_card(branches, all.branches))
        }
    }
}

fn overview(coverage: &Coverage) -> Markup {
    let series = coverage.summary(Scope::Series).lines.of > 0;
    html! {
        p.quiet { (coverage.kernel) br; (coverage.ran) }
        (cards(coverage))
        @if let Some(changes) = &coverage.changes { (compared(coverage, changes)) }
        @if series {
            h2 #missing { "Lines of the series that nothing passed" }
            (missing(coverage))
            h2 #branches { "Conditions of the series that went one way only" }
            (partial(coverage))
        }
        h2 #files { "Files" }
        (files(coverage, series))
    }
}

fn missing(coverage: &Coverage) -> Markup {
    let runs = coverage.files.iter().flat_map(|(path, file)| {
        file.runs(file.missing(Scope::Series)).into_iter().map(move |run| (path, file, run))
    });
    let runs: Vec<_> = runs.collect();
    html! {
        @if runs.is_empty() { p { "None: all of them were passed." } } @else { (code::key()) }
        @for (path, file, run) in runs { (excerpt(path, file, &run)) }
    }
}

/// Some lines with those around them.
fn excerpt(path: &str, file: &File, run: &[u32]) -> Markup {
    let (first, last) = (run.first().copied().unwrap_or(1), run.last().copied().unwrap_or(1));
    let shown = first.saturating_sub(AROUND).max(1)..=last + AROUND;
    html! {
        h3 {
            a href=(format!("{}{first}", link_to(path))) { (path) ":" (first) }
            @if let Some(function) = file.function(first) { " in " code { (function) } }
        }
        div.excerpt { (code::lines(file, &page_of(path), shown)) }
    }
}

fn partial(coverage: &Coverage) -> Markup {
    let lines = coverage.files.iter().flat_map(|(path, file)| {
        file.partial(Scope::Series).map(move |(number, line)| (path, file, number, line))
    });
    let lines: Vec<_> = lines.collect();
    let rows = html! {
        @for (path, file, number, line) in &lines {
            @let taken = line.branches.iter().filter(|count| **count > 0).count();
            tr {
                td { a href=(format!("{}{number}", link_to(path))) { (name(path)) ":" (number) } }
                td.number.part { (taken) " of " (line.branches.len()) }
                td { code { (file.text.lines().nth(*number as usize - 1).unwrap_or("").trim()) } }
            }
        }
    };
    html! {
        @if lines.is_empty() {
            p { "None." }
        } @else {
            p.quiet { "The compiler's ways: one condition of the source can have several." }
            (table(&["Line", "Ways taken", "Source"], &rows))
        }
    }
}

/// The last part of a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn files(coverage: &Coverage, series: bool) -> Markup {
    let mut files: Vec<(&String, &File)> = coverage.files.iter().collect();
    let missing = |file: &File| {
        let lines = file.summary(Scope::Series).lines;
        lines.of - lines.passed
    };
    // What is missing of the series stands first.
    files.sort_by_key(|(path, file)| (std::cmp::Reverse(missing(file)), (*path).clone()));
    let rows = html! {
        @for (path, file) in files {
            @let all = file.summary(Scope::All);
            tr {
                td { a href=(page_of(path)) { (path) } }
                (share_cells(all.lines))
                (share_cells(all.branches))
                @if series {
                    @let own = file.summary(Scope::Series).lines;
                    @if own.of > 0 { (share_cells(own)) } @else { td {} td {} }
                }
            }
        }
    };
    let head = ["File", "Lines", "", "Branches", "", "Of the series", ""];
    table(if series { &head } else { &head[..5] }, &rows)
}

fn share_cells(share: Share) -> Markup {
    html! {
        td.number { (format!("{:.1} %", share.percent())) }
        td { (bar(share)) span.note { (share.passed) " of " (share.of) } }
    }
}

fn compared(coverage: &Coverage, changes: &Changes) -> Markup {
    let Changes { gained, lost, new_passed, new_missing } = changes;
    let list = |title: &str, class: &str, lines: &Lines| {
        html! {
            @if count(lines) > 0 {
                h3 class=(class) { (title) ": " (count(lines)) }
                @for (path, numbers) in lines {
                    @if let Some(file) = coverage.files.get(path) {
                        p {
                            (name(path)) ": "
                            (spans(&link_to(path), file, numbers.iter().copied()))
                        }
                    }
                }
            }
        }
    };
    html! {
        h2 #compared { "Compared with the earlier run" }
        @if changes == &Changes::default() { p { "The same lines were passed." } }
        (list("Lost", "bad", lost))
        (list("New lines that nothing passed", "bad", new_missing))
        (list("Gained", "good", gained))
        (list("New lines that were passed", "good", new_passed))
    }
}

/// Links to lines, neighbours together. `to` is where a line stands but for its number.
fn spans(to: &str, file: &File, numbers: impl IntoIterator<Item = u32>) -> Markup {
    html! {
        @for run in file.runs(numbers) {
            @if let [first, rest @ ..] = run.as_slice() {
                a href=(format!("{to}{first}")) {
                    (first) @if let Some(last) = rest.last() { "–" (last) }
                }
                " "
            }
        }
    }
}

fn source(path: &str, file: &File) -> Page {
    let [all, series] = [Scope::All, Scope::Series].map(|scope| file.summary(scope));
    let missing = |scope| file.missing(scope);
    let last = file.text.lines().count() as u32;
    let content = html! {
        (shares(series, "Lines", "Branches", all))
        @if series.lines.passed < series.lines.of {
            p { span.bad { "Not passed, of the series: " } (spans(HERE, file, missing(Scope::Series))) }
        }
        @if all.lines.passed < all.lines.of {
            p { "Not passed: " (spans(HERE, file, missing(Scope::All))) }
        }
        (code::key())
        div.excerpt { (code::lines(file, "", 1..=last)) }
    };
    page(&page_of(path), path, &content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn html(pages: &[Page], file: &str) -> String {
        pages.iter().find(|page| page.file == file).expect("the page").html.clone()
    }

    #[test]
    fn what_the_series_misses_stands_before_all_else() {
        let pages = pages(Some(&testing::coverage()));
        let overview = html(&pages, "coverage.html");
        let at = |what: &str| overview.find(what).unwrap_or_else(|| panic!("{what}: {overview}"));
        assert!(
            at("return x;") < at("id=\"branches\"") && at("id=\"branches\"") < at("id=\"files\"")
        );
        assert!(!overview.contains("return 1;"), "it is not of the series");
        let source = "source-fs-notify-fanotify-fanotify_user.c.html";
        at(&format!("href=\"{source}#L7\""));
        let text = html(&pages, source);
        assert!(text.contains("&lt;says&gt; &amp; &quot;does&quot;"), "{text}");
        assert!(text.contains("id=\"L7\" class=\"series missed\""), "{text}");
        assert!(text.contains("id=\"L6\" class=\"series partial\"") && text.contains("1/2 5×"));
    }

    #[test]
    fn a_kernel_without_a_series_has_no_word_of_it() {
        let mut coverage = testing::coverage();
        coverage.files.values_mut().for_each(|file| file.of_series.clear());
        let overview = html(&pages(Some(&coverage)), "coverage.html");
        assert!(!overview.contains("series"), "{overview}");
    }

    #[test]
    fn what_was_lost_is_told_first_and_linked() {
        let mut after = testing::coverage();
        let mut before = after.clone();
        for file in before.files.values_mut() {
            file.lines.entry(7).or_default().count = 1;
            file.lines.entry(11).or_default().count = 0;
        }
        after.changes = Some(Changes::between(&before, &after));
        let overview = html(&pages(Some(&after)), "coverage.html");
        let (lost, gained) = (overview.find("Lost: 1"), overview.find("Gained: 1"));
        assert!(lost.is_some() && lost < gained, "{overview}");
    }
}

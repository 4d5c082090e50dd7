//! Source with what was passed of it.

use maud::{Markup, html};

use crate::coverage::File;
use crate::gcov::Line;

/// Name of the page of a file of the source.
pub fn page_of(path: &str) -> String {
    format!("source-{}.html", path.replace('/', "-"))
}

/// Where the lines of a file stand, but for the number.
pub fn link_to(path: &str) -> String {
    format!("{}{HERE}", page_of(path))
}

/// The same on the file's own page.
pub const HERE: &str = "#L";

/// Some lines of a file. Numbers lead to `page`, which is empty on the page of the file itself.
pub fn lines(file: &File, page: &str, numbers: std::ops::RangeInclusive<u32>) -> Markup {
    let first = *numbers.start();
    let count = (numbers.end() + 1).saturating_sub(first);
    let text = (first..).zip(file.text.lines().skip(first.saturating_sub(1) as usize));
    html! {
        div.scroll {
            table.code {
                @for (number, text) in text.take(count as usize) {
                    @let line = file.lines.get(&number);
                    @let id = page.is_empty().then(|| format!("L{number}"));
                    tr id=[id] class=(classes(file, number, line)) {
                        td.at { a href=(format!("{page}#L{number}")) { (number) } }
                        td.count title=[line.and_then(ways)] { (line.map_or_else(String::new, passed)) }
                        td.text { (text) }
                    }
                }
            }
        }
    }
}

fn classes(file: &File, number: u32, line: Option<&Line>) -> String {
    let series = file.of_series.contains(&number).then_some("series");
    let passed = match line {
        Some(_) if file.excluded.contains(&number) => None,
        Some(line) if line.count == 0 => Some("missed"),
        Some(line) if line.branches.contains(&0) => Some("partial"),
        Some(_) => Some("passed"),
        None => None,
    };
    series.into_iter().chain(passed).collect::<Vec<_>>().join(" ")
}

/// How often; of a condition also how many of its ways were taken.
fn passed(line: &Line) -> String {
    let taken = line.branches.iter().filter(|count| **count > 0).count();
    let ways = match line.branches.len() {
        0 => String::new(),
        all => format!("{taken}/{all} "),
    };
    format!("{ways}{}×", line.count)
}

fn ways(line: &Line) -> Option<String> {
    let counts = line.branches.iter().map(u64::to_string).collect::<Vec<_>>();
    (!counts.is_empty()).then(|| format!("ways taken: {}", counts.join(", ")))
}

/// What the colours mean.
pub fn key() -> Markup {
    html! {
        p.key.quiet {
            span.passed { "passed" } span.partial { "not every way taken" }
            span.missed { "not passed" } span.series { "line of the series" }
        }
    }
}

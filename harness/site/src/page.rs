//! What all pages have in common.

use maud::{DOCTYPE, Markup, html};

use crate::coverage::Share;

/// The looks of all pages; it lies beside them.
pub const STYLE: &str = include_str!("style.css");
/// Its file.
pub const STYLE_FILE: &str = "style.css";

/// A page: its file and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Name of its file, in the one folder of the site.
    pub file: String,
    /// HTML.
    pub html: String,
}

/// The pages that are linked from everywhere.
const PAGES: [(&str, &str); 5] = [
    ("index.html", "Refan"),
    ("coverage.html", "Coverage"),
    ("campaigns.html", "Campaigns"),
    ("mutants.html", "Mutants"),
    ("rules.html", "Rules"),
];

/// A whole page.
pub fn page(file: &str, title: &str, content: &Markup) -> Page {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Refan" }
                link rel="stylesheet" href=(STYLE_FILE);
            }
            body {
                nav {
                    @for (target, name) in PAGES {
                        @if target == file {
                            a href=(target) aria-current="page" { (name) }
                        } @else {
                            a href=(target) { (name) }
                        }
                    }
                }
                main {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Page { file: file.to_owned(), html: html.into_string() }
}

/// A figure with what it is about.
pub fn card(name: &str, figure: &str, note: &str) -> Markup {
    html! {
        div.card {
            div.name { (name) }
            div.figure { (figure) }
            div.note { (note) }
        }
    }
}

/// A share as a figure with its bar.
pub fn share_card(name: &str, share: Share) -> Markup {
    html! {
        div.card {
            div.name { (name) }
            div.figure { (format!("{:.1} %", share.percent())) }
            (bar(share))
            div.note { (share.passed) " of " (share.of) }
        }
    }
}

/// A share as a bar.
pub fn bar(share: Share) -> Markup {
    let title = share.to_string();
    html! {
        div.bar role="img" aria-label=(title) title=(title) {
            div style=(format!("width:{:.1}%", share.percent())) {}
        }
    }
}

/// A table that is wider than a small screen scrolls by itself.
pub fn table(head: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for name in head { th { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

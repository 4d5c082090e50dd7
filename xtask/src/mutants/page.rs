//! The kill matrix as a page for people: one file that needs nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use super::matrix::{Came, Matrix, Row, list};
use super::terminal::told;
use crate::report::seconds;

/// Wide screens get a table, narrow ones a card a mutant.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:light-dark(#ddd,#444);--soft:light-dark(#555,#aaa);\
--bad:light-dark(#b3261e,#ff8a80);--good:light-dark(#1b6e36,#7bd88f);--card:light-dark(#f6f6f6,#222)}\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:75rem;\
background:light-dark(#fff,#161616);color:light-dark(#111,#eee)}\
h1{font-size:1.4rem}h2{font-size:1.1rem}.soft{color:var(--soft)}\
dl{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}\
dl div{background:var(--card);border-radius:.5rem;padding:.5rem .8rem}\
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.2rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid var(--line)}\
td:nth-child(5){text-align:right;white-space:nowrap}\
.survived td:nth-child(3),.unreachable td:nth-child(3),.no-verdict td:nth-child(3){color:var(--bad);font-weight:600}\
.killed td:nth-child(3){color:var(--good)}\
code,td:first-child{overflow-wrap:anywhere;font-family:ui-monospace,monospace;font-size:.9rem}\
p{margin:.2rem 0}\
@media(max-width:45rem){thead{display:none}tr,td{display:block;border:0;padding:.1rem 0}\
tr{border-bottom:1px solid var(--line);padding:.6rem 0}td:nth-child(5){text-align:left}\
td:empty{display:none}td:first-child{font-weight:600}}";

/// The page.
pub fn page(title: &str, matrix: &Matrix, kernels: &[&str], elapsed: Duration) -> String {
    let counts = matrix.counts();
    let title = escaped(title);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n"
    );
    for kernel in kernels {
        text += &format!("<p class=\"soft\">{}</p>\n", escaped(kernel));
    }
    let figures = [
        ("killed", format!("{} of {}", counts.killed(), counts.judged())),
        ("survived", counts.survived.to_string()),
        ("out of reach", counts.unreachable.to_string()),
        ("without verdict", counts.unjudged.to_string()),
        ("named a rule that they do not break", {
            let share = counts.share_of_other_rules() * 100.0;
            format!("{} ({share:.1} %)", counts.other_rule)
        }),
        ("seen by the kernel's report", counts.report.to_string()),
        ("set apart", counts.set_apart.to_string()),
        (
            "the kernel without a bug",
            format!("{} held, {} unsupported", matrix.unmutated.held, matrix.unmutated.unsupported),
        ),
        ("took", seconds(elapsed)),
    ];
    text += "<dl>\n";
    for (what, figure) in figures {
        text += &format!("<div><dt>{what}</dt><dd>{}</dd></div>\n", escaped(&figure));
    }
    text += "</dl>\n<table>\n<thead><tr><th>mutant<th>breaks<th>fate<th>by<th>time</tr></thead>\n";
    for row in &matrix.rows {
        write_row(&mut text, row);
    }
    text += "</table>\n</html>\n";
    text
}

fn write_row(text: &mut String, row: &Row) {
    let Row { name, mutant, came, elapsed } = row;
    let by: Vec<String> = match came {
        Came::Survived => Vec::new(),
        Came::Unjudged(reasons) => {
            reasons.iter().map(|(name, why)| format!("{name}: {why}")).collect()
        }
        Came::Killed(kills) => kills.iter().map(told).collect(),
        Came::Refused(why) => vec![format!("by the probe: {why}")],
        Came::SetApart(why) | Came::Unreachable(why) => vec![why.clone()],
    };
    let by: String = by.iter().map(|line| format!("<p>{}</p>", escaped(line))).collect();
    let time = match came {
        Came::SetApart(_) | Came::Unreachable(_) => String::new(),
        _ => seconds(*elapsed),
    };
    let word = came.word();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "<tr class=\"{}\"><td>{}<td>{}<td>{word}<td>{by}<p class=\"soft\">{}</p><td>{time}</tr>",
        word.replace(' ', "-"),
        escaped(name),
        list(&mutant.breaks),
        code_marked(&mutant.summary),
    );
}

/// Text with what stands between backquotes as code.
fn code_marked(text: &str) -> String {
    let mut marked = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(marked, "<code>{}</code>", escaped(part));
        } else {
            marked += &escaped(part);
        }
    }
    marked
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::data::Mutant;
    use super::super::run::Fate;
    use super::*;

    #[test]
    fn what_kernels_and_mutants_say_is_text() {
        let mutant: Mutant =
            toml::from_str("breaks = [\"R1\"]\nsummary = \"a: `b < &c` is left out\"\nwhy = \"\"")
                .expect("a mutant");
        let mut matrix = Matrix::default();
        matrix.add("m", &mutant, Fate::Refused("<script>".to_owned()), Duration::ZERO);
        let page = page("Mutants", &matrix, &["Linux \"7\""], Duration::from_secs(1));
        assert!(page.contains("by the probe: &lt;script&gt;"));
        assert!(page.contains("a: <code>b &lt; &amp;c</code> is left out"));
        assert!(page.contains("Linux &quot;7&quot;") && page.contains("<dd>1 of 1</dd>"));
        assert!(!page.contains("<script>") && !page.contains("http"));
    }
}

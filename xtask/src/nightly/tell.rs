//! What is told of a night: a report, and the text of an issue for each new finding.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use refan_runner::known::{self, Known};

use super::campaign::{Campaign, Finding};
use crate::report::seconds;

/// Lines of a kernel report that an issue quotes; the folder has all.
const QUOTED: usize = 80;

/// A finding, and what is known of it or was made of it.
pub struct Told {
    /// The finding.
    pub found: Finding,
    /// What it is, or what there is of it.
    pub news: News,
}

/// Whether a finding is one.
pub enum News {
    /// It is not.
    Known(Known),
    /// It is; its folders are there by these names.
    New {
        /// The finding as it was kept, if it could be.
        folder: Option<String>,
        /// The same made small, if that came to an end in time.
        minimized: Option<String>,
    },
}

/// The report of the night, as Markdown.
pub fn report(campaign: &Campaign, told: &[Told], verdict: &str) -> String {
    let mut text = format!("# Nightly campaign: {verdict}\n\n");
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    if !campaign.start.kernel.is_empty() {
        line(&format!("- kernel: {}", campaign.start.kernel));
        line(&format!("- machine: {}", campaign.start.machine));
    }
    match &campaign.summary {
        Some(it) => {
            let time = seconds(Duration::from_secs_f64(it.seconds.max(0.0)));
            line(&format!("- programs: {} in {time}, {:.1} a second", it.runs, it.rate));
            line(&format!("- not judged: {}", it.unjudged));
            line(&format!("- reached: {} edges, {} states of the model", it.edges, it.states));
            line(&format!("- corpus: {} entries, {} of them new", it.corpus, it.added));
            let entered = it.functions.saturating_sub(it.not_entered.len());
            line(&format!("- functions entered: {entered} of {}", it.functions));
            if it.lost_workers > 0 {
                line(&format!("- workers that ended before their time: {}", it.lost_workers));
            }
        }
        None => line("- the campaign did not get to its end"),
    }
    if told.is_empty() {
        line("\nNothing was found.");
        return text;
    }
    line("\n| finding | showed again | |\n|---|---|---|");
    for Told { found, news } in told {
        let what = match news {
            News::Known(known) => format!("known since {}: {}", known.since, known.why),
            News::New { folder, minimized } => match (minimized, folder) {
                (Some(name), _) | (None, Some(name)) => format!("new: findings/{name}"),
                (None, None) => "new, and could not be kept".to_owned(),
            },
        };
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        line(&format!(
            "| {} | {} of {} | {} |",
            cell(&found.title),
            found.repeated,
            found.tries,
            cell(&what)
        ));
    }
    text
}

/// The text of an issue for a finding whose folders are in `findings`: its first line is the title.
pub fn issue(
    campaign: &Campaign,
    found: &Finding,
    folder: Option<&str>,
    minimized: Option<&str>,
    findings: &Path,
) -> String {
    let mut text = format!("# {}\n\n", found.title);
    let _ = writeln!(text, "A campaign found it.\n");
    let _ = writeln!(text, "- kernel: {}", campaign.start.kernel);
    let _ = writeln!(text, "- machine: {}", campaign.start.machine);
    let _ = writeln!(
        text,
        "- shows again: {} of {} times on a freshly restored machine\n",
        found.repeated, found.tries
    );
    let file = |folder: &str, name: &str| std::fs::read_to_string(findings.join(folder).join(name));
    let best = minimized.or(folder);
    let program = best.and_then(|folder| file(folder, refan_runner::artifact::PROGRAM).ok());
    let program = program.unwrap_or_else(|| found.program.clone());
    let verdict = best.and_then(|folder| file(folder, "verdict.txt").ok());
    let verdict = verdict.unwrap_or_else(|| found.verdict.clone());
    block(&mut text, "What was allowed and what was seen:", &verdict);
    let how = if minimized.is_some() { ", made as small as it gets" } else { "" };
    block(&mut text, &format!("The program{how}:"), &program);
    let kernel_report = best.and_then(|folder| {
        file(folder, "symbolized.txt").or_else(|_| file(folder, "report.txt")).ok()
    });
    if let Some(report) = kernel_report {
        let lines: Vec<&str> = report.lines().take(QUOTED).collect();
        block(&mut text, "What the kernel reported:", &lines.join("\n"));
    }
    if let Some(folder) = best {
        let _ = writeln!(
            text,
            "To run it again, with the folder `findings/{folder}` of this night's upload in a checkout of \
             Refan:\n\n    cargo xtask repro {folder} --runs 20\n"
        );
    }
    let _ = writeln!(
        text,
        "If it is to wait, this in {} keeps the nights green:\n\n    \
         [[known]]\n    title = {:?}\n    why = \"…\"\n    since = \"…\"",
        known::FILE,
        found.title
    );
    text
}

fn block(text: &mut String, what: &str, lines: &str) {
    let _ = writeln!(text, "{what}\n");
    for line in lines.trim_end().lines() {
        let _ = writeln!(text, "{}", format!("    {line}").trim_end());
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::nightly::campaign::Start;

    fn found() -> Finding {
        Finding {
            title: "rule R2 broken at read".to_owned(),
            verdict: "rule      R2, at step 3".to_owned(),
            repeated: 2,
            tries: 3,
            program: "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n".to_owned(),
            artifact: None,
        }
    }

    fn campaign() -> Campaign {
        let start = Start { kernel: "Linux".to_owned(), machine: "deterministic".to_owned() };
        Campaign { start, findings: vec![found()], summary: None, exit: Exit::Broken }
    }

    #[test]
    fn the_report_tells_what_is_new_and_what_is_known() {
        let known = Known {
            title: "x".to_owned(),
            why: "a|b".to_owned(),
            since: "2026-11-28".to_owned(),
            classic: None,
        };
        let new = News::New { folder: Some("f".to_owned()), minimized: None };
        let told =
            [Told { found: found(), news: News::Known(known) }, Told { found: found(), news: new }];
        let text = report(&campaign(), &told, "1 new finding");
        assert!(text.contains("known since 2026-11-28: a\\|b |"), "{text}");
        assert!(text.contains("| rule R2 broken at read | 2 of 3 | new: findings/f |"), "{text}");
        assert!(text.contains("did not get to its end"), "{text}");
    }

    #[test]
    fn an_issue_has_the_least_program_and_the_report_of_the_kernel() {
        let findings = tempfile::tempdir().expect("a folder");
        for (folder, program) in [("f", "long"), ("f-minimized", "short")] {
            let folder = findings.path().join(folder);
            std::fs::create_dir(&folder).expect("made");
            std::fs::write(folder.join("program.scn"), program).expect("written");
            std::fs::write(folder.join("report.txt"), "BUG: KASAN").expect("written");
        }
        let minimized = Some("f-minimized");
        let text = issue(&campaign(), &found(), Some("f"), minimized, findings.path());
        assert!(text.starts_with("# rule R2 broken at read\n"), "{text}");
        assert!(text.contains("    short\n") && !text.contains("long"), "{text}");
        assert!(text.contains("    BUG: KASAN\n"), "{text}");
        assert!(text.contains("cargo xtask repro f-minimized --runs 20"), "{text}");
        let bare = issue(&campaign(), &found(), None, None, findings.path());
        assert!(bare.contains("    c = fanotify_init("), "{bare}");
    }
}

//! The summary for people.

use std::path::Path;

use refan_runner::gcov::Tally;
use refan_site::compare::{Changes, Lines, count};
use refan_site::coverage::{Coverage, File, Scope, Summary};

/// Lines that are told one by one; the page has them all.
const MOST: usize = 30;

/// Prints what was passed.
pub fn print(coverage: &Coverage, tally: &Tally, page: &Path) {
    say!("  kernel    {}", coverage.kernel);
    say!("  ran       {}", coverage.ran);
    for (name, verdict) in &tally.findings {
        say!("  {}: {name}", verdict.word());
        verdict.to_string().lines().for_each(|line| say!("      {line}"));
    }
    for (path, file) in &coverage.files {
        say!("  {path}");
        tell("all", file.summary(Scope::All));
        tell("series", file.summary(Scope::Series));
    }
    say!("  together");
    tell("all", coverage.summary(Scope::All));
    tell("series", coverage.summary(Scope::Series));
    missing(coverage);
    coverage.changes.iter().for_each(|changes| compared(coverage, changes));
    say!("  see       {}", page.display());
}

fn tell(what: &str, summary: Summary) {
    if summary.lines.of > 0 {
        say!("    {what:<7} lines {:<28} branches {}", summary.lines.to_string(), summary.branches);
    }
}

/// The lines of the series that nothing passed.
fn missing(coverage: &Coverage) {
    let runs = coverage.files.iter().flat_map(|(path, file)| {
        let runs = file.runs(file.missing(Scope::Series));
        runs.into_iter().map(move |run| place(path, file, &run))
    });
    let runs: Vec<String> = runs.collect();
    if !runs.is_empty() {
        say!("  never passed, of the series");
    }
    runs.iter().take(MOST).for_each(|run| say!("    {run}"));
    if runs.len() > MOST {
        say!("    … and {} more", runs.len() - MOST);
    }
}

/// `fs/notify/mark.c:12-14 in f`.
fn place(path: &str, file: &File, run: &[u32]) -> String {
    let numbers = match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(u32::to_string).collect(),
    };
    let function = run.first().and_then(|first| file.function(*first));
    let function = function.map_or_else(String::new, |name| format!(" in {name}"));
    format!("{path}:{numbers}{function}")
}

fn compared(coverage: &Coverage, changes: &Changes) {
    let Changes { gained, lost, new_passed, new_missing } = changes;
    say!(
        "  compared  {} lines gained, {} lost; of new lines {} passed, {} not",
        count(gained),
        count(lost),
        count(new_passed),
        count(new_missing)
    );
    let tell = |sign: char, lines: &Lines| {
        for (path, numbers) in lines {
            let Some(file) = coverage.files.get(path) else { continue };
            let runs = file.runs(numbers.iter().copied());
            runs.iter().take(MOST).for_each(|run| say!("    {sign} {}", place(path, file, run)));
        }
    };
    tell('-', lost);
    tell('+', gained);
}

//! The commands of the documentation, so that tests can hold them against what there is.

use std::io;
use std::path::{Path, PathBuf};

/// A command line of cargo in a page.
#[derive(Clone, Debug)]
pub struct Documented {
    /// The page.
    pub page: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// Its words, as a shell takes them.
    pub words: Vec<String>,
}

/// The pages: README, docs, the workflows, and what starts campaigns elsewhere.
///
/// # Errors
/// They cannot be listed.
pub fn pages(repository: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pages = vec![repository.join("README.md")];
    for (folder, extension) in [("docs", "md"), (".github/workflows", "yml"), ("deploy", "yaml")] {
        for entry in std::fs::read_dir(repository.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == extension) {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// All commands of all pages.
///
/// # Errors
/// A page cannot be read.
pub fn commands(repository: &Path) -> io::Result<Vec<Documented>> {
    let mut all = Vec::new();
    for page in pages(repository)? {
        let text = std::fs::read_to_string(&page)?;
        let is_workflow = page.extension().is_some_and(|it| it == "yml" || it == "yaml");
        for (number, line) in text.lines().enumerate() {
            for words in in_line(line, is_workflow) {
                all.push(Documented { page: page.clone(), line: number + 1, words });
            }
        }
    }
    Ok(all)
}

/// The commands of a line: of a block of code, which is indented, all; of other text those that stand
/// between backquotes.
fn in_line(line: &str, is_workflow: bool) -> Vec<Vec<String>> {
    if line.starts_with("    ") || is_workflow {
        return in_code(line);
    }
    line.split('`').skip(1).step_by(2).flat_map(in_code).collect()
}

/// The commands of cargo in a line of code.
pub fn in_code(line: &str) -> Vec<Vec<String>> {
    const CARGO: &str = "cargo ";
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = line[from..].find(CARGO).map(|at| from + at) {
        from = at + CARGO.len();
        let before = line[..at].trim_end();
        let ends = ["$", "{", ";", "&&", "'", "(", "run:", "exec"];
        let starts_here = before.is_empty() || ends.iter().any(|it| before.ends_with(it));
        // What is left out (`…`), and what a shell fills in, is no command to be run.
        let words = words(&line[at..]);
        let is_whole = words.iter().all(|word| !word.contains('…') && !word.contains("$@"));
        if starts_here && is_whole {
            found.push(words);
        }
    }
    found
}

/// The words of a command up to where the shell begins another one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' => words.extend(word.take()),
            '|' | '>' | ';' | '&' | ')' | '<' => break,
            '#' if word.is_none() => break,
            '\'' | '"' => {
                // One that is not closed ends a command that stands in quotes itself.
                let Some((quoted, behind)) = rest.as_str().split_once(c) else { break };
                word.get_or_insert_default().push_str(quoted);
                rest = behind.chars();
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(line: &str) -> Vec<String> {
        in_line(line, false).into_iter().map(|words| words.join("|")).collect()
    }

    #[test]
    fn commands_are_found_in_code_only() {
        assert_eq!(lines("    cargo xtask test a   # a suite"), ["cargo|xtask|test|a"]);
        assert_eq!(lines("    $ cargo xtask test --json | jq ."), ["cargo|xtask|test|--json"]);
        assert_eq!(
            lines("Say `cargo xtask doctor`, and `x`; cargo is no command"),
            ["cargo|xtask|doctor"]
        );
        let bisect = "    git bisect run sh -c 'cd ~/refan && cargo xtask test --bisect restart'";
        assert_eq!(lines(bisect), ["cargo|xtask|test|--bisect|restart"]);
        assert_eq!(
            lines("    source <(cargo xtask completions bash)"),
            ["cargo|xtask|completions|bash"]
        );
        let quoted = "    cargo xtask exec -- sh -c 'uname -r; dmesg | tail'";
        assert_eq!(lines(quoted), ["cargo|xtask|exec|--|sh|-c|uname -r; dmesg | tail"]);
        assert!(lines("    xtask() { cargo xtask \"$@\"; }").is_empty());
        assert!(lines("`cargo xtask …` stands for all").is_empty());
    }
}

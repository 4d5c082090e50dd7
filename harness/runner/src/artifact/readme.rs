//! What an artifact says to people.

use std::fmt::Write as _;
use std::path::Path;

use super::PROGRAM;
use super::record::Artifact;

/// The README of an artifact in this folder, with this verdict and these files.
pub(super) fn of(artifact: &Artifact, verdict: &str, files: &[&str], folder: &Path) -> String {
    let mut text = format!("{}\n{}\n\n", artifact.title, "=".repeat(artifact.title.len()));
    let mut line = |word: &str, value: &str| {
        let _ = writeln!(text, "{word:<10}{value}");
    };
    line("scenario", &artifact.scenario);
    line("verdict", &artifact.verdict);
    for told in verdict.lines() {
        line("", told);
    }
    if let Some((again, runs)) = artifact.repeated {
        line("repeated", &format!("{again} of {runs} on a freshly restored machine"));
    }
    line("kernel", &artifact.kernel.summary);
    if let Some(mutant) = artifact.mutant {
        line("", &format!("told to have the seeded bug {mutant} (fs.fanotify.mutant)"));
    }
    line("machine", &artifact.machine.summary);
    if !artifact.watched.is_empty() {
        line("", &format!("watched by KCOV in {}", artifact.watched.join(", ")));
    }
    if files.contains(&PROGRAM) {
        let needs_earlier = files.contains(&super::EARLIER);
        let _ = write!(text, "\n{}", reproduce(artifact, folder, needs_earlier));
    } else {
        text += "\nIt is a finding on all the programs that ran on one machine; no single one is known to\n\
                 provoke it.\n";
    }
    text += "\nFiles\n\n";
    for name in files {
        if let Some((_, what)) = WHAT.iter().find(|(file, _)| file == name) {
            let _ = writeln!(text, "    {name:<16}{what}");
        }
    }
    text
}

/// What each file is.
const WHAT: &[(&str, &str)] = &[
    (super::RECORD, "identity of kernel, machine and guest with digests, QEMU's command line"),
    (PROGRAM, "the program, a scenario"),
    ("program.bin", "the same in its binary form"),
    (super::EARLIER, "what ran on the machine before it, without which it does not fail"),
    (super::C_SOURCE, "the same as C: cc -static -pthread -o repro repro.c"),
    ("verdict.txt", "what was allowed and what was seen"),
    ("history.txt", "the run, call by call"),
    ("report.txt", "the kernel's report as printed"),
    ("symbolized.txt", "the same with lines of the source"),
    ("console.txt", "all that the kernel printed during the run"),
    ("kernel.config", "the kernel's configuration"),
    ("machine.toml", "the machine profile"),
];

fn reproduce(artifact: &Artifact, folder: &Path, needs_earlier: bool) -> String {
    let folder = quoted(&folder.to_string_lossy());
    let mut text = format!(
        "To run it again, in a checkout of Refan; status 1 says that it happened, 0 that it did not:\n\n    \
         cargo xtask repro {folder}\n"
    );
    if needs_earlier {
        return text;
    }
    let _ = write!(
        text,
        "\nTo make its program as small as it can be:\n\n    cargo xtask minimize {folder}\n"
    );
    if artifact.mutant.is_none() && artifact.against.is_none() {
        let options: Vec<String> = artifact.options.iter().map(|word| quoted(word)).collect();
        let _ = write!(
            text,
            "\nAs a scenario:\n\n    cargo xtask test {folder}/{PROGRAM} {}\n",
            options.join(" ")
        );
    }
    text
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/a/b-1.scn"), "/a/b-1.scn");
        assert_eq!(quoted("/my files/it's"), "'/my files/it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}

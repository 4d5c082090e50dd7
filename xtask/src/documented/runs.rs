//! The commands of the documentation are run, in the order of the pages, and end as they have to.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use xtask::docs;

use super::repository;
use crate::agent::cargo;

/// The scenario that commands name.
const SCENARIO: &str = "scenarios/restart/before-unread.scn";
/// What finds the finding that they name.
const FINDING: [&str; 4] = ["test", "restart/before-unread", "--mutant", "restart-at-tail"];

/// What stands in a command that is not run here, and why.
const NOT_HERE: [(&str, &str); 29] = [
    ("cargo fuzz", "takes cargo-fuzz; `fuzz::driven` runs the target under a plain driver"),
    ("cargo nextest run", "is the last step of `ci pr`, or takes an archive"),
    ("cargo nextest archive", "builds all anew"),
    ("refan-store", "`harness/store/tests/exchange.rs` runs it"),
    ("xtask ci", "is what runs this, or takes a night"),
    ("--kernel-src", "takes a kernel's source and its build; `bench` does it"),
    ("--bzimage", "takes an image"),
    ("--base 7.2", "takes a kernel more"),
    ("--series control-fd", "takes a kernel more"),
    ("--target kcsan", "takes a kernel more"),
    ("test race --target kcov", "takes a kernel more"),
    ("test race/answer-and-release --target kcov", "takes a kernel more"),
    ("fuzz --time 10m --target kcov", "takes a kernel more"),
    ("--fuzz --time 5m", "takes a kernel more"),
    ("xtask coverage", "takes a kernel more"),
    ("--store", "takes a store; `binary(workers)` runs campaigns over one"),
    ("--mechanical", "takes ten minutes"),
    ("--machine smp", "takes minutes, as time is real there"),
    ("fuzz --minimize", "takes as long as the corpus is large"),
    ("--full", "takes minutes; sweeps are among what it runs"),
    ("bench crashes", "takes minutes; `kernel_logs` has what comes of it"),
    ("bench minimize", "takes a campaign for each bug"),
    ("bench --json", "takes twelve minutes"),
    ("bench --compare", "takes twelve minutes"),
    ("--gdb", "waits for gdb; the tests of `gdb` have one"),
    ("/bin/busybox", "takes a static busybox"),
    ("~/debian", "takes a folder of Debian's"),
    ("exec -- ./perm", "takes a program of one's own, as `./repro` is"),
    ("rule-R2-broken-fuzz", "names a finding of long ago"),
];

/// Whether a command has to say that the kernel is wrong.
fn tells(line: &str) -> bool {
    let reruns = line.contains("repro target")
        && !["--c ", "--kselftest"].iter().any(|it| line.contains(it));
    reruns || line.contains("--mutant restart-at-tail")
}

/// Where commands are run, and what they name.
struct Place {
    folder: tempfile::TempDir,
    finding: PathBuf,
}

impl Place {
    fn new() -> Self {
        // Below the repository, as cargo looks for `xtask` there.
        let folder = tempfile::tempdir_in(repository().join("target")).expect("a folder");
        let output =
            cargo_in(folder.path(), &["xtask"], &FINDING).stderr(Stdio::inherit()).output();
        let told = String::from_utf8(output.expect("cargo").stdout).expect("text");
        let kept = told.lines().find_map(|line| line.trim().strip_prefix("kept in "));
        let finding = repository().join(kept.expect("a finding that is kept").trim());
        Self { folder, finding }
    }

    /// The word as it is meant here: shorter, or a file that there is.
    fn word(&self, word: &str) -> String {
        let here = |path: &Path| path.to_string_lossy().into_owned();
        let in_folder = |name: &str| here(&self.folder.path().join(name));
        match word {
            "10m" | "5m" | "1m" => "5s".to_owned(),
            "1000" | "50" => "20".to_owned(),
            "target/refan/artifacts/X" => here(&self.finding),
            "scenarios/regress/Y.scn" => in_folder("Y.scn"),
            "target/man" => in_folder("man"),
            SCENARIO | "path/to/file.scn" => here(&repository().join(SCENARIO)),
            word => word.to_owned(),
        }
    }

    /// Runs a command of cargo: its status.
    fn run(&self, words: &[String]) -> Option<i32> {
        let words: Vec<String> = words.iter().skip(1).map(|word| self.word(word)).collect();
        let mut command = cargo_in(self.folder.path(), &words, &[]);
        if words.contains(&"clean".to_owned()) {
            command.env("REFAN_CACHE", self.folder.path().join("cache"));
        }
        if words.contains(&"./repro".to_owned()) {
            let options = ["-static", "-pthread", "-Wall", "-Wextra", "-o", "repro", "repro.c"];
            let built = Command::new("cc").current_dir(&self.folder).args(options).status();
            assert!(built.expect("a compiler").success());
        }
        command.stdin(Stdio::null()).status().expect("cargo").code()
    }
}

fn cargo_in<W: AsRef<std::ffi::OsStr>>(folder: &Path, words: &[W], more: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(folder).args(words).args(more);
    command
}

#[test]
#[ignore = "takes kernels; `cargo xtask ci pr` runs it"]
fn documented_commands_end_as_they_have_to() {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for command in docs::commands(repository()).expect("the pages") {
        let line = command.words.join(" ");
        let is_here = !NOT_HERE.iter().any(|(part, _)| line.contains(part));
        if is_here
            && command.words.len() > 2
            && line != "cargo xtask bench"
            && !commands.iter().any(|(other, _)| *other == line)
        {
            commands.push((line, command.words));
        }
    }
    let place = Place::new();
    let mut wrong = Vec::new();
    for (line, words) in &commands {
        let begun = Instant::now();
        let expected = i32::from(tells(line));
        let status = place.run(words);
        eprintln!("== {line}: {status:?} after {:.1} s", begun.elapsed().as_secs_f32());
        if status != Some(expected) {
            wrong.push(format!("{line}: {status:?} in place of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_run_here_is_documented() {
    let commands = docs::commands(repository()).expect("the pages");
    let lines: Vec<String> = commands.iter().map(|command| command.words.join(" ")).collect();
    for (part, why) in NOT_HERE {
        assert!(lines.iter().any(|line| line.contains(part)), "no page has `{part}` ({why})");
    }
}

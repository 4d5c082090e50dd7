//! The fuzz target as ClusterFuzzLite and other drivers of libFuzzer run it, on a kernel with a seeded bug.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use refan_runner::Prepared;

use crate::{mutants, select};

/// The bug, the scenario that sees it, and what is told of it.
const BUG: &str = "restart-at-tail";
const SCENARIO: &str = "restart/before-unread";
const TOLD: &str = "rule R2 broken at read";

/// The status of a process of libFuzzer's that has found something (`-error_exitcode`).
const FOUND: i32 = 77;

/// A folder in which a driver runs the target.
struct Driven {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Driven {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the target on a machine.
    fn run(&self, prepared: &Prepared, arguments: &[&str]) -> Output {
        let machine = self.path("prepared.json");
        std::fs::write(&machine, serde_json::to_vec(prepared).expect("JSON")).expect("written");
        Command::new(&self.target)
            .current_dir(self.folder.path())
            .env("REFAN_PREPARED", &machine)
            .arg("-artifact_prefix=out/")
            .args(arguments)
            .output()
            .expect("run")
    }

    /// The files that the target has left, with the folder that they are in.
    fn left(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.path("out")).expect("listed");
        let name = |file: std::fs::DirEntry| file.file_name().to_string_lossy().into_owned();
        files.map(|file| format!("out/{}", name(file.expect("a file")))).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "takes the mutants' kernel of `kasan`; `cargo xtask ci pr` runs it"]
fn what_a_driver_finds_is_kept_and_shows_again() {
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let broken = mutants::on_kasan(repository, BUG);
    let good = Prepared { mutant: Some(0), ..broken.clone() };
    let target = super::build(repository).unwrap_or_else(|error| panic!("{error:#}"));
    let driven = Driven { folder: tempfile::tempdir().expect("a folder"), target };
    for folder in ["out", "corpus"] {
        std::fs::create_dir(driven.path(folder)).expect("made");
    }
    let scenarios = select::scenarios(repository, &[SCENARIO.to_owned()]).expect("the scenario");
    let seed = scenarios[0].program.bare().encode();
    std::fs::write(driven.path("corpus/seed"), seed).expect("written");

    let output = driven.run(&good, &["corpus/seed"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(driven.left(), [""; 0]);

    let output = driven.run(&broken, &["-runs=50", "corpus"]);
    assert_eq!(output.status.code(), Some(FOUND), "{}", said(&output));
    assert!(said(&output).contains(TOLD), "{}", said(&output));
    let left = driven.left();
    let [crash] = left.as_slice() else { panic!("{left:?}") };
    assert!(crash.starts_with("out/crash-"), "{crash}");

    for (machine, status) in [(&broken, FOUND), (&good, 0)] {
        let output = driven.run(machine, &[crash]);
        assert_eq!(output.status.code(), Some(status), "{}", said(&output));
    }
}

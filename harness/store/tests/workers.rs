//! Campaigns on machines of their own over one store, of which one is killed.

mod growth;
mod server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use refan_runner::corpus;
use server::Server;

/// How long each goes on, and behind how many entries one of them is killed: others get what it has long before
/// their end.
const TIME: &str = "45s";
const KILLED_BEHIND: usize = 10;
/// How long it is waited for that at most, with the builds before it.
const PATIENCE: Duration = Duration::from_secs(900);

/// A process of `cargo xtask fuzz`, killed where nobody waits for it.
struct Campaign(Child);

impl Campaign {
    /// Begins one from nothing but what is in its folder and in the store.
    fn begin(server: &Server, folder: &Path, seed: u32, length: [&str; 2]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let child = Command::new(cargo)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .envs(server.environment())
            .args(["xtask", "fuzz", "--machine", "deterministic", "--jobs", "1", "--no-seeds"])
            .args(["--json", "--seed", &seed.to_string(), "--store", &server.url()])
            .args(length)
            .arg("--corpus")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("cargo starts"))
    }

    /// Kills it without a word.
    fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("reaped");
    }

    /// Waits for its end; returns what it says there.
    fn summary(mut self) -> serde_json::Value {
        let lines = BufReader::new(self.0.stdout.take().expect("its output")).lines();
        let told = lines.map(|line| -> serde_json::Value {
            serde_json::from_str(&line.expect("a line")).expect("JSON")
        });
        let told = told.filter(|told| told["event"] == "summary").last();
        let status = self.0.wait().expect("ended");
        let told = told.unwrap_or_else(|| panic!("no summary: {status}"));
        assert_eq!(status.code(), Some(0), "{told}");
        told
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn entries(folder: &Path) -> BTreeSet<String> {
    corpus::names(folder).expect("listed")
}

/// Where a campaign and its workers write before there are entries.
fn beside(folder: &Path) -> String {
    format!("{}.workers", folder.display())
}

/// What the worker of a campaign that was killed has found: whole entries, of which not all are in the corpus.
fn left_by_worker(folder: &Path) -> BTreeSet<String> {
    let mut left = BTreeSet::new();
    for campaign in std::fs::read_dir(beside(folder)).expect("listed") {
        let own = campaign.expect("an entry").path().join("0");
        for name in entries(&own) {
            if corpus::whole(&own, &name).expect("read").is_some() {
                left.insert(name);
            }
        }
    }
    left
}

#[test]
#[ignore = "takes minutes, and the kernel `kasan`; `cargo xtask ci pr` runs it"]
fn of_three_campaigns_one_is_killed_and_all_have_what_it_found() {
    let top = tempfile::tempdir().expect("a folder");
    let make = |name: &str| -> PathBuf {
        let folder = top.path().join(name);
        std::fs::create_dir(&folder).expect("made");
        folder
    };
    let server = Server::start(&make("server"));
    let folders = ["1", "2", "3"].map(make);
    let [killed, second, third] = [0, 1, 2]
        .map(|n| Campaign::begin(&server, &folders[n], 1000 * n as u32 + 1, ["--time", TIME]));
    let own = || entries(&folders[0]);
    let has_some = growth::until(&folders[0], PATIENCE, || own().len() >= KILLED_BEHIND);
    assert!(has_some, "{} entries", own().len());
    killed.kill();
    let of_killed = own();
    for other in [second, third] {
        let told = other.summary();
        eprintln!("runs {}, edges {}, {}", told["runs"], told["edges"], told["shared"]);
        assert!(told["shared"]["pulled"].as_u64() > Some(0), "{told}");
    }
    for folder in &folders[1..] {
        assert!(of_killed.is_subset(&entries(folder)), "{}", folder.display());
    }
    // What the killed one had no time to take from its worker is found when it comes back.
    let left = left_by_worker(&folders[0]);
    let back = Campaign::begin(&server, &folders[0], 1, ["--runs", "1"]).summary();
    assert!(left.is_subset(&own()), "{back}");
    let rest = std::fs::read_dir(beside(&folders[0])).expect("listed").count();
    assert_eq!(rest, 0, "something of the one that was killed stays");

    let all: BTreeSet<String> = folders.iter().flat_map(|folder| entries(folder)).collect();
    let fetched = top.path().join("fetched");
    let status = Command::new(env!("CARGO_BIN_EXE_refan-store"))
        .envs(server.environment())
        .args(["fetch", &server.url()])
        .args([&fetched, &top.path().join("findings")])
        .status();
    assert!(status.expect("run").success());
    assert_eq!(entries(&fetched), all);
    let (left, of_killed) = (left.difference(&of_killed).count(), of_killed.len());
    eprintln!(
        "{of_killed} entries of one that was killed, {left} of its worker, {} of all",
        all.len()
    );
}

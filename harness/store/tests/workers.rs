//! Campaigns on machines of their own over one store, of which one is killed.

mod server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use refan_runner::corpus;
use server::Server;

/// How long each goes on, and behind how many entries one of them is killed.
const TIME: &str = "60s";
const KILLED_BEHIND: usize = 20;
/// How long it is waited for that at most.
const PATIENCE: Duration = Duration::from_secs(300);

fn begin(server: &Server, folder: &Path, seed: u32) -> Child {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .envs(server.environment())
        .args(["xtask", "fuzz", "--target", "kcov", "--jobs", "1", "--no-seeds", "--json"])
        .args(["--time", TIME, "--seed", &seed.to_string(), "--store", &server.url()])
        .arg("--corpus")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo starts")
}

/// What a campaign says at its end.
fn summary(child: &mut Child) -> serde_json::Value {
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let told = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.expect("a line")));
    let told = told.map(|told| told.expect("JSON"));
    told.filter(|told| told["event"] == "summary").last().expect("a summary")
}

fn entries(folder: &Path) -> BTreeSet<String> {
    corpus::names(folder).unwrap_or_default()
}

#[test]
#[ignore = "takes minutes, and the kernel `kcov`"]
fn of_three_campaigns_one_is_killed_and_all_have_what_it_found() {
    let top = tempfile::tempdir().expect("a folder");
    let objects = top.path().join("server");
    std::fs::create_dir(&objects).expect("made");
    let server = Server::start(&objects);
    let folders: [PathBuf; 3] = [1, 2, 3].map(|n| top.path().join(format!("{n}")));
    let [mut killed, second, third] =
        [0, 1, 2].map(|n| begin(&server, &folders[n], 1000 * n as u32 + 1));
    let until = Instant::now() + PATIENCE;
    while entries(&folders[0]).len() < KILLED_BEHIND {
        assert!(Instant::now() < until, "{} entries", entries(&folders[0]).len());
        std::thread::sleep(Duration::from_millis(100));
    }
    killed.kill().expect("killed");
    killed.wait().expect("reaped");
    let of_killed = entries(&folders[0]);
    for mut child in [second, third] {
        let told = summary(&mut child);
        assert_eq!(child.wait().expect("ended").code(), Some(0), "{told}");
        eprintln!("runs {}, edges {}, {}", told["runs"], told["edges"], told["shared"]);
        assert!(told["shared"]["pulled"].as_u64() > Some(0), "{told}");
    }
    let all: BTreeSet<String> = folders.iter().flat_map(|folder| entries(folder)).collect();
    let fetched = top.path().join("fetched");
    let status = Command::new(env!("CARGO_BIN_EXE_refan-store"))
        .envs(server.environment())
        .args(["fetch", &server.url()])
        .args([&fetched, &top.path().join("findings")])
        .status();
    assert!(status.expect("run").success());
    assert_eq!(entries(&fetched), all);
    eprintln!("{} entries of one that was killed, {} of all", of_killed.len(), all.len());
    for folder in &folders[1..] {
        assert!(of_killed.is_subset(&entries(folder)), "{}", folder.display());
    }
}

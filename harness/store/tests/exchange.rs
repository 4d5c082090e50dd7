//! Workers that share a corpus over the S3 protocol, as processes of their own, without machines.

mod growth;
mod server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use refan_runner::corpus::{self, Corpus};
use refan_runner::fuzz::{Exchanged, ToShare};
use server::Server;

/// How long one waits for what another has added.
const PATIENCE: Duration = Duration::from_secs(30);

/// A campaign's end of the exchange.
struct Campaign {
    corpus: Corpus,
    folder: PathBuf,
    inbox: PathBuf,
    process: Child,
    said: BufReader<ChildStdout>,
}

fn command(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refan-store"));
    command.envs(server.environment()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Campaign {
    fn join(server: &Server, store: &str, folder: &Path) -> Self {
        let corpus = Corpus::open(&folder.join("corpus"), &folder.join("aside")).expect("a corpus");
        let inbox = folder.join("inbox");
        let mut process = command(server)
            .args(["exchange", store])
            .args([&folder.join("corpus"), &inbox])
            .spawn()
            .expect("started");
        let said = BufReader::new(process.stdout.take().expect("its output"));
        Self { corpus, folder: folder.to_owned(), inbox, process, said }
    }

    fn says(&mut self) -> Exchanged {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn is_ready(&mut self) -> usize {
        match self.says() {
            Exchanged::Ready { pulled } => pulled,
            other => panic!("{other:?}"),
        }
    }

    fn adds(&mut self, contents: impl IntoIterator<Item = String>) {
        for content in contents {
            self.corpus.add(content.as_bytes()).expect("written");
        }
    }

    fn tells(&mut self, title: &str, folder: &Path) {
        let finding = ToShare { title: title.to_owned(), folder: folder.to_owned() };
        let line = serde_json::to_string(&finding).expect("JSON");
        writeln!(self.process.stdin.as_ref().expect("its input"), "{line}").expect("told");
    }

    /// All that it has or has got from others.
    fn has(&self) -> BTreeSet<String> {
        let got = corpus::names(&self.inbox).expect("listed");
        self.corpus.names().union(&got).cloned().collect()
    }

    /// Ends well.
    fn leaves(mut self) -> (usize, usize, usize) {
        drop(self.process.stdin.take());
        let Exchanged::End { pulled, pushed, findings } = self.says() else { panic!("no end") };
        assert!(self.process.wait().expect("ended").success());
        (pulled, pushed, findings)
    }

    fn dies(mut self) -> PathBuf {
        self.process.kill().expect("killed");
        self.process.wait().expect("reaped");
        self.folder.clone()
    }
}

fn folder(parent: &Path, name: &str) -> PathBuf {
    let folder = parent.join(name);
    std::fs::create_dir(&folder).expect("made");
    folder
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n}")).collect()
}

fn names(contents: &[Vec<String>]) -> BTreeSet<String> {
    contents.iter().flatten().map(|it| corpus::name(it.as_bytes())).collect()
}

#[test]
fn what_any_worker_has_all_get() {
    let top = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder(top.path(), "server"));
    let store = server.url();
    let mut all = Vec::new();
    // More than one list of the protocol has.
    for (name, count) in [("a", 1100), ("b", 40), ("c", 7)] {
        let mut campaign = Campaign::join(&server, &store, &folder(top.path(), name));
        assert_eq!(campaign.is_ready(), names(&all).len());
        // One that others have as well.
        let mut own = numbered(name, count);
        own.push("common".to_owned());
        campaign.adds(own.clone());
        let is_first = all.is_empty();
        all.push(own);
        let (pulled, pushed, _) = campaign.leaves();
        assert_eq!(pulled + pushed, names(&all).len());
        assert_eq!(pushed, count + usize::from(is_first));
    }
    let mut late = Campaign::join(&server, &store, &folder(top.path(), "late"));
    assert_eq!(late.is_ready(), names(&all).len());
    assert_eq!(late.has(), names(&all));
    assert_eq!(late.leaves().1, 0);
}

#[test]
fn a_killed_worker_loses_nothing() {
    let top = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder(top.path(), "server"));
    let store = server.url();
    let mut killed = Campaign::join(&server, &store, &folder(top.path(), "killed"));
    killed.is_ready();
    let own = numbered("killed", 300);
    killed.adds(own.clone());
    // In the midst of writing, or before, or behind it: none is half there.
    let left = killed.dies();
    let mut other = Campaign::join(&server, &store, &folder(top.path(), "other"));
    other.is_ready();
    assert!(other.has().is_subset(&names(std::slice::from_ref(&own))));
    // What was not written by then goes there when it comes back.
    let mut again = Campaign::join(&server, &store, &left);
    again.is_ready();
    again.leaves();
    // The other one hears of it without being asked.
    let wanted = names(&[own]);
    let has_all = growth::until(&other.inbox, PATIENCE, || other.has() == wanted);
    assert!(has_all, "{} of {}", other.has().len(), wanted.len());
    other.leaves();
}

#[test]
fn a_campaign_that_is_killed_has_its_findings_written() {
    let top = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder(top.path(), "server"));
    let store = server.url();
    let finding = folder(top.path(), "rule-R2-broken-fuzz-1");
    std::fs::write(finding.join("program.scn"), "q = open_queue(c)\n").expect("written");
    std::fs::write(finding.join("README"), "What was found").expect("written");
    let mut campaign = Campaign::join(&server, &store, &folder(top.path(), "a"));
    campaign.is_ready();
    campaign.tells("rule R2 broken at read", &finding);
    campaign.adds(["found with it".to_owned()]);
    // As the kernel closes what a killed process had open.
    assert_eq!(campaign.leaves(), (0, 1, 1));
    // Who finds the same has nothing to add.
    let mut second = Campaign::join(&server, &store, &folder(top.path(), "b"));
    second.is_ready();
    second.tells("rule R2 broken at read", &finding);
    assert_eq!(second.leaves(), (1, 0, 0));

    let (corpus, findings) = (top.path().join("fetched"), top.path().join("findings"));
    let fetch = || {
        let mut command = command(&server);
        let fetch = command.args(["fetch", &store]).args([&corpus, &findings]);
        let output = fetch.output().expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let told = fetch();
    let place = Path::new(told.lines().next().expect("a finding"));
    assert!(place.starts_with(&findings), "{told}");
    assert_eq!(std::fs::read_to_string(place.join("README")).expect("read"), "What was found");
    assert_eq!(corpus::names(&corpus).expect("listed").len(), 1);
    assert_eq!(fetch(), "{\"event\":\"end\",\"pulled\":0,\"pushed\":0,\"findings\":0}\n");
}

#[test]
fn what_is_no_entry_stays_out() {
    let top = tempfile::tempdir().expect("a folder");
    let objects = top.path().join("store/corpus");
    std::fs::create_dir_all(&objects).expect("made");
    std::fs::write(objects.join(corpus::name(b"other")), "not that").expect("written");
    std::fs::write(objects.join("README"), "by hand").expect("written");
    let server = Server::start(&folder(top.path(), "server"));
    let store = top.path().join("store");
    let store = store.to_str().expect("text");
    let mut campaign = Campaign::join(&server, store, &folder(top.path(), "a"));
    assert_eq!(campaign.is_ready(), 0);
    campaign.leaves();
}

#[test]
fn a_store_that_cannot_be_reached_is_an_error_at_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refan-store"));
    command.env("AWS_ENDPOINT", "http://127.0.0.1:1").env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    let top = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(top.path().join("corpus")).expect("made");
    let paths = [top.path().join("corpus"), top.path().join("inbox")];
    let output = command.args(["exchange", "s3://bucket/x"]).args(&paths).output().expect("run");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot list x/corpus"), "{said}");
}

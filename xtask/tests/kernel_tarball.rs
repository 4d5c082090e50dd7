//! Kernel sources from a server: a local one that can be told to misbehave.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers fail")]

use refan_runner::cache::Cache;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use xtask::kernel::source::{self, Source};
use xtask::kernel::{Configs, Error, Progress};

/// How the server answers for the tarball.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    /// Half of it, whatever is asked for.
    Truncated,
    /// Half of it the first time, then what is asked for.
    BrokenOffOnce,
    NotFound,
}

struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

/// Serves `body` as the tarball and `checksums` as the list of checksums.
fn serve(manner: Manner, body: Vec<u8>, checksums: String) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, manner, &body, &checksums, &count);
        }
    });
    Server { address, requests }
}

fn answer(
    mut stream: TcpStream,
    manner: Manner,
    body: &[u8],
    checksums: &str,
    count: &AtomicUsize,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let range = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok()
    });
    let start: usize = range.unwrap_or(0);
    let mut send = |status: &str, length: usize, more: &str, bytes: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(bytes));
    };
    if request.contains("sha256sums.asc") {
        return send("200 OK", checksums.len(), "", checksums.as_bytes());
    }
    let first = count.fetch_add(1, Ordering::SeqCst) == 0;
    match manner {
        Manner::NotFound => send("404 Not Found", 0, "", b""),
        Manner::Truncated => send("200 OK", body.len(), "", &body[..body.len() / 2]),
        Manner::BrokenOffOnce if first => send("200 OK", body.len(), "", &body[..body.len() / 2]),
        _ if start > 0 => {
            let range =
                format!("content-range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
            send("206 Partial Content", body.len() - start, &range, &body[start..]);
        }
        _ => send("200 OK", body.len(), "", body),
    }
}

/// A tarball with just enough in it to pass for a kernel.
fn tarball(dir: &Path) -> Vec<u8> {
    let tree = dir.join("linux-9.9.1");
    for (file, text) in [
        ("Makefile", "VERSION = 9\nPATCHLEVEL = 9\nSUBLEVEL = 1\nEXTRAVERSION =\n"),
        ("Kbuild", "obj-y := fs/\n"),
        ("Kconfig", "mainmenu\n"),
        ("fs/notify/fanotify/fanotify_user.c", "int x;\n"),
        ("arch/x86/Makefile", "x\n"),
        ("arch/sh/Makefile", "left out\n"),
        ("Documentation/Kconfig", "config\n"),
        ("Documentation/admin-guide/README.rst", "left out\n"),
    ] {
        let path = tree.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let file = dir.join("linux.tar.xz");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir).arg("-cJf").arg(&file).arg("linux-9.9.1");
    assert!(tar.status().unwrap().success());
    fs::read(file).unwrap()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn phase(&self, _: &str) {}
    fn at(&self, _: &str) {}
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// A cache and a `kernel-configs/` of its own.
struct Bench {
    dir: tempfile::TempDir,
    notes: Notes,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), notes: Notes::default() }
    }

    fn base(&self, name: &str, next: Option<&str>, address: &str, pinned: Option<&str>) {
        let folder = self.dir.path().join("configs/bases");
        fs::create_dir_all(&folder).unwrap();
        let line = |key: &str, value: Option<&str>| {
            value.map_or_else(String::new, |value| format!("{key} = \"{value}\"\n"))
        };
        let text = format!(
            "summary = \"test\"\n{}[[providers]]\nkind = \"tarball\"\nurl = \"{address}/v9/linux-9.9.1.tar.xz\"\n{}",
            line("next", next),
            line("sha256", pinned)
        );
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }

    fn cache(&self) -> Cache {
        Cache::at(self.dir.path().join("cache"), 1 << 30).unwrap()
    }

    fn fetch(&self, name: &str, offline: bool) -> Result<Source, Error> {
        let configs = Configs::at(self.dir.path().join("configs"));
        source::fetch(&configs, name, offline, &self.cache(), &self.notes)
    }

    fn body(&self) -> Vec<u8> {
        tarball(self.dir.path())
    }

    fn notes(&self) -> String {
        self.notes.0.lock().unwrap().join("\n")
    }
}

fn list(body: &[u8]) -> String {
    format!("{}  linux-9.9.1.tar.xz\n", sum(body))
}

#[test]
fn a_good_tarball_is_unpacked_and_then_comes_from_the_cache() {
    let bench = Bench::new();
    let body = bench.body();
    let server = serve(Manner::Good, body.clone(), list(&body));
    bench.base("9.9", None, &server.address, None);
    let source = bench.fetch("9.9", false).unwrap();
    assert_eq!(source.origin.version, "9.9.1");
    assert_eq!(source.origin.sha256, sum(&body));
    assert!(source.origin.verified.contains("sha256sums.asc"), "{}", source.origin.verified);
    let tree = source.tree();
    assert!(tree.join("arch/x86/Makefile").exists() && tree.join("Documentation/Kconfig").exists());
    assert!(
        !tree.join("arch/sh").exists()
            && !tree.join("Documentation/admin-guide/README.rst").exists()
    );
    let again = bench.fetch("9.9", true).unwrap();
    assert_eq!(again.tree(), tree);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_wrong_checksum_is_refused() {
    let bench = Bench::new();
    let server = serve(Manner::Good, bench.body(), list(b"something else"));
    bench.base("9.9", None, &server.address, None);
    let error = bench.fetch("9.9", false).unwrap_err().to_string();
    assert!(error.contains("wrong checksum"), "{error}");
    let pinned = Bench::new();
    let body = pinned.body();
    let server = serve(Manner::Good, body.clone(), list(&body));
    pinned.base("9.9", None, &server.address, Some(&"0".repeat(64)));
    let error = pinned.fetch("9.9", false).unwrap_err().to_string();
    assert!(error.contains("wrong checksum"), "the pinned one counts: {error}");
}

#[test]
fn a_tarball_without_a_checksum_is_refused() {
    let bench = Bench::new();
    let server = serve(Manner::Good, bench.body(), "nothing here\n".to_owned());
    bench.base("9.9", None, &server.address, None);
    let error = bench.fetch("9.9", false).unwrap_err().to_string();
    assert!(error.contains("has no checksum for linux-9.9.1.tar.xz"), "{error}");
}

#[test]
fn a_truncated_tarball_is_refused() {
    let bench = Bench::new();
    let body = bench.body();
    let server = serve(Manner::Truncated, body.clone(), list(&body));
    bench.base("9.9", None, &server.address, None);
    let error = bench.fetch("9.9", false).unwrap_err().to_string();
    assert!(error.contains("broke off"), "{error}");
}

#[test]
fn a_broken_download_goes_on_where_it_stood() {
    let bench = Bench::new();
    let body = bench.body();
    let server = serve(Manner::BrokenOffOnce, body.clone(), list(&body));
    bench.base("9.9", None, &server.address, Some(&sum(&body)));
    assert_eq!(bench.fetch("9.9", false).unwrap().origin.sha256, sum(&body));
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[test]
fn a_missing_tarball_and_a_missing_server_are_told() {
    let bench = Bench::new();
    let body = bench.body();
    let server = serve(Manner::NotFound, body.clone(), list(&body));
    bench.base("9.9", None, &server.address, None);
    let error = bench.fetch("9.9", false).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    assert!(!error.is_usage_or_host());
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    bench.base("9.8", None, &format!("http://{free}"), None);
    let error = bench.fetch("9.8", false).unwrap_err().to_string();
    assert!(error.contains("cannot be fetched"), "{error}");
}

#[test]
fn the_next_known_base_stands_in_and_that_is_said() {
    let bench = Bench::new();
    let body = bench.body();
    let gone = serve(Manner::NotFound, Vec::new(), list(&body));
    let good = serve(Manner::Good, body.clone(), list(&body));
    bench.base("9.9", Some("9.8"), &gone.address, None);
    bench.base("9.8", Some("9.9"), &good.address, None);
    assert_eq!(bench.fetch("9.9", false).unwrap().base, "9.8");
    assert!(bench.notes().contains("Linux 9.9 cannot be had"), "{}", bench.notes());
}

#[test]
fn offline_says_what_the_cache_lacks() {
    let bench = Bench::new();
    bench.base("9.9", None, "http://127.0.0.1:9", None);
    let error = bench.fetch("9.9", true).unwrap_err().to_string();
    assert!(
        error.contains("Linux 9.9 is not in the cache") && error.contains("without --offline"),
        "{error}"
    );
    let error = bench.fetch("9.7", true).unwrap_err();
    assert!(error.is_usage_or_host() && error.to_string().contains("known are: 9.9"), "{error}");
}

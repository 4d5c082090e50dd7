//! Commands in the guest, on what `cargo xtask test` prepared last for the kernel target that
//! `REFAN_TARGET` names (default `fast`).

use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use refan_runner::Prepared;
use refan_runner::cache::Cache;
use refan_runner::exec::{self, Command, CommandEnd, Files, Input, Ran, Stream, Streams, TaskEnd};

/// A program that does what its first argument says.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char line[1 << 16];
	char *what = argv[1];
	FILE *file;

	if (!strcmp(what, "status"))
		return atoi(argv[2]);
	if (!strcmp(what, "where")) {
		struct stat st;

		fprintf(stderr, "%s %s\n", argv[0], getenv("ANSWER"));
		printf("%s uid %d\n", getcwd(line, sizeof(line)), getuid());
		return stat("given/inner", &st) || st.st_size != 5 || access("/proc/self/exe", F_OK);
	}
	if (!strcmp(what, "copy")) {
		size_t n;

		while ((n = fread(line, 1, sizeof(line), stdin)))
			fwrite(line, 1, n, stdout);
		return 0;
	}
	if (!strcmp(what, "signal"))
		raise(SIGABRT);
	if (!strcmp(what, "sleep")) {
		sleep(atoi(argv[2]));
		return 0;
	}
	if (!strcmp(what, "orphan")) {
		/* Whoever holds the pipe does not hold up the end. */
		if (!fork()) {
			setsid();
			pause();
		}
		return 5;
	}
	if (!strcmp(what, "report")) {
		puts("what came before");
		fflush(stdout);
		file = fopen("/dev/kmsg", "w");
		fputs("<3>BUG: KASAN: slab-use-after-free in fanotify_read+0x1/0x2\n", file);
		return 0;
	}
	return 99;
}
"#;

/// What is given to read, and what was written.
#[derive(Default)]
struct Captured {
    input: Vec<Vec<u8>>,
    output: Vec<u8>,
    error: Vec<u8>,
}

impl Streams for Captured {
    fn wrote(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Output => self.output.extend_from_slice(bytes),
            Stream::Error => self.error.extend_from_slice(bytes),
        }
    }

    fn input(&mut self, _wait: Duration) -> Input {
        if self.input.is_empty() { Input::End } else { Input::Bytes(self.input.remove(0)) }
    }
}

fn prepared() -> Prepared {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let target = std::env::var("REFAN_TARGET").unwrap_or_else(|_| "fast".to_owned());
    let cache = Cache::open().expect("the cache");
    Prepared::load(&cache, repository, &target).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The program, compiled.
fn compiled(folder: &Path) -> PathBuf {
    let source = folder.join("program.c");
    std::fs::write(&source, PROGRAM).expect("the source");
    let program = folder.join("program");
    let status =
        process::Command::new("cc").arg("-static").arg(&source).arg("-o").arg(&program).status();
    assert!(status.expect("a C compiler").success());
    program
}

fn run(words: &[&str], streams: &mut Captured) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Files::default();
    files.add(&compiled(folder.path()), Path::new("/work/program")).expect("the program");
    let given = folder.path().join("given");
    std::fs::create_dir(&given).expect("a folder");
    std::fs::write(given.join("inner"), "inner").expect("a file");
    files.add(&given, Path::new("/work/given")).expect("the folder");
    let command = Command {
        program: b"/work/program".to_vec(),
        arguments: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        environment: vec![(b"ANSWER".to_vec(), b"42".to_vec())],
        folder: b"/work".to_vec(),
        limit_ms: 30_000,
    };
    exec::run(&prepared(), &files, &command, streams).unwrap_or_else(|error| panic!("{error:#}"))
}

fn ended(words: &[&str]) -> (CommandEnd, Captured) {
    let mut streams = Captured::default();
    let ran = run(words, &mut streams);
    assert_eq!(ran.report, None);
    (ran.end.expect("an end"), streams)
}

fn exited(status: i32) -> CommandEnd {
    CommandEnd::Ended(TaskEnd::Exited(status))
}

#[test]
fn the_status_is_passed_on() {
    assert_eq!(ended(&["status", "0"]).0, exited(0));
    assert_eq!(ended(&["status", "7"]).0, exited(7));
}

#[test]
fn it_starts_in_its_folder_with_its_files_and_environment() {
    let (end, streams) = ended(&["where"]);
    assert_eq!(String::from_utf8_lossy(&streams.output), "/work uid 0\n");
    assert_eq!(String::from_utf8_lossy(&streams.error), "/work/program 42\n");
    assert_eq!(end, exited(0));
}

#[test]
fn what_it_reads_and_writes_is_passed_through_whole() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n ^ n >> 8) as u8).collect();
    let input = bytes.chunks(Input::MOST).map(<[u8]>::to_vec).collect();
    let mut streams = Captured { input, ..Captured::default() };
    let ran = run(&["copy"], &mut streams);
    assert_eq!((ran.end, ran.report), (Some(exited(0)), None));
    assert!(streams.output == bytes, "{} bytes came back", streams.output.len());
}

#[test]
fn a_signal_that_ends_it_is_told() {
    let (end, _) = ended(&["signal"]);
    assert_eq!(end, CommandEnd::Ended(TaskEnd::Signaled(6)));
}

#[test]
fn one_that_does_not_end_is_told_with_where_it_sleeps() {
    let (end, _) = ended(&["sleep", "3600"]);
    let CommandEnd::Overdue { tasks } = end else { panic!("{end:?}") };
    assert!(tasks.contains("program[") && tasks.contains("sleeps in "), "{tasks}");
}

#[test]
fn an_orphan_with_its_pipes_does_not_hold_it_up() {
    assert_eq!(ended(&["orphan"]).0, exited(5));
}

#[test]
fn what_cannot_be_executed_is_told() {
    let command = Command {
        program: b"/work/nothing".to_vec(),
        arguments: Vec::new(),
        environment: Vec::new(),
        folder: b"/work".to_vec(),
        limit_ms: 1000,
    };
    let ran = exec::run(&prepared(), &Files::default(), &command, &mut Captured::default());
    let ran = ran.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(ran.end, Some(CommandEnd::NotStarted { errno: 2 }));
}

#[test]
fn a_report_of_the_kernel_is_told_beside_the_end() {
    let mut streams = Captured::default();
    let ran = run(&["report"], &mut streams);
    let report = ran.report.expect("a report");
    assert_eq!(report.title, "KASAN: slab-use-after-free in fanotify_read");
    assert_eq!(ran.end, Some(exited(0)));
    assert_eq!(streams.output, b"what came before\n");
}

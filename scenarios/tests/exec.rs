//! Commands in the guest, on what `cargo xtask test` prepared last for the kernel target that
//! `REFAN_TARGET` names (default `fast`).

use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use refan_runner::Prepared;
use refan_runner::cache::Cache;
use refan_runner::exec::{
    self, Command, CommandEnd, Files, Input, Peer, Ran, Stream, Streams, TaskEnd, Window,
};

/// A program that does what its first argument says.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void note(int sig)
{
	seen = sig;
}

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
	if (!strcmp(what, "terminal")) {
		struct sigaction action = { .sa_handler = note };
		struct pollfd input = { .events = POLLIN };
		struct winsize size;
		sigset_t ours, none;
		int lines = 0;

		sigemptyset(&none);
		sigemptyset(&ours);
		sigaddset(&ours, SIGWINCH);
		sigaddset(&ours, SIGINT);
		sigprocmask(SIG_BLOCK, &ours, NULL);
		sigaction(SIGWINCH, &action, NULL);
		sigaction(SIGINT, &action, NULL);
		printf("terminal %d%d%d, own %d\n", isatty(0), isatty(1), isatty(2),
		       tcgetpgrp(0) == getpid());
		do {
			ioctl(0, TIOCGWINSZ, &size);
			printf("signal %d, %d lines of %d\n", seen, size.ws_row, size.ws_col);
			fflush(stdout);
			/* A terminal gives a line at a time, so nothing stays in a buffer. */
			while (ppoll(&input, 1, NULL, &none) == 1 &&
			       fgets(line, sizeof(line), stdin) && strcmp(line, "end\n"))
				lines++;
		} while (strcmp(line, "end\n"));
		printf("%d lines typed\n", lines);
		return 3;
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

/// Somebody at a terminal who waits for what is shown and then does something.
struct Person {
    script: Vec<(&'static str, Input)>,
    shown: String,
}

impl Streams for Person {
    fn wrote(&mut self, stream: Stream, bytes: &[u8]) {
        assert_eq!(stream, Stream::Output);
        self.shown += &String::from_utf8_lossy(bytes);
    }

    fn input(&mut self, wait: Duration) -> Input {
        match self.script.first() {
            Some((awaited, _)) if self.shown.contains(awaited) => self.script.remove(0).1,
            _ => {
                std::thread::sleep(wait);
                Input::None
            }
        }
    }
}

/// What a terminal of 24 lines of 80 has shown when the script is over, and how the program has ended; None
/// where the kernel has no terminals.
fn at_terminal(script: Vec<(&'static str, Input)>) -> Option<(Option<CommandEnd>, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Files::default();
    files.add(&compiled(folder.path()), Path::new("/tmp/program")).expect("the program");
    let command = Command {
        program: b"/tmp/program".to_vec(),
        arguments: vec![b"terminal".to_vec()],
        environment: Vec::new(),
        folder: b"/tmp".to_vec(),
        speaks_to: Peer::Terminal(Window { rows: 24, columns: 80 }),
        limit_ms: Some(60_000),
    };
    let mut person = Person { script, shown: String::new() };
    match exec::run(&prepared(), &files, &command, &mut person) {
        Ok(ran) => {
            assert_eq!(ran.report, None);
            Some((ran.end, person.shown))
        }
        Err(error) => {
            // The targets whose kernels are to be built quickly have none.
            assert!(error.to_string().contains("CONFIG_UNIX98_PTYS"), "{error:#}");
            eprintln!("not judged: the kernel has no pseudo-terminals");
            None
        }
    }
}

fn typed(text: impl Into<Vec<u8>>) -> Input {
    Input::Bytes(text.into())
}

fn prepared() -> Prepared {
    let target = std::env::var("REFAN_TARGET").unwrap_or_else(|_| "fast".to_owned());
    let cache = Cache::open().expect("the cache");
    Prepared::load(&cache, &scenarios::repository(), &target)
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// A folder of the guest in which there is room.
const FOLDER: &str = "/tmp";

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
    files.add(&compiled(folder.path()), &Path::new(FOLDER).join("program")).expect("the program");
    let given = folder.path().join("given");
    std::fs::create_dir(&given).expect("a folder");
    std::fs::write(given.join("inner"), "inner").expect("a file");
    files.add(&given, &Path::new(FOLDER).join("given")).expect("the folder");
    let command = Command {
        program: format!("{FOLDER}/program").into_bytes(),
        arguments: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        environment: vec![(b"ANSWER".to_vec(), b"42".to_vec())],
        folder: FOLDER.into(),
        speaks_to: Peer::Pipes,
        limit_ms: Some(30_000),
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
    assert_eq!(String::from_utf8_lossy(&streams.output), format!("{FOLDER} uid 0\n"));
    assert_eq!(String::from_utf8_lossy(&streams.error), format!("{FOLDER}/program 42\n"));
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
        program: format!("{FOLDER}/nothing").into_bytes(),
        arguments: Vec::new(),
        environment: Vec::new(),
        folder: FOLDER.into(),
        speaks_to: Peer::Pipes,
        limit_ms: Some(1000),
    };
    let ran = exec::run(&prepared(), &Files::default(), &command, &mut Captured::default());
    let ran = ran.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(ran.end, Some(CommandEnd::NotStarted { errno: 2 }));
}

#[test]
fn a_terminal_passes_on_its_size_and_its_keys() {
    let script = vec![
        ("signal 0, 24 lines of 80", Input::Window(Window { rows: 50, columns: 132 })),
        ("signal 28, 50 lines of 132", typed("\x03")),
        ("signal 2, 50 lines of 132", typed("a line\rend\r")),
    ];
    let Some((end, shown)) = at_terminal(script) else { return };
    assert!(shown.contains("terminal 111, own 1\r\n"), "{shown}");
    assert!(shown.ends_with("a line\r\nend\r\n1 lines typed\r\n"), "{shown}");
    assert_eq!(end, Some(exited(3)));
}

#[test]
fn what_is_pasted_is_typed_whole() {
    let line = format!("{}\r", "x".repeat(79));
    let paste = line.repeat(Input::MOST / line.len());
    let lines = paste.matches('\r').count() * 4;
    let start = "24 lines of 80";
    let mut script: Vec<_> = (0..4).map(|_| (start, typed(paste.clone()))).collect();
    script.push((start, typed("end\r")));
    let Some((end, shown)) = at_terminal(script) else { return };
    assert!(shown.ends_with(&format!("{lines} lines typed\r\n")), "{shown}");
    assert_eq!(end, Some(exited(3)));
}

#[test]
fn a_terminal_that_hangs_up_ends_its_program() {
    let Some((end, _)) = at_terminal(vec![("24 lines", Input::End)]) else { return };
    assert_eq!(end, Some(CommandEnd::Ended(TaskEnd::Signaled(1))));
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

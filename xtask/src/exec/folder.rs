//! A folder of tests: each program in it is run on a machine of its own, and KTAP tells what became of it.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_runner::exec::{self, Command, CommandEnd, Input, Peer, Ran, Stream, Streams, TaskEnd};

use super::guest_files::{self, Inside};
use super::tap::{Results, Told};
use crate::cli;
use crate::exit::{Exit, usage};
use crate::report;

/// Statuses by which a test says that it was skipped: of kselftest (`KSFT_SKIP`) and of LTP (`TCONF`).
const SKIPPED: [i32; 2] = [4, 32];

/// What became of a test.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
    /// The machine failed: nothing is known of the test.
    None(String),
}

/// Runs the tests and counts.
pub fn run(
    repository: &Path,
    arguments: &cli::Exec,
    mut inside: Inside,
    folder: &Path,
) -> Result<Exit> {
    let tests = tests(folder, &inside)?;
    let folder = guest_files::add_copy(&mut inside.files, folder)?;
    let (_ready, prepared) = super::prepare(repository, &arguments.guest, false, &inside.files)?;
    say!("KTAP version 1\n# {}\n# {}\n1..{}", prepared.kernel, prepared.machine, tests.len());
    let begun = Instant::now();
    let (mut passed, mut failed, mut skipped, mut unknown) = (0, 0, 0, 0);
    for (number, name) in (1..).zip(&tests) {
        let name_in_guest = folder.join(name);
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let command = Command {
            folder: bytes(&folder),
            ..super::command(
                bytes(&name_in_guest),
                &[],
                super::NO_TERM,
                Peer::Pipes,
                Some(arguments.timeout),
            )
        };
        let mut output = Output::default();
        let ran = exec::run(&prepared, &inside.files, &command, &mut output);
        output.end();
        let name = name.display();
        match verdict(&ran, &output.results, arguments.timeout) {
            Verdict::Passed => {
                passed += 1;
                say!("ok {number} {name}");
            }
            Verdict::Skipped(why) => {
                skipped += 1;
                say!("ok {number} {name} # SKIP {why}");
            }
            Verdict::Failed(why) => {
                failed += 1;
                say!("not ok {number} {name} # {why}");
            }
            Verdict::None(why) => {
                unknown += 1;
                say!("not ok {number} {name} # no verdict: {why}");
            }
        }
    }
    say!("# Totals: pass:{passed} fail:{failed} xfail:0 xpass:0 skip:{skipped} error:{unknown}");
    let took = report::seconds(begun.elapsed());
    let without =
        if unknown > 0 { format!(", {unknown} without a verdict") } else { String::new() };
    eprintln!("  verdict  {passed} passed, {failed} failed, {skipped} skipped{without} in {took}");
    Ok(match (failed, unknown) {
        (0, 0) => Exit::Held,
        (0, _) => Exit::NoVerdict,
        _ => Exit::Broken,
    })
}

/// The names of the programs in the folder, each of which the guest can execute.
fn tests(folder: &Path, inside: &Inside) -> Result<Vec<PathBuf>> {
    let doing = || format!("cannot list {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(doing)? {
        let name = PathBuf::from(entry.with_context(doing)?.file_name());
        let meta = std::fs::metadata(folder.join(&name));
        if meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0) {
            inside.own(&folder.join(&name))?;
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(usage(format!("{} has no test: no file is executable", folder.display())));
    }
    names.sort_unstable();
    Ok(names)
}

fn verdict(ran: &Result<Ran>, results: &Results, limit: Duration) -> Verdict {
    let failed = |why: String| Verdict::Failed(why);
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return Verdict::None(format!("{error:#}").replace('\n', " ")),
    };
    if let Some(report) = &ran.report {
        for line in report.best_text().lines() {
            say!("# {}", line.trim_end());
        }
        return failed(format!("the kernel reported: {}", report.title));
    }
    let status = match &ran.end {
        Some(CommandEnd::Ended(TaskEnd::Exited(status))) => *status,
        Some(CommandEnd::Ended(TaskEnd::Signaled(signal))) => {
            return failed(format!("ended by signal {signal}"));
        }
        Some(CommandEnd::NotStarted { errno }) => {
            let error = std::io::Error::from_raw_os_error(*errno);
            return failed(format!("cannot be executed: {error}"));
        }
        Some(CommandEnd::Overdue { tasks }) => {
            for line in tasks.lines() {
                say!("# {line}");
            }
            return failed(format!("has not ended after {}", report::seconds(limit)));
        }
        None => return Verdict::None("the guest has not said how it ended".to_owned()),
    };
    match results.told() {
        Told::Failed(why) => failed(why),
        Told::Skipped => Verdict::Skipped("all subtests".to_owned()),
        _ if SKIPPED.contains(&status) => Verdict::Skipped(format!("status {status}")),
        _ if status != 0 => failed(format!("status {status}")),
        Told::Passed | Told::Nothing => Verdict::Passed,
    }
}

/// A test's output, shown line by line.
#[derive(Default)]
struct Output {
    /// The lines that are not whole yet: of its output and its errors.
    begun: [Vec<u8>; 2],
    results: Results,
}

impl Output {
    fn line(&mut self, stream: Stream, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if stream == Stream::Output {
            self.results.line(&line);
        }
        say!("# {}", line.trim_end());
    }

    /// Shows what does not end with a line feed.
    fn end(&mut self) {
        for stream in [Stream::Output, Stream::Error] {
            let rest = std::mem::take(&mut self.begun[stream as usize]);
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
    }
}

impl Streams for Output {
    fn wrote(&mut self, stream: Stream, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            let mut whole = std::mem::take(&mut self.begun[stream as usize]);
            whole.extend_from_slice(line);
            self.line(stream, &whole);
        }
        self.begun[stream as usize].extend_from_slice(last);
    }

    fn input(&mut self, _wait: Duration) -> Input {
        Input::End
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refan_runner::kernel_log::Report;

    fn of(end: CommandEnd, output: &str) -> Verdict {
        let mut results = Results::default();
        output.lines().for_each(|line| results.line(line));
        let ran = Ok(Ran { end: Some(end), report: None });
        verdict(&ran, &results, Duration::from_secs(5))
    }

    fn exited(status: i32, output: &str) -> Verdict {
        of(CommandEnd::Ended(TaskEnd::Exited(status)), output)
    }

    #[test]
    fn the_status_tells_where_nothing_else_does() {
        assert_eq!(exited(0, "well"), Verdict::Passed);
        assert_eq!(exited(1, ""), Verdict::Failed("status 1".into()));
        assert_eq!(
            [4, 32].map(|status| matches!(exited(status, ""), Verdict::Skipped(_))),
            [true; 2]
        );
        assert!(matches!(of(CommandEnd::Ended(TaskEnd::Signaled(11)), ""), Verdict::Failed(_)));
        assert!(matches!(of(CommandEnd::NotStarted { errno: 2 }, ""), Verdict::Failed(_)));
        assert!(matches!(of(CommandEnd::Overdue { tasks: "".into() }, ""), Verdict::Failed(_)));
    }

    #[test]
    fn neither_status_nor_tap_hides_what_the_other_says() {
        let tap = "TAP version 13\n1..2\nok 1\n";
        assert_eq!(exited(0, &format!("{tap}ok 2\n")), Verdict::Passed);
        assert_eq!(exited(9, &format!("{tap}ok 2\n")), Verdict::Failed("status 9".into()));
        assert!(matches!(exited(0, &format!("{tap}not ok 2\n")), Verdict::Failed(_)));
        assert!(matches!(exited(0, tap), Verdict::Failed(_)));
        assert!(matches!(exited(4, &format!("{tap}not ok 2\n")), Verdict::Failed(_)));
        assert!(matches!(exited(4, "TAP version 13\n1..0 # SKIP\n"), Verdict::Skipped(_)));
    }

    #[test]
    fn a_report_or_a_machine_that_fails_is_never_a_pass() {
        let report = Report { title: "a".into(), text: "a".into(), symbolized: None };
        let end = Some(CommandEnd::Ended(TaskEnd::Exited(0)));
        let reported = Ok(Ran { end, report: Some(report) });
        let limit = Duration::from_secs(5);
        let results = Results::default();
        assert!(matches!(verdict(&reported, &results, limit), Verdict::Failed(_)));
        let failed = Err(anyhow::anyhow!("no machine"));
        assert_eq!(verdict(&failed, &results, limit), Verdict::None("no machine".into()));
        let unsaid = Ok(Ran { end: None, report: None });
        assert!(matches!(verdict(&unsaid, &results, limit), Verdict::None(_)));
    }

    #[test]
    fn lines_are_put_together() {
        let mut output = Output::default();
        for part in ["TAP ver", "sion 13\n1..1\no", "k 1"] {
            output.wrote(Stream::Output, part.as_bytes());
        }
        output.wrote(Stream::Error, b"not ok 2\n");
        assert!(matches!(output.results.told(), Told::Failed(_)));
        output.end();
        assert_eq!(output.results.told(), Told::Passed);
    }

    #[test]
    fn tests_are_what_can_be_executed() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = Inside::default();
        assert!(tests(folder.path(), &inside).is_err());
        let script = folder.path().join("a.sh");
        std::fs::write(&script, "#!/bin/sh\n").expect("a file");
        assert!(tests(folder.path(), &inside).is_err());
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("its mode");
        let told = tests(folder.path(), &inside).expect_err("a script").to_string();
        assert!(told.contains("--busybox"), "{told}");
        let inside = Inside { busybox: true, ..Inside::default() };
        assert_eq!(tests(folder.path(), &inside).expect("a test"), [PathBuf::from("a.sh")]);
    }
}

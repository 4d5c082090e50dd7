//! Programs that end with this process, however it ends, and all their children with them.
//!
//! A shell leads a process group of its own; in it a watcher reads a pipe whose other end only this process holds.
//! When this process is gone, by `kill -9` too, the watcher reads the end of the file and kills the whole group.
//! `PR_SET_PDEATHSIG` would reach the direct child only, and a pid namespace is not every user's to make.

use super::error::{Error, Result};
use refan_runner::cache;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The shell's program: `$0` is the command line to run, with pipes if need be, and `$@` are its arguments.
const LEADER: &str = r#"
exec 3<&0 </dev/null 2>&1
( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &
watcher=$!
exec 3<&-
set -o pipefail
eval "$0"
status=$?
kill "$watcher"
exit "$status"
"#;

/// How many of the last lines are kept to show why something failed.
const TAIL: usize = 30;

/// Variables that pass through; all others could change what is built.
const PASSED: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy"];

/// A command line under guard.
pub struct Guarded {
    command: Command,
    what: String,
    limit: Duration,
}

/// How it ended, and its last lines of output.
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// The last lines that it wrote to either stream.
    pub tail: Vec<String>,
    /// Where it said what is wrong.
    pub errors: Vec<String>,
}

impl Guarded {
    /// The shell command line `line`, with `"$@"` standing for `arguments`, called `what` in messages. It may last for
    /// `limit`.
    pub fn new<A: AsRef<OsStr>>(
        what: &str,
        line: &str,
        arguments: impl IntoIterator<Item = A>,
        limit: Duration,
    ) -> Self {
        let mut command = Command::new("bash");
        command.arg("-c").arg(LEADER).arg(line).args(arguments);
        command.env_clear().env("LC_ALL", "C");
        command.envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        Self { command, what: what.to_owned(), limit }
    }

    /// Runs it in the folder `dir`.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it to its end; each line that it writes goes to `line`.
    ///
    /// # Errors
    /// It cannot be started, or lasts longer than it may: then it is killed.
    pub fn run(mut self, mut line: impl FnMut(&str)) -> Result<Ended> {
        let child = self.command.spawn().map_err(|e| Error::start("bash", &e))?;
        let mut group = Group(child);
        let (send, lines) = channel();
        let stdout = group.0.stdout.take();
        let reader = thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for bytes in BufReader::new(stdout).split(b'\n').map_while(std::io::Result::ok) {
                if send.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                    return;
                }
            }
        });
        let end = Instant::now() + self.limit;
        let mut tail = VecDeque::with_capacity(TAIL);
        let mut errors = Errors::default();
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(text) => {
                    line(&text);
                    errors.see(&text);
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(text);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::NoKernel(format!(
                        "{} is not done after {} s and has been stopped",
                        self.what,
                        self.limit.as_secs()
                    )));
                }
            }
        }
        let _ = reader.join();
        let status = group.0.wait().map_err(|e| Error::start(&self.what, &e))?;
        Ok(Ended { status, tail: tail.into(), errors: errors.lines })
    }

    /// Runs it to its end, with every line also written to the file `log`, and makes an error of a failure: one that
    /// shows the end of the output, or says that the disk that `place` is on is full.
    pub fn run_logged(self, log: &Path, place: &Path, mut line: impl FnMut(&str)) -> Result<()> {
        let what = self.what.clone();
        let mut file = std::fs::File::create(log).map_err(|e| Error::io("write", log, e))?;
        let ended = self.run(|text| {
            // A log that cannot be written (the disk is full) must not hide the cause.
            let _ = writeln!(file, "{text}");
            line(text);
        })?;
        ended.check(&what, place).map_err(|error| match error {
            Error::NoKernel(text) => {
                Error::NoKernel(format!("{text}\nthe whole output: {}", log.display()))
            }
            other => other,
        })
    }
}

impl Ended {
    /// Makes an error of a failure.
    pub fn check(&self, what: &str, place: &Path) -> Result<()> {
        if self.status.success() {
            return Ok(());
        }
        if self.tail.iter().any(|line| line.contains("No space left on device")) {
            return Err(cache::Error::Full(place.to_owned()).into());
        }
        // What runs beside the one that failed goes on, and what it says stands behind the cause.
        let told = if self.errors.is_empty() { &self.tail } else { &self.errors };
        Err(Error::NoKernel(format!("{what} failed ({}):\n{}", self.status, told.join("\n"))))
    }
}

/// The lines by which compilers and linkers say what is wrong, with the few behind each that show where.
#[derive(Default)]
struct Errors {
    lines: Vec<String>,
    behind: usize,
}

impl Errors {
    /// How many lines belong to one.
    const EACH: usize = 3;

    fn see(&mut self, line: &str) {
        let marks = [": error: ", ": fatal error: ", "ERROR: ", "undefined reference to"];
        if marks.iter().any(|mark| line.contains(mark)) {
            self.behind = Self::EACH;
        }
        if self.behind > 0 && self.lines.len() < TAIL {
            self.lines.push(line.to_owned());
        }
        self.behind = self.behind.saturating_sub(1);
    }
}

/// The process group of a running command, killed when dropped early.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn guarded(line: &str, arguments: &[&str]) -> Guarded {
        Guarded::new("it", line, arguments, LONG)
    }

    #[test]
    fn output_and_status_come_through() {
        let mut seen = Vec::new();
        let line = r#"echo "$1 $2"; echo err >&2; exit 3"#;
        let ended = guarded(line, &["a b", "c"]).run(|text| seen.push(text.to_owned())).unwrap();
        assert_eq!(seen, ["a b c", "err"]);
        assert_eq!(ended.status.code(), Some(3));
        let error = ended.check("it", Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("it failed") && error.contains("a b c"), "{error}");
    }

    #[test]
    fn the_cause_is_told_however_much_comes_behind_it() {
        let script = "echo '  CC a.o'; echo 'b.c:7:1: error: unknown type name `x`'; \
                      echo '    7 | x y;'; echo '      | ^'; seq 1000; exit 2";
        let ended = guarded(script, &[]).run(|_| ()).unwrap();
        let error = ended.check("it", Path::new("/")).unwrap_err().to_string();
        assert!(
            error.ends_with("\nb.c:7:1: error: unknown type name `x`\n    7 | x y;\n      | ^"),
            "{error}"
        );
    }

    #[test]
    fn a_failure_inside_a_pipe_is_seen() {
        assert!(!guarded("false | true", &[]).run(|_| ()).unwrap().status.success());
        assert!(guarded("true | true", &[]).run(|_| ()).unwrap().status.success());
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let ended = guarded("echo x > /dev/full", &[]).run(|_| ()).unwrap();
        let error = ended.check("it", Path::new("/somewhere")).unwrap_err();
        assert!(matches!(error, Error::Cache(cache::Error::Full(_))), "{error}");
    }

    #[test]
    fn what_lasts_too_long_is_stopped_with_its_children() {
        let start = Instant::now();
        let it = Guarded::new("it", "sleep 1000 | sleep 1000", [""; 0], Duration::from_millis(300));
        let error = it.run(|_| ()).err().unwrap().to_string();
        assert!(error.contains("has been stopped"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    #[ignore = "the process that children_die_with_a_killed_parent starts and kills"]
    fn parent() {
        let _ = guarded("( sleep 987 & echo $!; wait )", &[]).run(|pid| println!("child {pid}"));
    }

    #[test]
    fn children_die_with_a_killed_parent() {
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernel::guard::tests::parent", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid: i32 = BufReader::new(parent.stdout.take().unwrap())
            .lines()
            .map_while(std::io::Result::ok)
            .find_map(|line| line.split_once("child ")?.1.trim().parse().ok())
            .unwrap();
        let alive = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            status.contains("(sleep)") && !status.contains(") Z")
        };
        let wait_until = |wanted: bool, otherwise: &str| {
            let end = Instant::now() + LONG;
            while alive() != wanted {
                assert!(Instant::now() < end, "the grandchild {pid} {otherwise}");
                thread::sleep(Duration::from_millis(10));
            }
        };
        // Its number is told before it has become `sleep`.
        wait_until(true, "never became what it was to run");
        parent.kill().unwrap();
        parent.wait().unwrap();
        wait_until(false, "outlives its killed parent");
    }
}

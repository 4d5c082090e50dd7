//! `cargo xtask test` as a person calls it: how long it takes, and what of that is what.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::figure::Figure;
use crate::agent::{self, cargo};

/// How often the warm start is measured.
const WARM: usize = 3;

/// The step of which a build consists at least.
const BUILD: &str = "build the kernel";

/// What a call of `test` came to.
pub struct Ran {
    /// From the command to its end.
    pub time: Duration,
    /// From the first scenario's start to the last one's end.
    pub suites: Duration,
    /// Scenarios that were judged.
    pub held: usize,
    /// Machines side by side.
    pub machines: usize,
    /// The compiler's part; none where nothing was built.
    pub build: Option<Duration>,
}

/// Runs `cargo xtask test` with these options; all has to hold. `cache` is a cache of its own.
pub fn test(repository: &Path, options: &[&str], cache: Option<&Path>) -> Result<Ran> {
    let begun = Instant::now();
    let mut command = Command::new(cargo());
    command.current_dir(repository).args(["xtask", "test", "--json"]).args(options);
    if let Some(cache) = cache {
        command.env("REFAN_CACHE", cache);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `cargo xtask test`")?;
    let errors = child.stderr.take().context("a run without standard error")?;
    let steps = std::thread::spawn(move || -> Vec<String> {
        BufReader::new(errors).lines().map_while(Result::ok).collect()
    });
    let output = child.wait_with_output().context("cannot wait for `cargo xtask test`")?;
    let time = begun.elapsed();
    let steps = steps.join().unwrap_or_default();
    if !output.status.success() {
        bail!("`cargo xtask test` ended with {}: {}", output.status, steps.join(" | "));
    }
    let output = String::from_utf8_lossy(&output.stdout);
    let events: Vec<Value> = output
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("`cargo xtask test --json` says what is no JSON")?;
    let number = |event: &str, key: &str| {
        let event = events.iter().find(|it| it["event"] == event);
        event
            .and_then(|it| it[key].as_f64())
            .with_context(|| format!("there is no {key} in {event:?}"))
    };
    Ok(Ran {
        time,
        suites: Duration::from_secs_f64(number("end", "seconds")?),
        held: number("end", "held")? as usize,
        machines: number("start", "machines")? as usize,
        build: steps.iter().find_map(|line| step(line, BUILD)),
    })
}

/// Nothing has changed: the command beside its suites. The last run comes along.
pub fn warm(repository: &Path) -> Result<(Figure, Ran)> {
    let mut ran = test(repository, &[], None)?;
    let (mut times, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..WARM {
        ran = test(repository, &[], None)?;
        times.push(ran.time);
        limits.push(ran.suites);
    }
    Ok((Figure::times("warm start to verdict", &times, "the suites alone", &limits), ran))
}

/// Nothing is in the cache: the command beside the build of the kernel.
pub fn cold(repository: &Path) -> Result<Figure> {
    let parent = agent::target_folder(repository).join("refan");
    std::fs::create_dir_all(&parent)
        .with_context(|| format!("cannot make {}", parent.display()))?;
    let cache = tempfile::Builder::new().prefix("cold-").tempdir_in(&parent);
    let cache = cache.with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let ran = test(repository, &[], Some(cache.path()))?;
    let build = ran.build.context("no kernel was built")?;
    Ok(Figure::times("cold start to verdict", &[ran.time], "the kernel's build", &[build]))
}

/// The time of a step that a line of standard error tells: `  build the kernel (2 min 58 s)`.
fn step(line: &str, what: &str) -> Option<Duration> {
    let time = line.trim().strip_prefix(what)?.trim().strip_prefix('(')?.strip_suffix(" s)")?;
    let (minutes, seconds) = time.split_once(" min ").unwrap_or(("0", time));
    let (minutes, seconds): (f64, f64) = (minutes.parse().ok()?, seconds.parse().ok()?);
    Duration::try_from_secs_f64(minutes * 60.0 + seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::seconds;

    #[test]
    fn times_of_steps_are_read_as_they_are_written() {
        for time in [Duration::from_millis(12_300), Duration::from_secs(178)] {
            let line = format!("  {BUILD} ({})", seconds(time));
            assert_eq!(step(&line, BUILD), Some(time), "{line}");
        }
        assert_eq!(step("  prepare the kernel tree (1.2 s)", BUILD), None);
        assert_eq!(step("  build the kernel …", BUILD), None);
    }
}

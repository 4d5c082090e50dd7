//! `ci nightly`: a campaign of so long, and what the morning needs of it.
//!
//! ```text
//! campaign.jsonl      what the campaign said
//! report.md           what it came to
//! findings/           each new finding, and the same made small
//! issues/             the text of an issue for each
//! ```

pub mod campaign;
mod tell;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_vm::poll_readable;
use rustix::process::{Pid, PidfdFlags};
use xtask::doctor::Purpose;

use crate::agent::{self, cargo};
use crate::cli;
use crate::doctor_command;
use crate::exit::Exit;
use crate::prepare;
use crate::report::seconds;
use crate::steps::Steps;
use campaign::{Campaign, Finding};
use tell::{News, Told};

/// Runs the campaign, makes what is new small and tells of it.
pub fn run(repository: &Path, arguments: &cli::Nightly) -> Result<Exit> {
    let known = prepare::known(repository)?;
    let known = |title: &str| known.iter().find(|known| known.title == title);
    if arguments.install_deps {
        doctor_command::install(Purpose::Use, &Steps::new())?;
    }
    let out = match &arguments.out {
        Some(folder) => std::path::absolute(folder).context("the folder of the results")?,
        None => agent::target_folder(repository).join("refan/nightly"),
    };
    let findings = out.join("findings");
    let issues = out.join("issues");
    for folder in [&findings, &issues] {
        empty(folder)?;
    }
    let options = options(arguments)?;
    say!("== campaign of {}", seconds(arguments.time));
    let campaign = Campaign::run(repository, &options, &out.join("campaign.jsonl"))?;

    let deadline = Instant::now() + arguments.time;
    let new = campaign.findings.iter().filter(|found| known(&found.title).is_none()).count();
    let mut left = u32::try_from(new).unwrap_or(u32::MAX);
    let mut told = Vec::new();
    for found in &campaign.findings {
        let news = match known(&found.title) {
            Some(known) => News::Known(known.clone()),
            None => {
                let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
                left = left.saturating_sub(1);
                let news = keep(repository, found, &findings, share)?;
                let News::New { folder, minimized } = &news else { continue };
                let (folder, minimized) = (folder.as_deref(), minimized.as_deref());
                let text = tell::issue(&campaign, found, folder, minimized, &findings);
                write(&issues.join(format!("{}.md", file_name(&found.title))), &text)?;
                news
            }
        };
        told.push(Told { found: found.clone(), news });
    }
    let exit = exit(&campaign, new);
    let verdict = match exit {
        Exit::Held if told.is_empty() => "nothing was found".to_owned(),
        Exit::Held => format!("nothing new, {} known", told.len()),
        Exit::Broken => format!("{new} new, {} known", told.len() - new),
        _ => "no verdict".to_owned(),
    };
    let report = tell::report(&campaign, &told, &verdict);
    write(&out.join("report.md"), &report)?;
    say!("\n{}", report.trim_end());
    say!("\nin {}", out.display());
    Ok(exit)
}

/// The options of the campaign.
fn options(arguments: &cli::Nightly) -> Result<Vec<OsString>> {
    let mut options = vec!["--time".into(), format!("{}s", arguments.time.as_secs()).into()];
    if let Some(corpus) = &arguments.corpus {
        options.push("--corpus".into());
        options.push(std::path::absolute(corpus).context("the folder of the corpus")?.into());
    }
    options.extend(arguments.fuzz.iter().cloned());
    Ok(options)
}

/// What a night comes to. What is known does not speak against it, and nothing found is good news
/// only of a campaign that judged programs.
fn exit(campaign: &Campaign, new: usize) -> Exit {
    let judged = |it: &campaign::Summary| it.runs > it.unjudged && it.edges > 0;
    match campaign.exit {
        Exit::Held | Exit::Broken if new > 0 => Exit::Broken,
        Exit::Held => Exit::Held,
        // The campaign ends so for what is known as well.
        Exit::Broken if campaign.summary.as_ref().is_some_and(judged) => Exit::Held,
        Exit::Broken => Exit::NoVerdict,
        other if new == 0 => other,
        _ => Exit::Broken,
    }
}

/// Copies a finding to those of the night and makes it small, for so long at most.
fn keep(repository: &Path, found: &Finding, findings: &Path, time: Duration) -> Result<News> {
    let kept = found.artifact.as_deref();
    let Some((kept, name)) = kept.and_then(|it| Some((it, it.file_name()?))) else {
        return Ok(News::New { folder: None, minimized: None });
    };
    let folder = findings.join(name);
    copy(kept, &folder)?;
    let before = names(findings)?;
    say!("\n== minimize {} in {} at most", found.title, seconds(time));
    minimize(repository, &folder, time)?;
    let minimized = names(findings)?.into_iter().find(|name| !before.contains(name));
    Ok(News::New { folder: Some(name.to_string_lossy().into_owned()), minimized })
}

/// Makes a finding small; where it takes longer than `time`, it is ended, and what it came to is in the
/// finding's folder.
fn minimize(repository: &Path, folder: &Path, time: Duration) -> Result<()> {
    let deadline = Instant::now() + time;
    let mut child = Command::new(cargo())
        .current_dir(repository)
        .args(["xtask", "minimize"])
        .arg(folder)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run `cargo xtask minimize`")?;
    let waiting = "cannot wait for the minimization";
    let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    let ended = pidfd
        .map_err(std::io::Error::from)
        .and_then(|pidfd| poll_readable(&[pidfd.as_fd()], deadline));
    if !matches!(ended, Ok([true])) {
        child.kill().context("cannot end the minimization")?;
    }
    let status = child.wait().context(waiting)?;
    let [in_time] = ended.context(waiting)?;
    if !in_time {
        say!("  note: it was not minimized in time");
    } else if !status.success() {
        say!("  note: it was not minimized: {status}");
    }
    Ok(())
}

/// A title as the name of a file.
fn file_name(title: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    title.chars().map(plain).collect()
}

/// The names in a folder that people see.
fn names(folder: &Path) -> Result<Vec<String>> {
    let doing = || format!("cannot list {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(doing)? {
        let name = entry.with_context(doing)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

/// Makes a folder that has nothing of the night before in it.
fn empty(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Copies a folder of files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("cannot copy {} to {}", from.display(), to.display());
    std::fs::create_dir_all(to).with_context(doing)?;
    for entry in std::fs::read_dir(from).with_context(doing)? {
        let path: PathBuf = entry.with_context(doing)?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name)).with_context(doing)?;
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::campaign::Start;

    fn ended(exit: Exit, summary: Option<(u64, u64, usize)>) -> Campaign {
        let summary = summary.map(|(runs, unjudged, edges)| campaign::Summary {
            seconds: 1.0,
            runs,
            rate: 1.0,
            edges,
            states: 1,
            corpus: 1,
            added: 0,
            unjudged,
            lost_workers: 0,
            functions: 2,
            not_entered: Vec::new(),
        });
        Campaign { start: Start::default(), findings: Vec::new(), summary, exit }
    }

    #[test]
    fn only_what_is_known_leaves_a_night_green() {
        let good = Some((9, 1, 5));
        assert_eq!(exit(&ended(Exit::Held, good), 0), Exit::Held);
        assert_eq!(exit(&ended(Exit::Broken, good), 0), Exit::Held);
        assert_eq!(exit(&ended(Exit::Broken, good), 1), Exit::Broken);
        for nothing in [None, Some((9, 9, 5)), Some((9, 0, 0))] {
            assert_eq!(exit(&ended(Exit::Broken, nothing), 0), Exit::NoVerdict);
        }
        assert_eq!(exit(&ended(Exit::NoVerdict, None), 0), Exit::NoVerdict);
        assert_eq!(exit(&ended(Exit::Usage, None), 0), Exit::Usage);
        assert_eq!(exit(&ended(Exit::NoVerdict, None), 1), Exit::Broken);
    }

    #[test]
    fn titles_make_names_of_files() {
        assert_eq!(file_name("KASAN: use-after-free in f/x"), "KASAN--use-after-free-in-f-x");
    }
}

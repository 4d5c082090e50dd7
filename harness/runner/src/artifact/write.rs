//! From a finding to its artifact.

use std::path::{Path, PathBuf};

use refan_program::{Program, Rule};
use sha2::{Digest, Sha256};

use super::folder::{self, Files};
use super::record::{Artifact, Broken, Error, FORMAT, Guest, Kernel, Machine};
use super::{C_SOURCE, EARLIER, PROGRAM, RECORD, readme};
use crate::earlier;
use crate::prepared::{CONFIG, IDENTITY};
use crate::{Outcome, Prepared, Verdict};

/// What the kernel's own checkers report breaks this rule.
const CHECKERS: Rule = Rule::named('X', 5);

/// A name is no longer than this.
const LONGEST_NAME: usize = 100;

/// Keeps a finding below `parent`, in a folder that is called after its title, and says where. If the
/// same finding is kept there already it stays as it is.
///
/// `reference` is the machine that programs without the feature were held against.
///
/// # Errors
/// The outcome is no finding; the kernel's or machine's files cannot be read; the folder cannot be
/// written, of which nothing is left then.
pub fn write(
    parent: &Path,
    prepared: &Prepared,
    reference: Option<&Prepared>,
    outcome: &Outcome,
) -> Result<PathBuf, Error> {
    write_with_c(parent, prepared, reference, outcome, None)
}

/// Keeps a finding that was minimized, with the program as C where it has that form.
///
/// # Errors
/// As of [`write`].
pub fn write_with_c(
    parent: &Path,
    prepared: &Prepared,
    reference: Option<&Prepared>,
    outcome: &Outcome,
    c_source: Option<String>,
) -> Result<PathBuf, Error> {
    let not_told = |why: String| Error::NotTold { scenario: outcome.name.clone(), why };
    let Some(title) = outcome.verdict.title() else {
        return Err(not_told(format!("its verdict is `{}`", outcome.verdict.word())));
    };
    let spec = prepared.spec().map_err(|error| not_told(format!("{error:#}")))?;
    let read = |path: &Path| std::fs::read(path).map_err(|e| Error::io("read", path, e));
    let beside = |name: &str| {
        let path = prepared.image.with_file_name(name);
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    };
    let built_from = match beside(IDENTITY)? {
        Some(text) => Some(serde_json::from_slice(&text).map_err(|error| {
            not_told(format!("{IDENTITY} of its kernel is malformed: {error}"))
        })?),
        None => None,
    };
    let program = outcome.program.as_ref().map(|program| as_scenario(program, outcome));
    let binary = program.as_ref().map(Program::encode);
    let mut artifact = Artifact {
        format: FORMAT,
        finding: String::new(),
        title,
        verdict: outcome.verdict.word().to_owned(),
        broken: Broken::of(&outcome.verdict),
        scenario: outcome.name.clone(),
        rules: outcome.rules.iter().map(ToString::to_string).collect(),
        repeated: outcome.repeated,
        options: prepared.options.clone(),
        against: reference.map(|reference| reference.options.clone()),
        mutant: prepared.mutant,
        watched: prepared.watched.clone().unwrap_or_default().folders,
        api: prepared.api,
        kernel: Kernel {
            summary: prepared.kernel.clone(),
            image: sha256([read(&prepared.image)?.as_slice()]),
            built_from,
        },
        machine: Machine {
            summary: prepared.machine.clone(),
            qemu: spec.qemu.identity().to_owned(),
            command_line: outcome.command_line.clone(),
            kernel_command_line: spec.cmdline(),
            snapshot: prepared.snapshot.as_ref().map(|(_, key)| key.clone()),
        },
        guest: Guest {
            sources: prepared.sources.clone(),
            initramfs: sha256([read(&prepared.initramfs)?.as_slice()]),
        },
    };
    artifact.finding = finding(&artifact, binary.as_deref().unwrap_or_default());

    let record = serde_json::to_vec_pretty(&artifact)
        .map_err(|error| not_told(format!("it cannot be written as JSON: {error}")))?;
    let verdict = outcome.verdict.to_string();
    let mut files: Files = vec![(RECORD, record), ("verdict.txt", format!("{verdict}\n").into())];
    if let Some(program) = &program {
        files.push((PROGRAM, program.to_string().into()));
        files.push(("program.bin", binary.unwrap_or_default()));
        if !outcome.earlier.is_empty() {
            files.push((EARLIER, earlier::encode(&outcome.earlier)));
        }
    }
    files.extend(c_source.map(|text| (C_SOURCE, text.into_bytes())));
    if let Verdict::Report(report) = &outcome.verdict {
        files.push(("report.txt", report.text.clone().into()));
        files.extend(report.symbolized.clone().map(|text| ("symbolized.txt", text.into())));
    }
    let texts = [("history.txt", &outcome.history), ("console.txt", &outcome.console)];
    let told = texts.into_iter().filter(|(_, text)| !text.is_empty());
    files.extend(told.map(|(name, text)| (name, text.clone().into_bytes())));
    files.extend(beside(CONFIG)?.map(|text| ("kernel.config", text)));
    files.push(("machine.toml", spec.profile.text.clone().into()));
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let readme =
        |place: &Path| ("README", readme::of(&artifact, &verdict, &names, place).into_bytes());
    folder::publish(parent, &name(&artifact), &artifact.finding, &files, readme)
}

/// The program with a first line that names a rule, as scenarios have it.
fn as_scenario(program: &Program, outcome: &Outcome) -> Program {
    let mut program = program.clone();
    if program.rules().is_empty() {
        let rule = match &outcome.verdict {
            Verdict::Broken(violation) => violation.rule,
            _ => CHECKERS,
        };
        program.header.insert(0, format!("{rule}: {}", outcome.name));
    }
    program
}

/// What makes it the same finding as another: title, program, kernel, machine and guest.
fn finding(artifact: &Artifact, program: &[u8]) -> String {
    let mutant = artifact.mutant.map(u32::to_le_bytes).unwrap_or_default();
    let api = [artifact.api.init_flag, artifact.api.open_queue_ioctl].map(u32::to_le_bytes);
    sha256([
        artifact.title.as_bytes(),
        artifact.scenario.as_bytes(),
        program,
        artifact.kernel.image.as_bytes(),
        artifact.machine.qemu.as_bytes(),
        artifact.machine.kernel_command_line.as_bytes(),
        artifact.guest.initramfs.as_bytes(),
        &mutant,
        artifact.watched.join("\n").as_bytes(),
        &api.concat(),
    ])
}

/// SHA-256 over parts, each behind its length, in hex; one part alone stands without it.
fn sha256<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        if N > 1 {
            digest.update((part.len() as u64).to_le_bytes());
        }
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder's name: of a report its title, of a broken rule also the scenario that broke it.
fn name(artifact: &Artifact) -> String {
    let text = if artifact.verdict == "broken" {
        format!("{} {}", artifact.title, artifact.scenario)
    } else {
        artifact.title.clone()
    };
    let mut name = String::new();
    for c in text.chars().take(LONGEST_NAME) {
        let keeps = c.is_ascii_alphanumeric() || c == '_';
        match (keeps, name.ends_with('-') || name.is_empty()) {
            (true, _) => name.push(c),
            (false, false) => name.push('-'),
            (false, true) => {}
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "finding".to_owned() } else { name.to_owned() }
}

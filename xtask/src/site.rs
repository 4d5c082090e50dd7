//! The site: pages made from the records that runs have left.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use refan_site::campaign::Campaign;
use refan_site::coverage::{Coverage, VERSION};
use refan_site::mutants::Matrix;
use refan_site::page::{Page, STYLE, STYLE_FILE};
use refan_site::pages::{Records, rules::Rule};

use crate::exit::{Exit, usage};
use crate::{agent, cli, rules};

/// The record of coverage in the folder of a site.
const COVERAGE: &str = "coverage.json";

/// Records beside the folder of the site, below `target/refan`: the folder of those of campaigns.
pub const CAMPAIGNS: &str = "campaigns";
/// The kill matrix of bugs made by hand.
pub const MUTANTS: &str = "mutants.jsonl";
/// That of mechanical mutants.
pub const MECHANICAL_MUTANTS: &str = "mechanical-mutants.jsonl";
/// Those of campaigns in place of suites.
pub const SEARCHED_MUTANTS: &str = "mutants-searched.jsonl";
/// The same of mechanical mutants.
pub const SEARCHED_MECHANICAL_MUTANTS: &str = "mechanical-mutants-searched.jsonl";
/// Kill matrices with their titles.
const MATRICES: [(&str, &str); 4] = [
    (MUTANTS, "Bugs made by hand"),
    (MECHANICAL_MUTANTS, "Mechanical mutants"),
    (SEARCHED_MUTANTS, "Bugs made by hand, searched for by campaigns"),
    (SEARCHED_MECHANICAL_MUTANTS, "Mechanical mutants, searched for by campaigns"),
];

/// Ending of the records of campaigns.
pub const CAMPAIGN: &str = "jsonl";

/// Makes the site from what there is.
pub fn run(repository: &Path, arguments: &cli::Site) -> Result<Exit> {
    let folder = arguments.site.clone().unwrap_or_else(|| default_folder(repository));
    say!("{}", make(repository, &folder)?.join("index.html").display());
    Ok(Exit::Held)
}

/// Where runs leave what is kept of them.
pub fn kept(repository: &Path) -> PathBuf {
    agent::target_folder(repository).join("refan")
}

/// The folder of the site unless another one is named.
pub fn default_folder(repository: &Path) -> PathBuf {
    kept(repository).join("site")
}

/// Reads the record of coverage that a site has, or that is a file by itself.
pub fn read_coverage(path: &Path) -> Result<Coverage> {
    let file = if path.is_dir() { path.join(COVERAGE) } else { path.to_owned() };
    let text = std::fs::read(&file)
        .map_err(|error| usage(format!("cannot read {}: {error}", file.display())))?;
    let coverage: Coverage = serde_json::from_slice(&text)
        .map_err(|error| usage(format!("{} is no record of coverage: {error}", file.display())))?;
    if coverage.version != VERSION {
        return Err(usage(format!(
            "{} has version {}, and this is {VERSION}: run `cargo xtask coverage` again",
            file.display(),
            coverage.version
        )));
    }
    Ok(coverage)
}

/// Puts a record of coverage into the folder of a site.
pub fn write_coverage(folder: &Path, coverage: &Coverage) -> Result<()> {
    let text = serde_json::to_vec(coverage).context("the coverage as JSON")?;
    keep(folder, COVERAGE, &text)
}

/// Makes all pages from the records in the folder; returns it.
pub fn make(repository: &Path, folder: &Path) -> Result<PathBuf> {
    let coverage = match folder.join(COVERAGE).exists() {
        true => Some(read_coverage(folder)?),
        false => None,
    };
    let kept = kept(repository);
    let artifacts = match folder == default_folder(repository) {
        // The folder can be moved together with its neighbours.
        true => "../artifacts".to_owned(),
        false => absolute(&kept.join("artifacts")),
    };
    let campaigns = campaigns(&kept.join(CAMPAIGNS))?;
    let matrices = matrices(&kept);
    let records = Records { coverage, campaigns, artifacts, matrices, rules: rules(repository)? };
    keep(folder, STYLE_FILE, STYLE.as_bytes())?;
    for Page { file, html } in records.pages() {
        keep(folder, &file, html.as_bytes())?;
    }
    Ok(folder.to_owned())
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// The campaigns whose records are in a folder, the latest first.
fn campaigns(folder: &Path) -> Result<Vec<Campaign>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(format!("cannot list {}", folder.display())),
    };
    let mut campaigns = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let is_record = path.extension().is_some_and(|ending| ending == CAMPAIGN);
        if let Some(text) = is_record.then(|| readable(&path)).flatten() {
            campaigns.extend(passed_over(&path, Campaign::read(name, &text)));
        }
    }
    campaigns.sort_by_key(|campaign| std::cmp::Reverse(campaign.begin.at));
    Ok(campaigns)
}

fn matrices(kept: &Path) -> Vec<Matrix> {
    let read = |(file, title)| {
        let path = kept.join(file);
        passed_over(&path, Matrix::read(title, &readable(&path)?))
    };
    MATRICES.into_iter().filter_map(read).collect()
}

/// The text of a record that need not be there.
fn readable(path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        read => passed_over(path, read),
    }
}

/// One record that cannot be read does not stand in the way of the others.
fn passed_over<T>(path: &Path, read: Result<T, impl std::fmt::Display>) -> Option<T> {
    let tell = |error| eprintln!("warning: {} is left out: {error}", path.display());
    read.map_err(tell).ok()
}

fn rules(repository: &Path) -> Result<Vec<Rule>> {
    let table = rules::table(repository)?;
    let rule = |(rule, row): (refan_program::Rule, rules::Row)| Rule {
        name: rule.to_string(),
        title: rule.title().to_owned(),
        mutants: row.mutants(),
        scenarios: row.scenarios,
    };
    Ok(table.into_iter().map(rule).collect())
}

/// Writes a file whole or not at all.
pub fn keep(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, content)?;
        // Others may read it, as any file that is made.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.persist(&path).map(drop).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

//! Which scenarios the arguments name.

use std::path::Path;

use anyhow::Result;
use refan_runner::suite::{self, Scenario};

use crate::exit::usage;

/// Reads the scenarios that the arguments name: suites, scenarios, or files; all if there are no
/// arguments. Each one is read before the first one runs, so that a slip is told at once.
pub fn scenarios(repository: &Path, arguments: &[String]) -> Result<Vec<Scenario>> {
    let folder = repository.join("scenarios");
    let all = suite::find(&folder)?;
    let mut chosen = Vec::new();
    for argument in arguments {
        let file = Path::new(argument);
        if file.is_file() {
            chosen.push((argument.trim_end_matches(".scn").to_owned(), file.to_owned()));
            continue;
        }
        let inside = format!("{}/", argument.trim_end_matches('/'));
        let before = chosen.len();
        chosen.extend(
            all.iter().filter(|(name, _)| name == argument || name.starts_with(&inside)).cloned(),
        );
        if chosen.len() == before {
            return Err(usage(format!(
                "`{argument}` is no suite, scenario or file; suites: {}",
                suites(&all).join(", ")
            )));
        }
    }
    let chosen = if arguments.is_empty() { all } else { chosen };
    chosen
        .into_iter()
        .map(|(name, file)| {
            Scenario::read(name, &file).map_err(|error| usage(format!("{error:#}")))
        })
        .collect()
}

fn suites<T>(all: &[(String, T)]) -> Vec<&str> {
    let mut suites: Vec<_> = all.iter().filter_map(|(name, _)| name.split('/').next()).collect();
    suites.dedup();
    suites
}

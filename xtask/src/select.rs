//! Which scenarios the arguments name.

use std::path::Path;

use anyhow::Result;
use refan_runner::random::{self, Kind};
use refan_runner::suite::{self, Scenario};

use crate::cli;
use crate::exit::usage;

/// The scenarios that `test` names, or the random programs that it asks for.
pub fn scenarios_and_random(repository: &Path, arguments: &cli::Test) -> Result<Vec<Scenario>> {
    let Some(count) = arguments.random else {
        return scenarios(repository, &arguments.scenarios);
    };
    let kind = match arguments.kind {
        cli::Kind::Sequential => Kind::Sequential,
        cli::Kind::Blocks => Kind::Blocks,
        cli::Kind::Classic => Kind::Classic,
    };
    let program = |number| Scenario {
        name: format!("random/{kind:?}-{}-{number}", arguments.seed).to_lowercase(),
        program: random::program(kind, arguments.seed, number),
    };
    Ok((0..count).map(program).collect())
}

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

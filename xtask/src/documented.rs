//! The documentation is held against what there is: commands, names, scenarios, links.

use std::path::Path;

use clap::{CommandFactory, Parser};
use xtask::docs;

mod runs;

use crate::cli::{Bench, Cli, Command, Kernel, Machine};
use crate::{mutants, prepare, select};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What is wrong with a command, if anything is.
fn check(words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cargo", "xtask"] => Ok(()),
        ["cargo", "xtask", words @ ..] => check_xtask(words),
        ["cargo", "nextest", "run" | "archive", "-p", "scenarios", ..] => Ok(()),
        ["cargo", "nextest", "run", "--archive-file", ..] => Ok(()),
        // `harness/store/tests/exchange.rs` runs it.
        ["cargo", "run", "--release", "-p", "refan-store", "--", "fetch", _, _, _] => Ok(()),
        ["cargo", "fuzz", "run" | "cmin", options @ ..] => {
            let target = options.iter().rfind(|word| word.len() > 4).ok_or("no target")?;
            let file = repository().join(format!("fuzz/fuzz_targets/{target}.rs"));
            if file.is_file() { Ok(()) } else { Err(format!("there is no fuzz target {target}")) }
        }
        _ => Err("it is a command that no test knows".to_owned()),
    }
}

fn check_xtask(words: &[&str]) -> Result<(), String> {
    let words = words.iter().map(|&word| match word {
        "$TIME" => "3h",
        "$SEED" => "1",
        "$STORE" => "s3://bucket/prefix",
        word => word,
    });
    let cli = match Cli::try_parse_from(std::iter::once("xtask").chain(words)) {
        Ok(cli) => cli,
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let told = |error: anyhow::Error| format!("{error:#}");
    let mutant = match &cli.command {
        Command::Test(arguments) => {
            let is_ours = |name: &&String| !name.ends_with(".scn");
            let names: Vec<String> = arguments.scenarios.iter().filter(is_ours).cloned().collect();
            select::scenarios(repository(), &names).map_err(told)?;
            arguments.mutant.as_slice()
        }
        Command::Fuzz(arguments) => arguments.mutant.as_slice(),
        Command::Mutants(arguments) if !is_mechanical(&cli) => &arguments.names[..],
        Command::Ci(crate::cli::Ci::Nightly(arguments)) => {
            let fuzz = arguments.fuzz.iter().map(|word| word.to_string_lossy().into_owned());
            let words = ["cargo", "xtask", "fuzz", "--time", "1m"].map(str::to_owned);
            check(&words.into_iter().chain(fuzz).collect::<Vec<_>>())?;
            &[]
        }
        _ => &[],
    };
    let known = mutants::all(repository()).map_err(told)?;
    if let Some(unknown) = mutant.iter().find(|name| !known.contains_key(*name)) {
        return Err(format!("there is no mutant {unknown}"));
    }
    machine(&cli.command).map_or(Ok(()), check_machine)
}

/// Whether the names of `mutants` are those of mutants that rules make.
fn is_mechanical(cli: &Cli) -> bool {
    format!("{:?}", cli.command).contains("mechanical: true")
}

fn machine(command: &Command) -> Option<&Machine> {
    match command {
        Command::Test(it) => Some(&it.machine),
        Command::Fuzz(it) => Some(&it.machine),
        Command::Mutants(it) => Some(&it.machine),
        Command::Kernel(Kernel::Build(it) | Kernel::Config(it)) => Some(it),
        Command::Bench(it) => match it.one.as_ref()? {
            Bench::Boot(it) | Bench::Restore(it) => Some(&it.machine),
            Bench::Fuzz(it) => Some(&it.machine),
            Bench::Crashes(_) | Bench::Minimize(_) => None,
        },
        _ => None,
    }
}

fn check_machine(machine: &Machine) -> Result<(), String> {
    let configs = prepare::configs(repository());
    configs.target(&machine.target).map_err(|error| error.to_string())?;
    configs.base(&machine.base).map_err(|error| error.to_string())?;
    if let Some(series) = &machine.series {
        configs.series(series).map_err(|error| error.to_string())?;
    }
    if let Some(name) = &machine.machine
        && !repository().join(format!("vm-images/{name}.toml")).is_file()
    {
        return Err(format!("there is no machine {name}"));
    }
    Ok(())
}

#[test]
fn every_command_is_one() {
    let commands = docs::commands(repository()).expect("the pages");
    let wrong: Vec<String> = commands
        .iter()
        .filter_map(|it| {
            let why = check(&it.words).err()?;
            Some(format!("{}:{}: {}\n  {why}", it.page.display(), it.line, it.words.join(" ")))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(commands.len() > 50, "only {} commands were found", commands.len());
}

#[test]
fn examples_of_the_help_are_commands() {
    let mut left = vec![Cli::command()];
    let mut examples = 0;
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().cloned());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for words in help.lines().flat_map(docs::in_code) {
            examples += 1;
            check(&words).unwrap_or_else(|why| panic!("{}: {why}", words.join(" ")));
        }
    }
    assert!(examples > 20, "only {examples} examples were found");
}

#[test]
fn every_subcommand_is_documented() {
    let commands = docs::commands(repository()).expect("the pages");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let is_told = commands.iter().any(|it| it.words.get(2).is_some_and(|word| word == name));
        assert!(is_told, "no page tells of `cargo xtask {name}`");
    }
}

#[test]
fn every_scenario_is_a_program() {
    let mut scenarios = 0;
    for page in docs::pages(repository()).expect("the pages") {
        let text = std::fs::read_to_string(&page).expect("a page");
        for block in text.split("\n\n") {
            let lines = || block.lines().filter_map(|line| line.strip_prefix("    "));
            let is_scenario = lines().any(|line| line.starts_with("c = fanotify_init("))
                && lines().count() == block.lines().count()
                // A history tells more than a program has.
                && !lines().any(|line| line.starts_with("  "));
            if is_scenario {
                scenarios += 1;
                let program: String = lines().flat_map(|line| [line, "\n"]).collect();
                if let Err(error) = refan_program::parse(&program) {
                    panic!("{}: {error}\n{program}", page.display());
                }
            }
        }
    }
    assert!(scenarios >= 2, "only {scenarios} scenarios were found");
}

#[test]
fn what_is_known_of_classic_groups_can_be_shown() {
    let known = prepare::known(repository()).expect("a list");
    for line in known.iter().filter_map(|known| known.classic.as_deref()) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        check(&words).unwrap_or_else(|why| panic!("{line}: {why}"));
        for file in words.iter().filter(|word| word.ends_with(".scn")) {
            let text = std::fs::read_to_string(repository().join(file)).expect("a scenario");
            refan_program::parse(&text).expect("a program");
        }
    }
}

#[test]
fn links_lead_to_files() {
    for page in docs::pages(repository()).expect("the pages") {
        let text = std::fs::read_to_string(&page).expect("a page");
        let folder = page.parent().expect("a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let is_here = !link.contains("://");
            assert!(!is_here || folder.join(link).exists(), "{}: {link}", page.display());
        }
    }
}

#[test]
fn folders_and_files_that_are_named_exist() {
    const ROOTS: [&str; 6] =
        ["harness/", "xtask/", "kernel-configs/", "vm-images/", "fuzz/", "scenarios/"];
    for page in docs::pages(repository()).expect("the pages") {
        let text = std::fs::read_to_string(&page).expect("a page");
        for name in text.split('`').skip(1).step_by(2) {
            let is_path =
                ROOTS.iter().any(|root| name.starts_with(root)) && !name.contains(['*', ' ']);
            assert!(!is_path || repository().join(name).exists(), "{}: {name}", page.display());
        }
    }
}

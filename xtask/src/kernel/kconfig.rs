//! Configurations: fragments on top of `allnoconfig`, and the proof that each request was granted.
//!
//! Fragments are written as `.config` is. What only some kernel versions have is asked for by `CONFIG_X?=y`, and need
//! not be granted.

use super::configs::Fragment;
use std::collections::{BTreeMap, HashMap};

/// What a fragment asks of one option: its value as `.config` writes it, `n` for "is not set".
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request<'a> {
    value: &'a str,
    fragment: &'a str,
    /// Whether a kernel without it will not do.
    required: bool,
}

/// The fragments as one text, for `KCONFIG_ALLCONFIG`; where two set the same option the later one wins.
pub fn merged(fragments: &[Fragment]) -> String {
    requests(fragments)
        .iter()
        .map(|(option, request)| match request.value {
            "n" => format!("# {option} is not set\n"),
            value => format!("{option}={value}\n"),
        })
        .collect()
}

/// The requests that the final configuration `config` does not grant, one line each.
pub fn refused(fragments: &[Fragment], config: &str) -> Vec<String> {
    let got: HashMap<&str, &str> = config.lines().filter_map(setting).collect();
    requests(fragments)
        .into_iter()
        .filter_map(|(option, request)| {
            let got = got.get(option).copied().unwrap_or("n");
            (request.required && got != request.value).then(|| {
                format!(
                    "{option} is {got}, but the fragment {} asks for {}",
                    request.fragment, request.value
                )
            })
        })
        .collect()
}

fn requests(fragments: &[Fragment]) -> BTreeMap<&str, Request<'_>> {
    let mut all = BTreeMap::new();
    for Fragment { name, text } in fragments {
        for (option, value) in text.lines().filter_map(setting) {
            let required = !option.ends_with('?');
            let option = option.trim_end_matches('?');
            all.insert(option, Request { value, fragment: name, required });
        }
    }
    all
}

/// The option and value that a line of a fragment or `.config` sets.
fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if let Some(option) = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"))
    {
        return option.starts_with("CONFIG_").then_some((option, "n"));
    }
    let (option, value) = line.split_once('=')?;
    option.starts_with("CONFIG_").then_some((option, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(name: &str, text: &str) -> Fragment {
        Fragment { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_later_fragment_wins() {
        let all = [
            fragment("a", "# comment\nCONFIG_A=y\nCONFIG_B=1\n"),
            fragment("b", "# CONFIG_A is not set\nCONFIG_C=\"x y\"\n"),
        ];
        assert_eq!(merged(&all), "# CONFIG_A is not set\nCONFIG_B=1\nCONFIG_C=\"x y\"\n");
    }

    #[test]
    fn what_some_kernels_lack_need_not_be_granted() {
        let all = [fragment("a", "CONFIG_A?=y\nCONFIG_B=y\n")];
        assert_eq!(merged(&all), "CONFIG_A=y\nCONFIG_B=y\n");
        assert!(refused(&all, "CONFIG_B=y\n").is_empty());
        assert_eq!(refused(&all, "CONFIG_A=y\n").len(), 1);
    }

    #[test]
    fn each_request_must_be_granted() {
        let all = [fragment("a", "CONFIG_A=y\nCONFIG_NR=8\n# CONFIG_OFF is not set\nCONFIG_N=n\n")];
        assert!(refused(&all, "CONFIG_A=y\nCONFIG_NR=8\n").is_empty());
        let refused = refused(&all, "# CONFIG_A is not set\nCONFIG_NR=64\nCONFIG_OFF=y\n");
        assert_eq!(
            refused,
            [
                "CONFIG_A is n, but the fragment a asks for y",
                "CONFIG_NR is 64, but the fragment a asks for 8",
                "CONFIG_OFF is y, but the fragment a asks for n",
            ]
        );
    }
}

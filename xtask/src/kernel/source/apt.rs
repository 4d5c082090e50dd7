//! What the host's apt configuration says of Debian's mirrors.

use std::fs;
use std::path::Path;

/// A Debian archive as the host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its address.
    pub uri: String,
    /// The value of `Signed-By`: a keyring's path or a whole key; `None` means apt's trusted keys.
    pub signed_by: Option<String>,
}

/// Suites that only Debian's own archive has.
const SUITES: &[&str] =
    &["bookworm", "trixie", "forky", "duke", "sid", "stable", "testing", "unstable", "oldstable"];

/// The Debian mirror of a host whose apt configuration is in `etc` (`/etc/apt`), `None` when it has none.
#[must_use]
pub fn mirror(etc: &Path) -> Option<Mirror> {
    let mut files = vec![etc.join("sources.list")];
    let mut parts: Vec<_> = fs::read_dir(etc.join("sources.list.d"))
        .map(|list| list.flatten().map(|item| item.path()).collect())
        .unwrap_or_default();
    parts.sort();
    files.append(&mut parts);
    files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        match path.extension()?.to_str()? {
            "list" => one_line(&text),
            "sources" => deb822(&text),
            _ => None,
        }
    })
}

/// The mirror in a one-line sources list: `deb [options] URI SUITE COMPONENT...`.
fn one_line(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb ").or_else(|| line.strip_prefix("deb\t"))?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by=").map(str::to_owned));
        (debian(suite) && words.any(|word| word == "main"))
            .then(|| Mirror { uri: uri.to_owned(), signed_by })
    })
}

/// The mirror in a deb822 sources file: stanzas of `Field: value`, continued by indented lines.
fn deb822(text: &str) -> Option<Mirror> {
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    without_comments.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let field = |name: &str| -> Option<String> {
            let start = stanza.iter().position(|line| {
                line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
            })?;
            let mut value = stanza[start].split_once(':')?.1.trim().to_owned();
            for line in stanza[start + 1..].iter().take_while(|line| line.starts_with([' ', '\t']))
            {
                value.push('\n');
                value.push_str(line);
            }
            Some(value)
        };
        let has = |name: &str, test: &dyn Fn(&str) -> bool| {
            field(name).is_some_and(|value| value.split_whitespace().any(test))
        };
        let disabled = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        let right = !disabled
            && has("Types", &|word| word == "deb")
            && has("Components", &|word| word == "main")
            && has("Suites", &debian);
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        right.then(|| Mirror {
            uri,
            signed_by: field("Signed-By").filter(|value| !value.is_empty()),
        })
    })
}

/// Whether a suite is one of the main Debian archive: not of the security archive, which has no other suite.
fn debian(suite: &str) -> bool {
    let name = suite.split(['-', '/']).next().unwrap_or(suite);
    SUITES.contains(&name) && !suite.contains("security")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(uri: &str, signed_by: Option<&str>) -> Option<Mirror> {
        Some(Mirror { uri: uri.to_owned(), signed_by: signed_by.map(str::to_owned) })
    }

    #[test]
    fn one_line_lists() {
        let text = "# deb http://old/debian bookworm main\n\
                    deb-src http://src/debian bookworm main\n\
                    deb https://packages.example.com/apt sdk-bookworm main\n\
                    deb http://security.example/debian-security bookworm-security main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://near/debian bookworm main contrib # near\n";
        assert_eq!(one_line(text), found("http://near/debian", Some("/k.gpg")));
        assert_eq!(one_line("deb\thttp://m/debian  sid  main"), found("http://m/debian", None));
        assert_eq!(one_line("deb http://u/ubuntu noble main\n"), None);
        assert_eq!(one_line("deb [broken\ndeb\n"), None);
    }

    #[test]
    fn deb822_files() {
        let text = "Types: deb\nURIs: http://s/debian-security\nSuites: trixie-security\nComponents: main\n\n\
                    Types: deb\nEnabled: no\nURIs: http://off/debian\nSuites: trixie\nComponents: main\n\n\
                    Types: deb deb-src\n# a comment\nURIs: http://near/debian\n http://far/debian\n\
                    Suites: trixie trixie-updates\nComponents: main\nSigned-By: /k.gpg\n";
        assert_eq!(deb822(text), found("http://near/debian", Some("/k.gpg")));
        let key = "Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\n\
                   Signed-By:\n -----BEGIN\n .\n END\n";
        assert_eq!(deb822(key), found("http://m/debian", Some("\n -----BEGIN\n .\n END")));
        assert_eq!(
            deb822("Types: deb\nURIs: http://u/ubuntu\nSuites: noble\nComponents: main\n"),
            None
        );
    }
}

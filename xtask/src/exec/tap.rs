//! TAP and KTAP, as far as they tell what became of a test: its own lines, not those of subtests of subtests.
//!
//! `Documentation/dev-tools/ktap.rst` of Linux, and what `kselftest.h` and libtap print.

/// What a test says of its parts, line by line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Results {
    version: bool,
    planned: Option<usize>,
    passed: usize,
    failed: usize,
    skipped: usize,
    bailed: Option<String>,
}

/// What the lines came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// They are no TAP.
    Nothing,
    /// All parts are there, and those that were not skipped have passed.
    Passed,
    /// All parts were skipped.
    Skipped,
    /// What is wrong.
    Failed(String),
}

impl Results {
    /// Takes a line.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if line.starts_with("TAP version ") || line.starts_with("KTAP version ") {
            self.version = true;
        } else if let Some(plan) = line.strip_prefix("1..") {
            let number = plan.split_whitespace().next().and_then(|number| number.parse().ok());
            self.planned = number.or(self.planned);
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            self.bailed = Some(reason.trim().to_owned());
        } else if let Some(rest) = result(line, "ok") {
            match directive(rest) {
                Some("SKIP") => self.skipped += 1,
                _ => self.passed += 1,
            }
        } else if let Some(rest) = result(line, "not ok") {
            match directive(rest) {
                Some("SKIP") => self.skipped += 1,
                // It is expected.
                Some("TODO" | "XFAIL") => self.passed += 1,
                _ => self.failed += 1,
            }
        }
    }

    /// What the lines came to.
    pub fn told(&self) -> Told {
        let Self { version, planned, passed, failed, skipped, bailed } = self;
        let found = passed + failed + skipped;
        if !version && (planned.is_none() || found == 0) {
            return Told::Nothing;
        }
        match planned {
            _ if bailed.is_some() => {
                Told::Failed(format!("bailed out: {}", bailed.as_deref().unwrap_or_default()))
            }
            _ if *failed > 0 => Told::Failed(format!("{failed} of {found} subtests failed")),
            Some(planned) if found < *planned => {
                Told::Failed(format!("{} of {planned} subtests are missing", planned - found))
            }
            None if found == 0 => Told::Failed("it announces subtests and has none".to_owned()),
            _ if *passed == 0 => Told::Skipped,
            _ => Told::Passed,
        }
    }
}

/// What follows the word of a result line.
fn result<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
}

/// The directive behind a `#`.
fn directive(rest: &str) -> Option<&'static str> {
    let word = rest.split_once('#')?.1.split_whitespace().next()?;
    ["SKIP", "TODO", "XFAIL"]
        .into_iter()
        .find(|it| word.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        let mut results = Results::default();
        text.lines().for_each(|line| results.line(line));
        results.told()
    }

    #[test]
    fn what_is_no_tap_tells_nothing() {
        assert_eq!(told(""), Told::Nothing);
        assert_eq!(told("ok, that went well\nnot okay\n1.. 2.. 3\n"), Told::Nothing);
        assert_eq!(told("ok 1 but without a plan or a version\n"), Told::Nothing);
    }

    #[test]
    fn results_are_counted() {
        let failed = |text: &str| Told::Failed(text.to_owned());
        assert_eq!(told("TAP version 13\n1..2\nok 1 a\nok 2 b\n"), Told::Passed);
        assert_eq!(told("1..1\r\nok 1\r\n"), Told::Passed);
        assert_eq!(told("ok 1 a\nok 2 b # skip why\n1..2\n"), Told::Passed);
        assert_eq!(
            told("KTAP version 1\n1..2\nok 1\nnot ok 2 b\n"),
            failed("1 of 2 subtests failed")
        );
        assert_eq!(told("KTAP version 1\n1..3\nok 1\n"), failed("2 of 3 subtests are missing"));
        assert_eq!(told("TAP version 13\n1..0 # SKIP no such feature\n"), Told::Skipped);
        assert_eq!(told("TAP version 13\n1..1\nok 1 # SKIP no such feature\n"), Told::Skipped);
        assert_eq!(told("TAP version 13\n1..1\nnot ok 1 a # TODO later\n"), Told::Passed);
        assert_eq!(
            told("TAP version 13\n1..2\nok 1\nBail out! no root\n"),
            failed("bailed out: no root")
        );
        assert_eq!(told("TAP version 13\n"), failed("it announces subtests and has none"));
    }

    #[test]
    fn what_is_below_a_subtest_is_its_own() {
        let text = "KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b # TODO\nok 1 c\n";
        assert_eq!(told(text), Told::Passed);
    }
}

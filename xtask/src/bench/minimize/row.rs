//! What a finding has come to, and what of it is beyond its limit.

use std::time::Duration;

use refan_runner::minimize::Rate;

use crate::report::seconds;

/// Steps of a least program, and how long it may take to come to it.
const MOST_STEPS: usize = 10;
const MOST_TIME: Duration = Duration::from_secs(180);

/// Steps of the least program in the middle.
const MEDIAN_STEPS: usize = 7;

/// What the kernel with the bug and the one without came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// In words, with the bug.
    pub broken: String,
    /// Without.
    pub good: String,
    /// Whether the first is told to be wrong.
    pub is_told: bool,
    /// Whether the second is told to be right.
    pub is_held: bool,
}

/// How often the least program shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How often.
    pub rate: Rate,
    /// Whether it has to each time, since nothing is left to chance.
    pub is_exact: bool,
}

/// One bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    name: String,
    /// When it was found; none if it was not.
    pub found: Option<Duration>,
    /// What was found.
    pub title: String,
    /// Steps of the program that was found.
    pub before: usize,
    /// Steps of the least one, and how long it took to come to it; none if it did not show again.
    pub least: Option<(usize, Duration)>,
    /// How often that shows.
    pub shows: Option<Shown>,
    /// It as C.
    pub c_file: Option<Pair>,
    /// It as a scenario, on each target.
    pub scenarios: Vec<(&'static str, Pair)>,
}

/// Prints the head of the table.
pub fn head() {
    say!(
        "{:<20} {:>8} {:>9} {:>8} {:>8}  {:<17} scenario",
        "bug",
        "found",
        "steps",
        "took",
        "shows",
        "C"
    );
}

/// Says what is beyond its limit over all; false if anything is.
pub fn sum_up(rows: &[Row]) -> bool {
    let mut steps: Vec<usize> = rows.iter().filter_map(|row| Some(row.least?.0)).collect();
    steps.sort_unstable();
    let Some(median) = steps.get(steps.len() / 2) else { return false };
    say!("  median of {} least programs: {median} steps of at most {MEDIAN_STEPS}", steps.len());
    *median <= MEDIAN_STEPS && rows.iter().all(|row| row.missed().is_empty())
}

impl Row {
    /// Of a bug that is searched for.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            found: None,
            title: String::new(),
            before: 0,
            least: None,
            shows: None,
            c_file: None,
            scenarios: Vec::new(),
        }
    }

    /// Prints it, and what is beyond its limit.
    pub fn print(&self) {
        let time = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), seconds);
        let least = self.least.map_or_else(|| "-".to_owned(), |(steps, _)| steps.to_string());
        let shows = self.shows.map_or_else(
            || "-".to_owned(),
            |Shown { rate: (found, runs), .. }| format!("{found}/{runs}"),
        );
        let pair = |pair: &Pair| {
            let word = |told, yes, no| if told { yes } else { no };
            format!("{}/{}", word(pair.is_told, "wrong", "NO"), word(pair.is_held, "right", "NO"))
        };
        let c_file = self.c_file.as_ref().map_or_else(|| "-".to_owned(), pair);
        let scenarios: Vec<String> =
            self.scenarios.iter().map(|(target, of)| format!("{target} {}", pair(of))).collect();
        say!(
            "{:<20} {:>8} {:>9} {:>8} {:>8}  {c_file:<17} {}",
            self.name,
            time(self.found),
            format!("{} -> {least}", self.before),
            time(self.least.map(|(_, took)| took)),
            shows,
            scenarios.join(", ")
        );
        if !self.title.is_empty() {
            say!("    {}", self.title);
        }
        for (target, pair) in self.scenarios.iter().filter(|(_, pair)| pair.broken != self.title) {
            say!("    on {target}: {}", pair.broken);
        }
        for missed in self.missed() {
            say!("    missed: {missed}");
        }
    }

    /// What is beyond its limit.
    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if self.found.is_none() {
            return vec!["it was not found".to_owned()];
        }
        let Some((steps, took)) = self.least else {
            return vec!["it did not show again".to_owned()];
        };
        if steps > MOST_STEPS {
            missed.push(format!("{steps} steps are left, of at most {MOST_STEPS}"));
        }
        if took > MOST_TIME {
            missed.push(format!("it took {}, of at most {}", seconds(took), seconds(MOST_TIME)));
        }
        if let Some(Shown { rate: (found, runs), is_exact }) = self.shows
            && (found == 0 || is_exact && found < runs)
        {
            missed.push(format!("it shows in {found} of {runs} runs"));
        }
        let pairs = self.c_file.iter().map(|pair| ("C".to_owned(), pair));
        let scenarios = self.scenarios.iter();
        let scenarios = scenarios.map(|(target, pair)| (format!("the scenario on {target}"), pair));
        for (what, Pair { broken, good, is_told, is_held }) in pairs.chain(scenarios) {
            if !is_told {
                missed.push(format!("{what} does not tell the bug: {broken}"));
            }
            if !is_held {
                missed.push(format!("{what} finds fault with the kernel that is right: {good}"));
            }
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(is_told: bool, is_held: bool) -> Pair {
        Pair { broken: "b".to_owned(), good: "g".to_owned(), is_told, is_held }
    }

    fn row() -> Row {
        let second = Duration::from_secs(1);
        Row {
            found: Some(second),
            before: 20,
            least: Some((6, second)),
            shows: Some(Shown { rate: (100, 100), is_exact: true }),
            c_file: Some(pair(true, true)),
            scenarios: vec![("fast", pair(true, true))],
            ..Row::new("a")
        }
    }

    #[test]
    fn what_is_beyond_its_limit_is_missed() {
        assert_eq!(row().missed(), [""; 0]);
        let long = Duration::from_secs(181);
        let shown = |rate, is_exact| Some(Shown { rate, is_exact });
        let wrong = [
            Row::new("a"),
            Row { least: None, ..row() },
            Row { least: Some((11, long)), ..row() },
            Row { shows: shown((99, 100), true), ..row() },
            Row { shows: shown((0, 100), false), ..row() },
            Row { c_file: Some(pair(false, true)), ..row() },
            Row { scenarios: vec![("kasan", pair(true, false))], ..row() },
        ];
        let counts = wrong.map(|row| row.missed().len());
        assert_eq!(counts, [1, 1, 2, 1, 1, 1, 1]);
        assert_eq!(Row { shows: shown((2, 100), false), ..row() }.missed(), [""; 0]);
    }

    #[test]
    fn the_median_has_a_limit_of_its_own() {
        let of = |steps| Row { least: Some((steps, Duration::ZERO)), ..row() };
        assert!(sum_up(&[of(3), of(7), of(10)]));
        assert!(!sum_up(&[of(3), of(8), of(10)]));
        assert!(!sum_up(&[]));
    }
}

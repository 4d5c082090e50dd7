//! A figure and the limit that it is measured against.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds: less is better.
    Seconds,
    /// So many a second: more is better.
    PerSecond,
}

/// A figure beside its limit, both measured in the same run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What is measured.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub value: f64,
    /// What it is measured against.
    pub limit: String,
    /// How much that is.
    pub of_limit: f64,
    /// How often it was measured.
    pub runs: usize,
}

impl Figure {
    /// The median of times beside the median of their limits.
    pub fn times(name: &str, times: &[Duration], limit: &str, limits: &[Duration]) -> Self {
        Self {
            name: name.to_owned(),
            unit: Unit::Seconds,
            value: median(times).as_secs_f64(),
            limit: limit.to_owned(),
            of_limit: median(limits).as_secs_f64(),
            runs: times.len(),
        }
    }

    /// The figure by its limit.
    pub fn ratio(&self) -> f64 {
        self.value / self.of_limit.max(f64::MIN_POSITIVE)
    }

    /// Prints it alone.
    pub fn print(&self, json: bool) {
        if json {
            say!("{}", self.object());
            return;
        }
        say!("  {:<27} {}", self.name, self.amount(self.value));
        let (ratio, limit) = (self.ratio(), self.amount(self.of_limit));
        let times = if self.unit == Unit::Seconds { "times" } else { "of" };
        let of = if self.unit == Unit::Seconds { "median of " } else { "" };
        let runs = if self.unit == Unit::Seconds { "" } else { " runs" };
        say!("    {ratio:.2} {times} {limit}, {} ({of}{}{runs})", self.limit, self.runs);
    }

    /// An amount in the figure's unit.
    pub fn amount(&self, amount: f64) -> String {
        match self.unit {
            Unit::Seconds if amount < 1.0 => format!("{amount:.3} s"),
            Unit::Seconds => format!("{amount:.1} s"),
            Unit::PerSecond => format!("{amount:.1} a second"),
        }
    }

    /// It for programs.
    pub fn object(&self) -> Value {
        let [value, limit] = match self.unit {
            Unit::Seconds => ["seconds", "limit_seconds"],
            Unit::PerSecond => ["per_second", "limit_per_second"],
        };
        json!({
            "event": "figure", "version": 1, "name": self.name, value: self.value,
            "limit": self.limit, limit: self.of_limit, "ratio": self.ratio(), "runs": self.runs,
        })
    }

    /// The figures of an earlier run, of the lines that it printed for programs.
    pub fn read_all(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(tag = "event", rename_all = "kebab-case")]
        enum Line {
            Figure(Printed),
            #[serde(other)]
            Else,
        }
        #[derive(Deserialize)]
        struct Printed {
            name: String,
            seconds: Option<f64>,
            limit_seconds: Option<f64>,
            per_second: Option<f64>,
            limit_per_second: Option<f64>,
            limit: String,
            runs: usize,
        }
        let mut figures = Vec::new();
        for line in text.lines() {
            let Line::Figure(it) = serde_json::from_str(line)? else { continue };
            let (unit, value, of_limit) = match it.seconds {
                Some(seconds) => (Unit::Seconds, Some(seconds), it.limit_seconds),
                None => (Unit::PerSecond, it.per_second, it.limit_per_second),
            };
            let missing = || serde::de::Error::custom(format!("`{}` has no amount", it.name));
            figures.push(Self {
                unit,
                value: value.ok_or_else(missing)?,
                of_limit: of_limit.ok_or_else(missing)?,
                name: it.name,
                limit: it.limit,
                runs: it.runs,
            });
        }
        Ok(figures)
    }
}

/// The middle one; the upper of two.
fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let seconds = |all: &[u64]| {
            median(&all.iter().map(|&s| Duration::from_secs(s)).collect::<Vec<_>>()).as_secs()
        };
        assert_eq!(seconds(&[3, 1, 2]), 2);
        assert_eq!(seconds(&[]), 0);
    }

    #[test]
    fn what_is_printed_for_programs_is_read_back() {
        let rate = Figure {
            name: "programs".to_owned(),
            unit: Unit::PerSecond,
            value: 3.0,
            limit: "programs alone".to_owned(),
            of_limit: 4.0,
            runs: 7,
        };
        let time =
            Figure::times("boot", &[Duration::from_secs(2)], "bare", &[Duration::from_secs(1)]);
        let text = format!("{}\n{{\"event\":\"shares\"}}\n{}\n", rate.object(), time.object());
        assert_eq!(Figure::read_all(&text).expect("figures"), [rate, time]);
        assert!(Figure::read_all("no JSON").is_err());
        assert!(Figure::read_all(r#"{"event":"figure","name":"x","limit":"y","runs":1}"#).is_err());
    }
}

//! What a run came to.

use refan_model::Violation;

use crate::kernel_log::Report;

/// What the run of one program came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The kernel did what the contract allows, and the scenario's expectations held.
    Held,
    /// A rule was broken.
    Broken(Violation),
    /// A checker of the kernel spoke, or the kernel died.
    Report(Report),
    /// A checker of the kernel spoke of nothing but what is known of it ([`crate::known`]), and otherwise all
    /// held.
    Known(Report),
    /// The program needs what this kernel does not have and does not claim to have.
    Unsupported(String),
    /// Nothing was learnt about the kernel.
    None(String),
}

impl Verdict {
    /// One word for it, the same in every report.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken(_) => "broken",
            Self::Report(_) => "kernel report",
            Self::Known(_) => "known",
            Self::Unsupported(_) => "unsupported",
            Self::None(_) => "no verdict",
        }
    }

    /// What findings of one kind have in common, over runs and builds of the kernel; None where it is
    /// no finding.
    pub fn title(&self) -> Option<String> {
        match self {
            Self::Broken(violation) => Some(format!("rule {} broken", violation.rule)),
            Self::Report(report) => Some(report.title.clone()),
            Self::Held | Self::Known(_) | Self::Unsupported(_) | Self::None(_) => None,
        }
    }

    /// Why there is none, in a line that is the same at whatever step it was; None where there is one.
    pub fn obstacle(&self) -> Option<&str> {
        let Self::None(why) = self else { return None };
        let why = why.lines().next().unwrap_or_default();
        let place = why.strip_prefix("step ").and_then(|rest| rest.split_once(": "));
        let place = place.filter(|(number, _)| number.parse::<usize>().is_ok());
        Some(place.map_or(why, |(_, what)| what))
    }

    /// Whether it says something against the kernel.
    pub fn is_finding(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Report(_))
    }
}

impl std::fmt::Display for Verdict {
    /// What is wrong, in lines that begin with what they tell; nothing where all held.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held => Ok(()),
            Self::Broken(Violation { rule, step, allowed, observed, history }) => {
                let step = step + 1;
                write!(
                    f,
                    "rule      {rule}, at step {step}\nallowed   {allowed}\nobserved  {observed}"
                )?;
                let words = std::iter::once("after").chain(std::iter::repeat(""));
                words.zip(history).try_for_each(|(word, line)| write!(f, "\n{word:<9} {line}"))
            }
            Self::Report(report) | Self::Known(report) => {
                write!(f, "reported  {}", report.title)
            }
            Self::Unsupported(why) | Self::None(why) => write!(f, "because   {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_the_same_at_each_step() {
        let none = |why: &str| Verdict::None(why.to_owned());
        for (why, obstacle) in [
            ("step 12: too many ways", "too many ways"),
            ("the trace is full\nat its end", "the trace is full"),
            ("step by step: no", "step by step: no"),
        ] {
            assert_eq!(none(why).obstacle(), Some(obstacle));
        }
        assert_eq!(Verdict::Held.obstacle(), None);
    }
}

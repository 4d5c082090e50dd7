//! Rules of the contract by name.

use std::fmt;
use std::str::FromStr;

/// A rule of the contract: a chapter's letter and a number, `R1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    chapter: char,
    number: u8,
}

impl Rule {
    /// The chapters of the contract, each with how many rules it has.
    const CHAPTERS: &[(char, u8)] = &[
        ('I', 4),
        ('C', 6),
        ('M', 4),
        ('Q', 10),
        ('R', 11),
        ('K', 4),
        ('S', 4),
        ('X', 5),
        ('F', 2),
        ('A', 3),
    ];

    /// Every rule of the contract, in its order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::CHAPTERS
            .iter()
            .flat_map(|&(chapter, count)| (1..=count).map(move |number| Self { chapter, number }))
    }

    /// The rule of this name, for names written in the code.
    ///
    /// # Panics
    /// In a constant, at compile time, when the contract has no such rule.
    pub const fn named(chapter: char, number: u8) -> Self {
        let mut i = 0;
        while i < Self::CHAPTERS.len() {
            let (letter, count) = Self::CHAPTERS[i];
            if letter == chapter && number >= 1 && number <= count {
                return Self { chapter, number };
            }
            i += 1;
        }
        panic!("the contract has no such rule")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.chapter, self.number)
    }
}

impl FromStr for Rule {
    type Err = ();

    /// Only rules that the contract has.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::all().find(|rule| rule.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_of_the_contract_parse() {
        assert_eq!("Q10".parse(), Ok(Rule::named('Q', 10)));
        for name in ["Q11", "Q0", "B1", "Q", "", "Q01", "q1"] {
            assert_eq!(name.parse::<Rule>(), Err(()), "{name}");
        }
        assert_eq!(Rule::all().count(), 53);
    }
}

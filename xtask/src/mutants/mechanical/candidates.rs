//! All that the rules make of one file, and the file with a choice of them behind the switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::operators::{Text, lockings, variants};
use super::sites::{Form, Site, sites};
use super::tokens::tokens;

/// A change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Function, rule and a number: what it is called.
    pub name: String,
    /// The line that it is a change of.
    pub line: usize,
    /// The text that is changed.
    pub before: String,
    /// The text in its place; nothing where it is left out.
    pub after: String,
    /// Places, and what stands there.
    edits: Vec<(usize, Option<String>)>,
}

/// A file and what can be changed in it.
pub struct Changeable {
    source: String,
    sites: Vec<Place>,
    /// In the order of their places.
    pub candidates: Vec<Candidate>,
}

/// A place as bytes of the source.
struct Place {
    form: Form,
    function: String,
    from: usize,
    to: usize,
}

/// A file with changes behind the switch, and which line is whose.
pub struct Switched {
    /// The file.
    pub text: String,
    /// Of lines that a change has for itself the number of its switch.
    pub lines: BTreeMap<usize, u32>,
    /// Of all lines of functions that are changed the function.
    pub functions: BTreeMap<usize, String>,
}

impl Changeable {
    /// What the rules make of the lines that are `own`, counted from 1.
    pub fn new(source: String, own: &BTreeSet<usize>) -> Self {
        let tokens = tokens(&source);
        let text = Text { tokens: &tokens };
        let all = sites(&tokens);
        let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
        let mut candidates = Vec::new();
        let mut add = |site: &Site, operator, anchor: usize, after, edits| {
            let line = tokens[anchor].line;
            if !own.contains(&line) {
                return;
            }
            let count = counts.entry((site.function.clone(), operator)).or_default();
            *count += 1;
            candidates.push(Candidate {
                name: format!("{}/{operator}-{count}", site.function),
                line,
                before: text.plain(site.range.clone()),
                after,
                edits,
            });
        };
        let mut lockings = lockings(text, &all).into_iter().peekable();
        for (index, site) in all.iter().enumerate() {
            for variant in variants(text, site) {
                let after = variant.text.clone().unwrap_or_default();
                add(site, variant.operator, variant.anchor, after, vec![(index, variant.text)]);
            }
            if let Some(locking) = lockings.next_if(|locking| locking[0] == index) {
                let edits = locking.into_iter().map(|index| (index, None)).collect();
                add(site, "unlocked", site.range.start, String::new(), edits);
            }
        }
        let place = |site: &Site| Place {
            form: site.form,
            function: site.function.clone(),
            from: tokens[site.range.start].at,
            to: tokens[site.range.end - 1].end(),
        };
        let sites = all.iter().map(place).collect();
        Self { source, sites, candidates }
    }

    /// The file as it is.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file with these changes, each with the number of its switch.
    pub fn switched(&self, chosen: &[(u32, &Candidate)]) -> Switched {
        let mut edits: BTreeMap<usize, Vec<(u32, Option<&str>)>> = BTreeMap::new();
        for (number, candidate) in chosen {
            for (site, text) in &candidate.edits {
                edits.entry(*site).or_default().push((*number, text.as_deref()));
            }
        }
        let mut switched =
            Switched { text: String::new(), lines: BTreeMap::new(), functions: BTreeMap::new() };
        let mut at = 0;
        for (site, edits) in edits {
            let place = &self.sites[site];
            switched.text.push_str(&self.source[at..place.from]);
            let first = switched.line();
            place.write(&self.source, &edits, &mut switched);
            for line in first..=switched.line() {
                switched.functions.insert(line, place.function.clone());
            }
            at = place.to;
        }
        switched.text.push_str(&self.source[at..]);
        switched
    }
}

impl Switched {
    fn line(&self) -> usize {
        self.text.matches('\n').count() + 1
    }

    /// Adds text that belongs to the number up to the end of its line.
    fn own(&mut self, number: u32, text: &str) {
        let line = self.line();
        self.lines.insert(line, number);
        self.text.push_str(text);
    }
}

impl Place {
    /// Writes what stands there with these changes.
    fn write(&self, source: &str, edits: &[(u32, Option<&str>)], to: &mut Switched) {
        let original = &source[self.from..self.to];
        let line = source[..self.from].rfind('\n').map_or(0, |at| at + 1);
        let indent: String = source[line..].chars().take_while(|c| *c == '\t').collect();
        match self.form {
            Form::Statement | Form::Jump | Form::Return { .. } => {
                to.text.push_str("{\n");
                for (number, text) in edits {
                    let text = text.unwrap_or("{ }");
                    to.own(
                        *number,
                        &format!("{indent}\tif (is_fsnotify_mutant({number})) {text}\n"),
                    );
                    let _ = writeln!(to.text, "{indent}\telse");
                }
                let _ = write!(to.text, "{indent}\t{original}\n{indent}}}");
            }
            Form::Condition | Form::Initializer | Form::Guard => {
                for (number, text) in edits {
                    let text = self.value(text.unwrap_or_default());
                    to.own(*number, &format!("is_fsnotify_mutant({number}) ? {text} :\n"));
                    let _ = write!(to.text, "{indent}\t");
                }
                to.text.push_str(&self.value(original));
            }
        }
    }

    /// A value in brackets; the parts of a condition have one type.
    fn value(&self, text: &str) -> String {
        match self.form {
            Form::Condition => format!("!!({text})"),
            _ => format!("({text})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
int f(void)\n{\n\tint a = b;\n\n\tif (a /* c */ > 0)\n\t\tgo(a);\n\tspin_lock(&l);\n\tspin_unlock(&l);\n\treturn a;\n}\n";

    fn changeable(own: impl IntoIterator<Item = usize>) -> Changeable {
        Changeable::new(SOURCE.to_owned(), &own.into_iter().collect())
    }

    #[test]
    fn a_change_is_of_the_line_that_it_is_on() {
        let names = |own: usize| -> Vec<String> {
            changeable([own]).candidates.into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names(3), [""; 0]);
        assert_eq!(
            names(5),
            ["f/negated-1", "f/always-1", "f/never-1", "f/exchanged-1", "f/constant-1"]
        );
        assert_eq!(names(7), ["f/left-out-1", "f/unlocked-1"]);
        assert_eq!(names(8), ["f/left-out-1"]);
        assert_eq!(names(9), ["f/returned-1"]);
    }

    #[test]
    fn all_changes_lie_behind_the_switch() {
        let changeable = changeable([5, 6, 7]);
        let chosen: Vec<(u32, &Candidate)> = (1..)
            .zip(&changeable.candidates)
            .filter(|(_, it)| {
                ["f/never-1", "f/left-out-1", "f/unlocked-1"].contains(&it.name.as_str())
            })
            .collect();
        let switched = changeable.switched(&chosen);
        let expected = "\
int f(void)\n{\n\tint a = b;\n\n\tif (is_fsnotify_mutant(3) ? !!(false) :\n\t\t!!(a /* c */ > 0))\n\
\t\t{\n\t\t\tif (is_fsnotify_mutant(6)) { }\n\t\t\telse\n\t\t\tgo(a);\n\t\t}\n\
\t{\n\t\tif (is_fsnotify_mutant(8)) { }\n\t\telse\n\t\tspin_lock(&l);\n\t}\n\
\t{\n\t\tif (is_fsnotify_mutant(8)) { }\n\t\telse\n\t\tspin_unlock(&l);\n\t}\n\
\treturn a;\n}\n";
        assert_eq!(switched.text, expected);
        assert_eq!(switched.lines, BTreeMap::from([(5, 3), (8, 6), (13, 8), (18, 8)]));
        assert_eq!(switched.functions.get(&6).map(String::as_str), Some("f"));
    }
}

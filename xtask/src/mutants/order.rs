//! Which scenario is asked first.

use refan_runner::suite::Scenario;

use super::data::Mutant;

/// The scenarios in the order in which they are likely to see a bug soon: first those that name a rule
/// which it breaks, and those that are swept, which are many runs each, after all others. Of equals
/// the shorter one comes first. Sweeps are for full runs, but those that name such a rule, and where one is
/// known to see what no other scenario does, that one alone.
pub fn in_order<'a>(scenarios: &'a [Scenario], mutant: &Mutant, full: bool) -> Vec<&'a Scenario> {
    let names = |scenario: &Scenario| {
        scenario.program.rules().iter().any(|rule| mutant.breaks.contains(rule))
    };
    let is_swept = |scenario: &Scenario| scenario.program.swept().is_some();
    let is_wanted = |scenario: &Scenario| match &mutant.seen_by {
        _ if full || !is_swept(scenario) => true,
        Some(known) => scenario.name == *known,
        None => names(scenario),
    };
    let mut ordered: Vec<&Scenario> = scenarios.iter().filter(|it| is_wanted(it)).collect();
    ordered.sort_by_key(|it| (is_swept(it), !names(it), it.program.steps.len()));
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_rule_comes_first_and_sweeps_last() {
        let scenario = |name: &str, rules: &str, block: &str| {
            let text = format!(
                "# {rules}: x\nc = fanotify_init(CLASS_CONTENT, O_RDONLY)\nd = fork()\n{block}"
            );
            let program = refan_program::parse(&text).expect("a program");
            Scenario { name: name.to_owned(), program }
        };
        let swept = "par {\n    close(c)\n    d: close(c)          @ sweep\n}\n";
        let scenarios = [
            scenario("swept other", "I1", swept),
            scenario("swept", "R1, R2", swept),
            scenario("other", "I1", ""),
            scenario("long", "R2", "close(c)\n"),
            scenario("named", "R2", ""),
        ];
        let text = "breaks = [\"R2\"]\nsummary = \"\"\nwhy = \"\"\n";
        let names = |more: &str, full| -> Vec<&str> {
            let mutant: Mutant = toml::from_str(&format!("{text}{more}")).expect("a mutant");
            let ordered = in_order(&scenarios, &mutant, full);
            ordered.iter().map(|scenario| scenario.name.as_str()).collect()
        };
        assert_eq!(names("", true), ["named", "long", "other", "swept", "swept other"]);
        assert_eq!(names("", false), ["named", "long", "other", "swept"]);
        let known = "seen_by = \"swept other\"";
        assert_eq!(names(known, false), ["named", "long", "other", "swept other"]);
    }
}

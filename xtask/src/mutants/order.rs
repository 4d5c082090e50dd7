//! Which scenario is asked first.

use refan_program::Rule;
use refan_runner::suite::Scenario;

/// The scenarios in the order in which they are likely to see a bug soon: first those that name a rule
/// which it breaks, and those that are swept, which are many runs each, after all others. Of equals
/// the shorter one comes first. Sweeps that name no such rule are left out unless all are asked for.
pub fn in_order<'a>(scenarios: &'a [Scenario], breaks: &[Rule], all: bool) -> Vec<&'a Scenario> {
    let names =
        |scenario: &Scenario| scenario.program.rules().iter().any(|rule| breaks.contains(rule));
    let is_swept = |scenario: &Scenario| scenario.program.swept().is_some();
    let mut ordered: Vec<&Scenario> =
        scenarios.iter().filter(|it| all || names(it) || !is_swept(it)).collect();
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
        let names = |all| -> Vec<&str> {
            let ordered = in_order(&scenarios, &[Rule::named('R', 2)], all);
            ordered.iter().map(|scenario| scenario.name.as_str()).collect()
        };
        assert_eq!(names(true), ["named", "long", "other", "swept", "swept other"]);
        assert_eq!(names(false), ["named", "long", "other", "swept"]);
    }
}

//! Same snapshot, same program, same QEMU: the same run, time stamps included. Races that are swept
//! and findings that are replayed rest on it.

use refan_runner::Prepared;
use refan_runner::cache::Cache;
use refan_runner::guest::Guest;
use refan_runner::suite::{self, Scenario};
use refan_wire::Record;

/// The trace and the console of a scenario on a freshly restored machine.
fn run(prepared: &Prepared, scenario: &Scenario) -> (Vec<Record>, String) {
    let mut guest = Guest::start(prepared).expect("a restored machine");
    let run = guest.run(&scenario.program).expect("a run");
    (run.records.expect("a trace"), run.console)
}

#[test]
fn a_restored_machine_repeats_itself_to_the_nanosecond() {
    let target = std::env::var("REFAN_TARGET").unwrap_or_else(|_| "fast".to_owned());
    let cache = Cache::open().expect("the cache");
    let prepared = Prepared::load(&cache, &scenarios::repository(), &target)
        .unwrap_or_else(|error| panic!("{error:#}"));
    for (name, file) in suite::find(&scenarios::folder()).expect("scenarios") {
        let scenario = Scenario::read(name, &file).unwrap_or_else(|error| panic!("{error:#}"));
        let first = run(&prepared, &scenario);
        let second = run(&prepared, &scenario);
        assert!(first == second, "{}:\n{first:#?}\n{second:#?}", scenario.name);
        assert!(first.0.len() > 2, "{} left no trace", scenario.name);
    }
}

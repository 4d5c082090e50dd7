//! What one program tells the kernel's watchdog is not held against the next one (R10).

use std::path::Path;

use refan_runner::cache::Cache;
use refan_runner::fuzz::{Driver, Feedback};
use refan_runner::suite::Scenario;
use refan_runner::sweep::Budget;
use refan_runner::{Prepared, Verdict, pool};

/// The watchdog's work is due in minutes, and stays so.
const PATIENT: &str = "sysctl(watchdog_timeout, 300)\n\
                       c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                       fanotify_mark(c, ADD, OPEN_PERM, f0)\n";

/// Whoever has the event is named within seconds.
const IMPATIENT: &str = "sysctl(watchdog_timeout, 1)\n\
                         c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                         fanotify_mark(c, ADD, OPEN_PERM, f0)\nq = open_queue(c)\n\
                         a = spawn open(f0, O_RDONLY)\ne = read(q)\nsleep(2500)\nkernel_log()\n";

#[test]
#[ignore = "takes the kernel `kasan`; `cargo xtask ci pr` runs it"]
fn a_program_finds_the_watchdog_as_it_sets_it() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cache = Cache::open().expect("the cache");
    let prepared = Prepared::load(&cache, &repository, "kasan").expect("a kernel");
    let folder = tempfile::tempdir().expect("a folder");
    let findings = folder.path().to_owned();
    let mut driver = Driver::start(&prepared, None, &["fs/notify"], findings).expect("a machine");
    let programs = [PATIENT, IMPATIENT].map(|text| refan_program::parse(text).expect("a program"));
    for program in &programs {
        let found = driver.run(&program.bare().encode(), &mut Feedback::default());
        assert_eq!(found.expect("a run"), None);
    }
    let scenarios = programs.map(|program| Scenario { name: String::new(), program });
    let budget = Budget::default();
    pool::run(&prepared, None, &scenarios, 1, budget, |outcome| {
        assert!(matches!(outcome.verdict, Verdict::Held), "{:?}", outcome.verdict);
    })
    .expect("a machine");
}

//! What a task releases because it dies is covered (R8): that a kernel that tells KCOV has the patch
//! `kcov-until-files-are-released`.

use std::collections::BTreeSet;
use std::path::Path;

use refan_runner::Prepared;
use refan_runner::cache::Cache;
use refan_runner::coverage::Code;
use refan_runner::fuzz::{Driver, Feedback};

const FOLDERS: [&str; 1] = ["fs/notify"];

/// Nobody closes the queue: its holder is killed, with an event pending.
const KILLED: &str = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\n\
                      fanotify_mark(c, ADD, OPEN_PERM, f0)\nd = fork()\nd: q = open_queue(c)\n\
                      a = spawn open(f0, O_RDONLY)\nd: e = read(q)\nkill(d)\nq2 = open_queue(c)\n";

#[test]
#[ignore = "takes the kernel `kasan`; `cargo xtask ci pr` runs it"]
fn the_release_by_a_killed_task_is_passed() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cache = Cache::open().expect("the cache");
    let prepared = Prepared::load(&cache, &repository, "kasan").expect("a kernel");
    let code = Code::of(&prepared, &FOLDERS).expect("debug information");
    let folder = tempfile::tempdir().expect("a folder");
    let findings = folder.path().to_owned();
    let mut driver = Driver::start(&prepared, None, &FOLDERS, findings).expect("a machine");
    let program = refan_program::parse(KILLED).expect("a program");
    let mut feedback = Feedback::default();
    let found = driver.run(&program.bare().encode(), &mut feedback).expect("a run");
    assert_eq!(found, None);
    let places: BTreeSet<u32> = driver.progress().places.into_iter().collect();
    let missing = code.not_entered(&places);
    for function in ["fanotify_queue_release", "fanotify_restart_events"] {
        assert!(!missing.contains(&function), "{missing:?}");
    }
}

//! A scenario as a test for the kernel's own tree: it is built with that tree's harness, and run in the guest on
//! what `cargo xtask test` prepared last for the target `fast`.

use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use refan_runner::Prepared;
use refan_runner::c_source::{Form, Source};
use refan_runner::cache::Cache;
use refan_runner::exec::{self, Command, CommandEnd, Files, Input, Peer, Stream, Streams, TaskEnd};
use refan_runner::suite::Scenario;
use xtask::kernel::{Configs, Silent, source};

/// The base whose harness it is.
const BASE: &str = "7.3";

/// Where the harness is in a kernel tree, and where below that the test belongs.
const SELFTESTS: &str = "tools/testing/selftests";
const PLACE: &str = "filesystems/fanotify";

#[derive(Default)]
struct Written(String);

impl Streams for Written {
    fn wrote(&mut self, _: Stream, bytes: &[u8]) {
        self.0 += &String::from_utf8_lossy(bytes);
    }

    fn input(&mut self, _: Duration) -> Input {
        Input::End
    }
}

/// The test, built in a folder that looks like the kernel's.
fn built(folder: &Path, repository: &Path, cache: &Cache, text: &str) -> PathBuf {
    let configs = Configs::at(repository.join("kernel-configs"));
    let source = source::fetch(&configs, BASE, true, cache, &Silent).expect("the source");
    let harness = source.tree().join(SELFTESTS);
    let place = folder.join(PLACE);
    std::fs::create_dir_all(&place).expect("a folder");
    for header in ["kselftest_harness.h", "kselftest.h"] {
        std::os::unix::fs::symlink(harness.join(header), folder.join(header)).expect("a link");
    }
    let file = place.join("restart_test.c");
    std::fs::write(&file, text).expect("the source");
    let program = folder.join("restart_test");
    let mut compiler = process::Command::new("cc");
    compiler.args(["-static", "-pthread", "-Wall", "-Werror", "-o"]).arg(&program).arg(&file);
    let output = compiler.output().expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

#[test]
fn a_scenario_is_a_test_of_the_kernels_own_harness() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let cache = Cache::open().expect("the cache");
    let prepared =
        Prepared::load(&cache, repository, "fast").unwrap_or_else(|error| panic!("{error:#}"));
    let file = repository.join("scenarios/restart/before-unread.scn");
    let program = Scenario::read(String::new(), &file).expect("the scenario").program;
    let source = Source {
        program: &program,
        found: None,
        init_flag: "FAN_RESTARTABLE_EVENTS",
        api: prepared.api,
    };
    let text = source.write(Form::Selftest).expect("C");
    let folder = tempfile::tempdir().expect("a folder");
    let test = built(folder.path(), repository, &cache, &text);
    let mut files = Files::default();
    files.add(&test, Path::new("/tmp/restart_test")).expect("the test");
    let command = Command {
        program: b"/tmp/restart_test".to_vec(),
        arguments: Vec::new(),
        environment: Vec::new(),
        folder: b"/tmp".to_vec(),
        speaks_to: Peer::Pipes,
        limit_ms: Some(60_000),
    };
    let mut written = Written::default();
    let ran = exec::run(&prepared, &files, &command, &mut written);
    let ran = ran.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(ran.report, None);
    assert_eq!(ran.end, Some(CommandEnd::Ended(TaskEnd::Exited(0))), "{}", written.0);
    assert!(written.0.contains("\nok 1 "), "{}", written.0);
}

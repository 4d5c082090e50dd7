//! Programs as C: what is written, and that a compiler takes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use refan_abi::{ApiProfile, ApiValues};
use refan_program::{Program, parse};

use super::{Form, NoForm, Source};
use crate::suite;

fn profile() -> ApiProfile {
    ApiProfile {
        summary: String::new(),
        init_flag_name: "FAN_RESTARTABLE_EVENTS".to_owned(),
        values: ApiValues { init_flag: 0x8000, open_queue_ioctl: 0x46f0 },
    }
}

fn here() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/c_source"))
}

/// Compiles a file and says what the compiler has to say about it.
fn complaints(file: &Path) -> String {
    let arguments = ["-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"];
    let output = Command::new("cc").args(arguments).arg(file).output().expect("a compiler");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), text.is_empty(), "{text}");
    text
}

/// Every scenario of the repository.
fn scenarios() -> Vec<(String, Program)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
    let found = suite::find(Path::new(folder)).expect("the scenarios");
    let read = |(name, file): (String, PathBuf)| {
        let text = fs::read_to_string(&file).expect("a scenario");
        let program = parse(&text).unwrap_or_else(|e| panic!("{}", e.render(&name, &text)));
        (name, program)
    };
    found.into_iter().map(read).collect()
}

#[test]
fn what_every_scenario_is_in_c_compiles() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scenarios, profile) = (scenarios(), profile());
    let (next, formless) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((name, program)) =
                    scenarios.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let file = folder.path().join(format!("{}.c", name.replace('/', "-")));
                    match Source::of_program(program, &profile).write(Form::Program) {
                        Ok(text) => {
                            fs::write(&file, text).expect("written");
                            let complaints = complaints(&file);
                            if !complaints.is_empty() {
                                wrong.lock().expect("no panic").push(complaints);
                            }
                        }
                        Err(NoForm::Call { .. } | NoForm::TooManyWays { .. }) => {
                            formless.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            wrong.lock().expect("no panic").push(format!("{name}: {error}"));
                        }
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(
        wrong.is_empty(),
        "{} scenarios: {}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    let formless = formless.into_inner();
    assert!(formless * 6 <= scenarios.len(), "{formless} of {}", scenarios.len());
}

/// A file of what is written; where it is not there it is made, and the test fails.
fn is_golden(name: &str, text: &str) {
    let file = here().join("golden").join(name);
    match fs::read_to_string(&file) {
        Ok(golden) => {
            assert!(golden == text, "{name} is not what is written; delete it to have it made anew")
        }
        Err(_) => {
            fs::write(&file, text).expect("written");
            panic!("{name} was not there: look at it");
        }
    }
}

const RESTART: &str = "\
# R1, R2: what was pending is pending again, in its order.
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
d = fork()
d: close(q)
close(q)
q2 = open_queue(c)
e2 = read(q2)
write(q2, e2, DENY | errno(EIO))
a
";

const RACE: &str = "\
# X2, R3: an answer races the release of the queue.
c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)
fanotify_mark(c, ADD, OPEN_PERM, f0)
q = open_queue(c)
a = spawn open(f0, O_RDONLY)
e = read(q)
par {
    b = spawn write(q, e, ALLOW)
    close(q)                 @ 2300ns
}
q2 = open_queue(c)
";

#[test]
fn a_restart_in_c() {
    let program = parse(RESTART).expect("a program");
    let violation = refan_model::Violation {
        rule: refan_program::Rule::named('R', 1),
        step: 9,
        allowed: "OPEN_PERM f0 by a".to_owned(),
        observed: "main is blocked".to_owned(),
        history: Vec::new(),
    };
    let profile = profile();
    let source = Source::of_verdict(&program, &crate::Verdict::Broken(violation), &profile);
    is_golden("restart.c", &source.write(Form::Program).expect("C"));
    is_golden("restart_test.c", &source.write(Form::Selftest).expect("C"));
}

#[test]
fn a_race_in_c() {
    let (program, profile) = (parse(RACE).expect("a program"), profile());
    is_golden("race.c", &Source::of_program(&program, &profile).write(Form::Program).expect("C"));
}

#[test]
fn what_has_no_form_is_told_by_its_call() {
    let text = "fail_nth(1)\nc = fanotify_init(CLASS_CONTENT, O_RDONLY)\n";
    let (program, profile) = (parse(text).expect("a program"), profile());
    let error = Source::of_program(&program, &profile).write(Form::Program).expect_err("no form");
    assert_eq!(error.to_string(), "step 1, `fail_nth`, has no form in C");
}

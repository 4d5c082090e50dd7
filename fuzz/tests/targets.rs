//! Each target takes what is there to begin with: scenarios, golden files, kernel logs, and bytes.

use std::path::{Path, PathBuf};

use refan_fuzz::{binary_form, console, history, protocol, scenario_text};
use refan_program::parse;

/// The files below a folder of the repository whose names end so.
fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut files = list(&top);
    files.extend(list(&top).iter().flat_map(|folder| list(folder)));
    files.retain(|file| file.extension().is_some_and(|ending| ending == extension));
    files.sort();
    assert!(!files.is_empty(), "no .{extension} below {folder}");
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

/// Bytes of no meaning, the same ones always.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
fn scenarios_and_pieces_of_them() {
    for scenario in files("scenarios", "scn") {
        scenario_text::check(&scenario);
        for cut in (0..scenario.len()).step_by(173) {
            scenario_text::check(&scenario[..cut]);
            scenario_text::check(&scenario[cut..]);
        }
    }
    scenario_text::check(b"");
    scenario_text::check(b"par {");
    scenario_text::check(b"par {\n");
    scenario_text::check(b"\n\n#");
}

#[test]
fn golden_forms_and_noise() {
    for form in files("harness/program/tests/golden", "bin") {
        binary_form::check(&form);
    }
    (0..300).for_each(|seed| binary_form::check(&noise(seed, 300)));
}

#[test]
fn traces_that_were_changed() {
    for scenario in files("scenarios", "scn").iter().step_by(4) {
        let text = std::str::from_utf8(scenario).expect("text");
        let form = parse(text).expect("a scenario").encode();
        for seed in 0..4 {
            let changes = noise(seed, form.len());
            protocol::check(&[form.as_slice(), &changes].concat());
        }
        // Nothing is changed.
        protocol::check(&[form.clone(), vec![3; 3], vec![0; form.len() - 3]].concat());
    }
    (0..100).for_each(|seed| protocol::check(&noise(seed, 600)));
}

#[test]
fn kernel_logs_and_pieces_of_them() {
    for log in files("harness/runner/tests/kernel_logs", "log") {
        console::check(&log);
        for cut in (0..log.len()).step_by(97) {
            console::check(&log[cut..]);
        }
    }
    for seed in 0..300 {
        // Lines that kernels print, and others.
        let words: Vec<u8> = noise(seed, 60).iter().map(|byte| byte % 32).collect();
        console::check(&words);
        console::check(&noise(seed, 200));
    }
}

#[test]
fn histories_that_bytes_decide() {
    (0..300).for_each(|seed| history::check(&noise(seed, 200)));
}

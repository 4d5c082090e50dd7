//! The scenarios of the repository are canonical text, so that tools rewrite none of them.

use std::path::{Path, PathBuf};

use refan_program::{Program, parse};

fn scenarios() -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let suites = list(&top).into_iter().filter(|path| path.is_dir());
    let files = suites.flat_map(|suite| list(&suite));
    files.filter(|file| file.extension().is_some_and(|ending| ending == "scn")).collect()
}

#[test]
fn scenarios_are_canonical_and_name_their_rules() {
    let scenarios = scenarios();
    assert!(!scenarios.is_empty());
    for file in scenarios {
        let text = std::fs::read_to_string(&file).expect("a text");
        let program = parse(&text)
            .unwrap_or_else(|error| panic!("{}", error.render(&file.to_string_lossy(), &text)));
        assert_eq!(program.to_string(), text, "{}", file.display());
        assert!(!program.rules().is_empty(), "{} names no rule", file.display());
        assert_eq!(Program::decode_exact(&program.encode()), Ok(program));
    }
}

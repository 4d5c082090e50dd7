//! Both forms of some programs as they were when the format got its version. A change that these
//! files show needs a new version, since corpus and artifacts are stored in the old one.

use std::path::{Path, PathBuf};

use refan_program::{Program, parse};

/// Each golden program: its text and the file of its binary form.
fn golden() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).expect("the golden files");
    let files = files.map(|entry| entry.expect("a golden file").path());
    let texts = files.filter(|file| file.extension().is_some_and(|ending| ending == "scn"));
    let read = |file: PathBuf| (std::fs::read_to_string(&file), file.with_extension("bin"));
    texts.map(read).map(|(text, form)| (text.expect("a text"), form)).collect()
}

#[test]
fn the_forms_are_what_they_were() {
    let golden = golden();
    assert!(golden.len() >= 3);
    for (text, form) in golden {
        let program = parse(&text).unwrap_or_else(|error| panic!("{}", error.render("", &text)));
        assert_eq!(program.to_string(), text);
        let bytes = std::fs::read(&form).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        assert_eq!(Program::decode_exact(&bytes).as_ref(), Ok(&program), "{form:?}");
        assert_eq!(program.encode(), bytes, "{form:?}");
        let bare = Program::decode(&program.bare().encode());
        assert_eq!(bare.to_string(), program.bare().to_string());
    }
}

#[test]
#[ignore = "writes the golden binary forms anew, for a new version of the format"]
fn write_the_forms_anew() {
    for (text, form) in golden() {
        let program = parse(&text).unwrap_or_else(|error| panic!("{}", error.render("", &text)));
        std::fs::write(form, program.encode()).expect("written");
    }
}

//! What it takes to execute a file, as far as its first bytes tell.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use object::elf::{ELFCLASS32, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache};

/// A file that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binary {
    /// A program that needs nothing else.
    Static,
    /// A program that this one loads, and its libraries.
    Dynamic(String),
    /// A script, for this one.
    Script(String),
}

/// Why a file cannot be executed in the guest.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is neither a program nor a script.
    #[error("{path} is neither a program for x86-64 Linux nor a script with `#!`: {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
}

impl Binary {
    /// Looks at a file.
    ///
    /// # Errors
    /// When it cannot be read, or the guest could not execute it.
    pub fn at(path: &Path) -> Result<Self, BinaryError> {
        let unreadable = |source| BinaryError::Read { path: path.into(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut start = Vec::new();
        file.by_ref().take(256).read_to_end(&mut start).map_err(unreadable)?;
        if let Some(line) = start.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let interpreter = line.split_whitespace().next().unwrap_or_default();
            return Ok(Self::Script(interpreter.to_owned()));
        }
        interpreter(&file, &start)
            .map_err(|what| BinaryError::Foreign { path: path.into(), what })
            .map(|interpreter| interpreter.map_or(Self::Static, Self::Dynamic))
    }
}

/// The interpreter that a program asks for, if any.
fn interpreter(file: &File, start: &[u8]) -> Result<Option<String>, String> {
    if !start.starts_with(b"\x7fELF") {
        return Err("it does not begin as either".to_owned());
    }
    // The byte that tells the class (elf(5), EI_CLASS).
    if start.get(4) == Some(&ELFCLASS32) {
        return Err("a 32-bit program".to_owned());
    }
    let told = |error: object::Error| error.to_string();
    let data = ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(&data).map_err(told)?;
    let endian = header.endian().map_err(told)?;
    if header.e_machine(endian) != EM_X86_64 {
        return Err(format!(
            "a program for another machine (e_machine {})",
            header.e_machine(endian)
        ));
    }
    for segment in header.program_headers(endian, &data).map_err(told)? {
        if segment.p_type(endian) == PT_INTERP {
            let name = segment.data(endian, &data).map_err(|()| "it is cut short".to_owned())?;
            let name = name.strip_suffix(&[0]).unwrap_or(name);
            return Ok(Some(String::from_utf8_lossy(name).into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> Result<Binary, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("its bytes");
        Binary::at(file.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn programs_and_scripts_are_told_apart() {
        assert_eq!(file(b"#!/bin/sh -e\necho"), Ok(Binary::Script("/bin/sh".into())));
        assert_eq!(file(b"#! /usr/bin/awk"), Ok(Binary::Script("/usr/bin/awk".into())));
        assert!(file(b"echo").expect_err("text").contains("neither"));
        assert!(file(b"").expect_err("nothing").contains("neither"));
        assert!(file(b"\x7fELF\x02").is_err());
        assert!(file(b"\x7fELF\x01rest").expect_err("32 bit").contains("32-bit"));
        let missing = Binary::at(Path::new("/nonexistent/x")).expect_err("nothing").to_string();
        assert!(missing.contains("/nonexistent/x"));
    }

    #[test]
    fn this_test_is_a_program() {
        let own = Binary::at(&std::env::current_exe().expect("a path")).expect("a program");
        assert!(matches!(own, Binary::Dynamic(loader) if loader.contains("ld-linux")));
    }
}

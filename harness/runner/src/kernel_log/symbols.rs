//! From functions and offsets in a report to lines of the source.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use addr2line::Loader;
use anyhow::{Context, Result, anyhow};
use object::{Object, ObjectSymbol, SymbolKind};

use super::frame;

/// The functions of one kernel build, and its debug information.
pub struct Symbols {
    loader: Loader,
    functions: HashMap<String, Vec<Function>>,
}

/// Where a function is. Its end is where the next one begins, as in the kernel's own table
/// (`kallsyms_lookup_size_offset` in kernel/kallsyms.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    start: u64,
    size: u64,
}

impl Symbols {
    /// Reads them from the `vmlinux` of that build with its debug information.
    pub fn read(vmlinux: &Path) -> Result<Self> {
        let doing = || format!("reading the symbols of {}", vmlinux.display());
        let bytes = fs::read(vmlinux).with_context(doing)?;
        let file = object::File::parse(bytes.as_slice()).with_context(doing)?;
        let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let mut named: Vec<(u64, String)> = symbols
            .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?.to_owned())))
            .collect();
        named.sort();
        let loader = Loader::new(vmlinux)
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("reading the debug information of {}", vmlinux.display()))?;
        Ok(Self { loader, functions: functions(&named) })
    }

    /// A report with file and line behind each frame of which they are known; functions that were
    /// inlined there stand in front, the innermost first.
    pub fn annotate(&self, report: &str) -> String {
        let line = |line: &str| match self.place(line) {
            Some(place) => format!("{line}  [{place}]"),
            None => line.to_owned(),
        };
        report.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    fn place(&self, line: &str) -> Option<String> {
        // On the stack are addresses of return, behind the call; so they are of who took a lock.
        let call = frame::stack_symbol(line).or_else(|| frame::symbol_of_lock(line));
        let (symbol, behind) = match call {
            Some(symbol) => (symbol, 1),
            None => (frame::symbol_where_it_stood(line)?, 0),
        };
        let address = self.address(symbol)?.checked_sub(behind)?;
        let mut frames = self.loader.find_frames(address).ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let location = frame.location?;
            let at = format!("{}:{}", relative(location.file?), location.line?);
            let name =
                frame.function.and_then(|function| function.raw_name().ok().map(String::from));
            places.push((name, at));
        }
        let (outer, inlined) = places.split_last()?;
        let inlined = inlined.iter().map(|(name, at)| match name {
            Some(name) => format!("{name} at {at}, in "),
            None => format!("{at}, in "),
        });
        Some(inlined.chain([outer.1.clone()]).collect())
    }

    /// The address of `function+0x1a2/0x400`, if there is one such function of that size.
    fn address(&self, symbol: &str) -> Option<u64> {
        let (name, rest) = symbol.split_once("+0x")?;
        let (offset, size) = rest.split_once("/0x")?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        let (offset, size) = (number(offset)?, number(size)?);
        let mut fitting = self.functions.get(name)?.iter().filter(|it| it.size == size);
        match (fitting.next(), fitting.next()) {
            (Some(function), None) => function.start.checked_add(offset),
            _ => None,
        }
    }
}

/// Functions by name, from a list that is sorted by address.
fn functions(named: &[(u64, String)]) -> HashMap<String, Vec<Function>> {
    let mut all: HashMap<String, Vec<Function>> = HashMap::new();
    for (at, (start, name)) in named.iter().enumerate() {
        let next = named[at..].iter().map(|(address, _)| *address).find(|next| next > start);
        let size = next.map_or(0, |next| next - start);
        all.entry(name.clone()).or_default().push(Function { start: *start, size });
    }
    all
}

/// A path below the source tree, whose own place is not in the build.
fn relative(path: &str) -> &str {
    path.trim_start_matches("./")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let named = [(16, "a"), (16, "alias"), (48, "b"), (64, "a")];
        let named = named.map(|(address, name)| (address, name.to_owned()));
        let found = functions(&named);
        let (first, second) = (Function { start: 16, size: 32 }, Function { start: 64, size: 0 });
        assert_eq!(found["a"], [first, second]);
        assert_eq!(found["alias"], [first]);
        assert_eq!(found["b"], [Function { start: 48, size: 16 }]);
    }

    /// The test itself stands in for a kernel: it has symbols and debug information too.
    #[test]
    fn frames_get_their_lines() {
        let own = std::env::current_exe().expect("this program");
        let symbols = Symbols::read(&own).expect("symbols");
        let name = symbols.functions.keys().find(|name| name.contains("frames_get_their_lines"));
        let name = name.expect("this function").clone();
        let function = symbols.functions[&name][0];
        let frame = format!(" {name}+0x1/0x{:x}", function.size);
        let lock = format!(" #0: ffff (&l){{+.+.}}-{{3:3}}, at:{frame}");
        let report = symbols
            .annotate(&format!("a\n{frame}\n nothing+0x1/0x2\nRIP: 0010:{}\n{lock}", &frame[1..]));
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!((lines[0], lines[2]), ("a", " nothing+0x1/0x2"));
        for line in [lines[1], lines[3], lines[4]] {
            assert!(line.contains("kernel_log/symbols.rs:"), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_no_kernel_is_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Symbols::read(file.path()).err().expect("an error");
        assert!(format!("{error:#}").starts_with("reading the symbols of "), "{error:#}");
    }
}

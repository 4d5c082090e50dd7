//! From functions and offsets in a report to lines of the source.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use anyhow::{Context, Result, anyhow};
use object::{Object, ObjectSymbol, SymbolKind};

use super::frame;
use super::line::Line;
use super::sources::Sources;

/// The functions of one kernel build, and its debug information.
pub struct Symbols {
    loader: Loader,
    functions: HashMap<String, Vec<Function>>,
    sources: Sources,
}

/// Where a function is. Its end is where the next one begins, as in the kernel's own table
/// (`kallsyms_lookup_size_offset` in kernel/kallsyms.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    start: u64,
    size: u64,
}

/// A place in the source.
struct Place {
    function: Option<String>,
    file: String,
    line: u32,
}

impl Symbols {
    /// Reads them from the `vmlinux` of that build with its debug information. `sources` is a folder with
    /// files that it was built from, as far as they are kept.
    pub fn read(vmlinux: &Path, sources: PathBuf) -> Result<Self> {
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
        Ok(Self { loader, functions: functions(&named), sources: Sources::new(sources) })
    }

    /// A report with file and line behind each frame of which they are known; functions that were
    /// inlined there stand in front, the innermost first. Below the top frame whose source is kept stand
    /// the lines around it; of a data race below that of either access.
    pub fn annotate(&self, report: &str) -> String {
        let messages: Vec<&str> = report.lines().map(|line| Line::read(line).message).collect();
        let messages = frame::with_callers_of_leaves(&messages);
        let with_places = |(line, message)| (line, message, self.places(message));
        let lines: Vec<_> = report.lines().zip(messages).map(with_places).collect();
        let is_kept = |places: &[Place]| places.iter().any(|place| self.around(place).is_some());
        let shown = shown(lines.iter().map(|(_, message, places)| (*message, is_kept(places))));
        let annotated = lines.iter().enumerate().flat_map(|(at, (line, _, places))| {
            let shows = shown.contains(&at);
            let source = places.iter().filter_map(move |it| self.around(it).filter(|_| shows));
            std::iter::once(format!("{line}{}", told(places))).chain(source)
        });
        annotated.collect::<Vec<_>>().join("\n")
    }

    fn around(&self, place: &Place) -> Option<String> {
        self.sources.around(&place.file, place.line)
    }

    /// Where the code of a report's line is, the innermost inlined function first; nothing where the line
    /// names none that is known.
    fn places(&self, line: &str) -> Vec<Place> {
        self.known_places(line).unwrap_or_default()
    }

    fn known_places(&self, line: &str) -> Option<Vec<Place>> {
        // On the stack are addresses of return, behind the call; so they are of who took a lock, and
        // KASAN has that of the call that checked the access (`_RET_IP_` in mm/kasan).
        let call = frame::stack_symbol(line).or_else(|| frame::symbol_of_lock(line));
        let (symbol, behind) = match call {
            Some(symbol) => (symbol, 1),
            None => {
                let returns = line.trim().starts_with("BUG: KASAN: ");
                (frame::symbol_where_it_stood(line)?, u64::from(returns))
            }
        };
        let address = self.address(symbol)?.checked_sub(behind)?;
        let mut frames = self.loader.find_frames(address).ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let location = frame.location?;
            places.push(Place {
                function: frame.function.and_then(|it| it.raw_name().ok().map(String::from)),
                file: relative(location.file?).to_owned(),
                line: location.line?,
            });
        }
        Some(places)
    }

    /// Where a function begins, if there is one of that name.
    pub fn start_of(&self, function: &str) -> Option<u64> {
        self.functions.get(function)?.first().map(|function| function.start)
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

/// Of which lines of a report the source is shown: each says whether its source is kept.
fn shown<'a>(lines: impl Iterator<Item = (&'a str, bool)>) -> Vec<usize> {
    let (mut shown, mut in_trace) = (Vec::new(), false);
    // Whether the one that is shown is in a trace; an access of a data race begins anew.
    let mut last: Option<bool> = None;
    for (at, (message, is_kept)) in lines.enumerate() {
        in_trace |= frame::is_trace(message);
        if frame::is_access_of_race(message) {
            (in_trace, last) = (true, None);
        }
        // A place that is told before any trace is that of a lock, or where preemption went off.
        if is_kept && last.is_none_or(|of_trace| in_trace && !of_trace) {
            if last.replace(in_trace).is_some() {
                shown.pop();
            }
            shown.push(at);
        }
    }
    shown
}

/// What is put behind a frame.
fn told(places: &[Place]) -> String {
    let Some((outer, inlined)) = places.split_last() else { return String::new() };
    let inlined = inlined.iter().map(|place| match &place.function {
        Some(name) => format!("{name} at {}:{}, in ", place.file, place.line),
        None => format!("{}:{}, in ", place.file, place.line),
    });
    format!("  [{}{}:{}]", inlined.collect::<String>(), outer.file, outer.line)
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
        let symbols = Symbols::read(&own, PathBuf::new()).expect("symbols");
        let name = symbols.functions.keys().find(|name| name.contains("frames_get_their_lines"));
        let name = name.expect("this function").clone();
        let function = symbols.functions[&name][0];
        let frame = format!(" {name}+0x1/0x{:x}", function.size);
        let lock = format!(" #0: ffff (&l){{+.+.}}-{{3:3}}, at:{frame}");
        let stood = format!("RIP: 0010:{}", &frame[1..]);
        let report = symbols.annotate(&format!(
            "a\n{frame}\n nothing+0x1/0x2\n{stood}\n{lock}\n[    T7] {frame}\n[  1.2][    C0] {stood}"
        ));
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!((lines[0], lines[2]), ("a", " nothing+0x1/0x2"));
        for line in [&lines[1..2], &lines[3..]].concat() {
            assert!(line.contains("kernel_log/symbols.rs:"), "{line}");
        }
    }

    #[test]
    fn the_top_of_a_trace_is_shown_and_of_a_race_that_of_either_access() {
        let of = |text: &[&str]| {
            shown(text.iter().map(|line| (*line, line.starts_with(' ') && line.contains("+0x"))))
        };
        assert_eq!(of(&["#0: x", " lock+0x1/0x2", "Call Trace:", " f+0x1/0x2", " g+0x1/0x2"]), [3]);
        assert_eq!(of(&["held:", " lock+0x1/0x2", "Call Trace:", " strange"]), [1]);
        let race = [
            "BUG: KCSAN: data-race in f / g",
            "write to 0xffffffff85f1b2c8 of 8 bytes by task 47 on cpu 1:",
            " f+0x1/0x2",
            " kthread+0x1/0x2",
            "read to 0xffffffff85f1b2c8 of 8 bytes by task 46 on cpu 0:",
            " g+0x1/0x2",
            " h+0x1/0x2",
        ];
        assert_eq!(of(&race), [2, 5]);
    }

    #[test]
    fn a_file_that_is_no_kernel_is_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Symbols::read(file.path(), PathBuf::new()).err().expect("an error");
        assert!(format!("{error:#}").starts_with("reading the symbols of "), "{error:#}");
    }
}

//! Which places of the kernel belong to which part of its source.
//!
//! The compile units of the kernel's debug information name their source files and the addresses of
//! their code (DWARF 5, 3.1.1); the symbol table names the functions there.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use addr2line::gimli;
use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::machine_code;
use crate::Prepared;

/// Code that runs once, at boot, and is gone before any program: no program can enter it.
const INIT_TEXT: &str = ".init.text";

/// The code of some folders of the kernel's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Where it is: low halves of addresses, ascending, apart.
    pub ranges: Vec<Range<u32>>,
    /// Numbers of the places that stand for nothing but that a task lets others run.
    pub yields: BTreeSet<u32>,
    functions: Vec<Function>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Its places by number.
    places: Range<u32>,
}

impl Code {
    /// That of the folders, each as `fs/notify`, in the kernel of a machine.
    pub fn of(prepared: &Prepared, folders: &[&str]) -> Result<Self> {
        let Some(file) = prepared.debug_image() else {
            bail!(
                "{} has no debug information, which tells what is the code of {}: choose the target \
                 `kcov` or `kasan`",
                prepared.kernel,
                folders.join(" and ")
            );
        };
        Self::read(&file, folders)
            .with_context(|| format!("reading the debug information of {}", file.display()))
    }

    fn read(vmlinux: &Path, folders: &[&str]) -> Result<Self> {
        let bytes = std::fs::read(vmlinux)?;
        let file = object::File::parse(bytes.as_slice())?;
        let init = file.section_by_name(INIT_TEXT).map_or(0..0, |section| {
            section.address()..section.address().saturating_add(section.size())
        });
        let mut ranges = unit_ranges(&file, folders)?;
        ranges.retain(|range| !init.contains(&range.start));
        let ranges = merged(ranges);
        if ranges.is_empty() {
            bail!("it has no code of {}", folders.join(" or "));
        }
        let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let mut named: Vec<(u32, String)> = symbols
            .filter_map(|symbol| Some((symbol.address() as u32, symbol.name().ok()?.to_owned())))
            // Padding in front of a function (CONFIG_PREFIX_SYMBOLS).
            .filter(|(_, name)| !name.starts_with("__pfx_"))
            .collect();
        named.sort();
        named.dedup_by_key(|(start, _)| *start);
        let functions = functions(&ranges, named);
        let code = Self { ranges, yields: BTreeSet::new(), functions };
        let yields = machine_code::yields(&file, &code)?;
        Ok(Self { yields: yields.into_iter().filter_map(|it| code.number(it)).collect(), ..code })
    }

    /// The number of a place, if it counts.
    pub fn number_of_counted(&self, place: u64) -> Option<u32> {
        self.number(place).filter(|number| !self.yields.contains(number))
    }

    /// The number of a place.
    pub fn number(&self, place: u64) -> Option<u32> {
        let place = place as u32;
        let mut before = 0;
        for range in &self.ranges {
            if range.contains(&place) {
                return Some(before + (place - range.start));
            }
            before += range.end - range.start;
        }
        None
    }

    /// The names of its functions that none of the places lies in, in their order there.
    pub fn not_entered(&self, places: &BTreeSet<u32>) -> Vec<&str> {
        let entered = |function: &&Function| places.range(function.places.clone()).next().is_none();
        self.functions.iter().filter(entered).map(|function| function.name.as_str()).collect()
    }

    /// How many functions it has.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }
}

/// The addresses of all units below the folders.
fn unit_ranges(file: &object::File<'_>, folders: &[&str]) -> Result<Vec<Range<u64>>> {
    let section = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>> {
        let section = file.section_by_name(id.name());
        Ok(section.map(|section| section.uncompressed_data()).transpose()?.unwrap_or_default())
    };
    let sections = gimli::DwarfSections::load(section)?;
    let dwarf = sections.borrow(|bytes| gimli::EndianSlice::new(bytes, gimli::LittleEndian));
    let mut found = Vec::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        let unit = dwarf.unit(header)?;
        let Some(name) = unit.name.map(|name| name.to_string_lossy()) else { continue };
        if !folders.iter().any(|folder| is_below(&name, folder)) {
            continue;
        }
        let mut ranges = dwarf.unit_ranges(&unit)?;
        while let Some(range) = ranges.next()? {
            found.push(range.begin..range.end);
        }
    }
    Ok(found)
}

/// Whether the source file `name`, of whatever build folder, is below `folder`, or is itself meant.
fn is_below(name: &str, folder: &str) -> bool {
    format!("/{name}/").contains(&format!("/{}/", folder.trim_matches('/')))
}

/// Ascending and apart: what lies between two of them is more than padding.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u32>> {
    const PADDING: u32 = 64;
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u32>> = Vec::new();
    for range in ranges.into_iter().filter(|range| range.start < range.end) {
        let (start, end) = (range.start as u32, range.end as u32);
        match merged.last_mut() {
            Some(last) if start <= last.end.saturating_add(PADDING) => last.end = last.end.max(end),
            _ => merged.push(start..end),
        }
    }
    merged
}

/// The functions that begin in the ranges. Each ends where the next one begins.
fn functions(ranges: &[Range<u32>], named: Vec<(u32, String)>) -> Vec<Function> {
    let mut functions = Vec::new();
    let mut before = 0;
    for range in ranges {
        let own: Vec<_> = named.iter().filter(|(start, _)| range.contains(start)).collect();
        for (at, (start, name)) in own.iter().enumerate() {
            let end = own.get(at + 1).map_or(range.end, |(next, _)| *next);
            let places = before + (start - range.start)..before + (end - range.start);
            functions.push(Function { name: name.clone(), places });
        }
        before += range.end - range.start;
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Code {
        /// Some code, of which nothing more is known.
        pub(in crate::coverage) fn at(range: Range<u32>) -> Self {
            Self { ranges: vec![range], yields: BTreeSet::new(), functions: Vec::new() }
        }
    }

    #[test]
    fn functions_are_entered_where_a_place_of_theirs_is_passed() {
        let ranges = [100..200, 300..310];
        let named = [(90, "x"), (100, "a"), (150, "b"), (300, "c"), (400, "y")];
        let named = named.map(|(start, name)| (start, name.to_owned())).to_vec();
        let functions = functions(&ranges, named);
        let code = Code { functions, ranges: ranges.to_vec(), yields: BTreeSet::new() };
        assert_eq!(code.functions(), 3);
        let numbers = [99, 100, 200, 309, 310].map(|place| code.number(place));
        assert_eq!(numbers, [None, Some(0), None, Some(109), None]);
        assert_eq!(code.not_entered(&BTreeSet::from([49, 100])), ["b"]);
        assert_eq!(code.not_entered(&BTreeSet::from([50, 99])), ["a", "c"]);
    }

    #[test]
    fn ranges_are_merged_over_padding_only() {
        let ranges = vec![0x1000..0x1100, 0xff00..0xff10, 0x1110..0x1200, 5..5];
        assert_eq!(merged(ranges), [0x1000..0x1200, 0xff00..0xff10]);
    }

    #[test]
    fn folders_are_told_by_whole_names() {
        for name in ["fs/notify/mark.c", "./fs/notify/fanotify/fanotify.c", "/b/fs/notify/mark.c"] {
            assert!(is_below(name, "fs/notify"), "{name}");
            assert!(is_below(name, name), "{name}");
        }
        assert!(
            !is_below("xfs/notify/mark.c", "fs/notify") && !is_below("fs/notifyx/a.c", "fs/notify")
        );
    }

    /// The test itself stands in for a kernel: it has debug information too.
    #[test]
    fn code_is_found_by_the_folder_of_its_source() {
        let own = std::env::current_exe().expect("this program");
        assert!(Code::read(&own, &["no/such/folder"]).is_err());
    }
}

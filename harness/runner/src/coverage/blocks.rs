//! From the places that were passed to lines of the source.
//!
//! A line counts as covered when one of its instructions has run for certain ([`super::flow`]). Its
//! instructions are those of the line table; those of a line that was inlined are its own. Which place was
//! passed next is told by the counters of edges, a hash, so that in rare cases two edges are taken for one;
//! where instrumented code is called in between it is not told, and what depends on it counts as not passed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use addr2line::Loader;
use anyhow::{Context, Result, anyhow, bail};
use iced_x86::{FlowControl, Instruction};
use refan_wire::counter_of_edge;

use super::code::Code;
use super::flow::{self, After, Flow, Ran};
use super::machine_code;
use crate::Prepared;

/// Lines of files with code, and whether they were covered.
pub type Lines = BTreeMap<String, BTreeMap<u32, bool>>;

/// Tells from places which lines were covered.
#[derive(Clone, Debug)]
pub struct PassedLines(BTreeMap<(String, u32), BTreeSet<Sign>>);

/// By what it is known that an instruction of a line has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// A place, by number.
    Place(u32),
    /// A counter of edges.
    Edge(u32),
}

impl PassedLines {
    /// Those of some code of the kernel of a machine.
    pub fn of(prepared: &Prepared, code: &Code) -> Result<Self> {
        let Some(file) = prepared.debug_image() else {
            bail!("{} has no debug information, which tells its lines", prepared.kernel);
        };
        Self::read(&file, code).with_context(|| format!("reading the lines of {}", file.display()))
    }

    fn read(vmlinux: &Path, code: &Code) -> Result<Self> {
        let bytes = std::fs::read(vmlinux)?;
        let file = object::File::parse(bytes.as_slice())?;
        let functions = machine_code::functions(&file, code);
        let tells = machine_code::tells(&file).context("its code tells KCOV nothing")?;
        let mut flow = Flow::new();
        for (start, end) in &functions {
            flow.extend(flow_of(&machine_code::instructions(&file, *start, *end)?, tells, code));
        }
        let lines = line_table(vmlinux, &functions)?;
        let mut all = Self(BTreeMap::new());
        let mut note = |at: u64, sign: Sign| {
            let Some((_, line)) = lines.range(..=at).next_back() else { return };
            all.0.entry(line.clone()).or_default().insert(sign);
        };
        let places = flow.iter().filter_map(|(at, after)| match after {
            After::Place(place) => Some((*at, *place)),
            _ => None,
        });
        for (call, place) in places {
            let Some(number) = code.number(place) else { continue };
            note(call, Sign::Place(number));
            for (at, ran) in flow::behind(&flow, place) {
                match ran {
                    Ran::Behind(_) => note(at, Sign::Place(number)),
                    Ran::Between(_, next) => {
                        let Some(next) = code.number(next) else { continue };
                        note(at, Sign::Edge(counter_of_edge(number, next) as u32));
                    }
                }
            }
        }
        for (start, _) in &functions {
            // A function's first instructions have run when its first place was passed.
            if let Some((first, run)) = flow::entry(&flow, *start)
                && let Some(number) = code.number(first)
            {
                run.into_iter().for_each(|at| note(at, Sign::Place(number)));
            }
        }
        Ok(all)
    }

    /// Which lines were covered when these places and counters of edges were passed.
    pub fn covered(&self, places: &BTreeSet<u32>, edges: &BTreeSet<u32>) -> Lines {
        let mut lines = Lines::new();
        for ((file, line), signs) in &self.0 {
            let covered = signs.iter().any(|sign| match sign {
                Sign::Place(number) => places.contains(number),
                Sign::Edge(counter) => edges.contains(counter),
            });
            lines.entry(file.clone()).or_default().insert(*line, covered);
        }
        lines
    }
}

/// What comes after each instruction of a function. A place that does not count is none.
fn flow_of(instructions: &[Instruction], tells: u64, code: &Code) -> Flow {
    let after = |instruction: &Instruction| {
        let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
        match instruction.flow_control() {
            FlowControl::Call if target == tells && code.number_of_counted(next).is_some() => {
                After::Place(next)
            }
            FlowControl::Next
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Interrupt => After::Next(next),
            FlowControl::UnconditionalBranch => After::Jump(target),
            FlowControl::ConditionalBranch => After::Branch(next, target),
            FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::XbeginXabortXend
            | FlowControl::Exception => After::Unknown,
        }
    };
    instructions.iter().map(|instruction| (instruction.ip(), after(instruction))).collect()
}

/// The line of the source that code from an address on is of, up to the next address.
fn line_table(vmlinux: &Path, functions: &[(u64, u64)]) -> Result<BTreeMap<u64, (String, u32)>> {
    let loader = Loader::new(vmlinux).map_err(|error| anyhow!("{error}"))?;
    let mut lines = BTreeMap::new();
    for (start, end) in functions {
        let ranges =
            loader.find_location_range(*start, *end).map_err(|error| anyhow!("{error}"))?;
        for (at, _, location) in ranges {
            if let (Some(file), Some(line)) = (location.file, location.line) {
                lines.insert(at, (file.trim_start_matches("./").to_owned(), line));
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_covered_by_any_of_its_signs() {
        let line = |number| ("f.c".to_owned(), number);
        let lines = PassedLines(BTreeMap::from([
            (line(1), BTreeSet::from([Sign::Place(5), Sign::Edge(9)])),
            (line(2), BTreeSet::from([Sign::Edge(5)])),
        ]));
        let covered = |places: &[u32], edges: &[u32]| {
            let set = |of: &[u32]| of.iter().copied().collect();
            lines.covered(&set(places), &set(edges))["f.c"].clone()
        };
        assert_eq!(covered(&[5], &[]), BTreeMap::from([(1, true), (2, false)]));
        assert_eq!(covered(&[], &[9]), BTreeMap::from([(1, true), (2, false)]));
        assert_eq!(covered(&[9], &[5]), BTreeMap::from([(1, false), (2, true)]));
    }
}

//! The kernel's instructions.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use iced_x86::{Code as Mnemonic, Decoder, DecoderOptions, Instruction};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::code::Code;

/// What the compiler calls at each place.
const TELLS: &str = "__sanitizer_cov_trace_pc";

/// What a task calls that is to let others run, as the last thing that it does when it may be preempted again
/// (`arch/x86/include/asm/preempt.h`): itself, or what keeps registers for it, or by a static call.
const YIELDS: [&str; 6] = [
    "preempt_schedule",
    "preempt_schedule_notrace",
    "preempt_schedule_thunk",
    "preempt_schedule_notrace_thunk",
    "__SCT__preempt_schedule",
    "__SCT__preempt_schedule_notrace",
];

/// The address of what tells a place. None in a kernel without KCOV.
pub fn tells(file: &object::File<'_>) -> Option<u64> {
    file.symbols().find(|symbol| symbol.name() == Ok(TELLS)).map(|symbol| symbol.address())
}

/// The functions of the code: from where to where. What the compiler has moved out of one stands as one of
/// its own.
pub fn functions(file: &object::File<'_>, code: &Code) -> Vec<(u64, u64)> {
    let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let own = symbols.filter(|symbol| code.number(symbol.address()).is_some());
    let mut functions: Vec<(u64, u64)> =
        own.map(|it| (it.address(), it.address() + it.size())).collect();
    functions.sort_unstable();
    functions.dedup();
    functions
}

/// The instructions of a function.
pub fn instructions(file: &object::File<'_>, start: u64, end: u64) -> Result<Vec<Instruction>> {
    let mut sections = file.sections();
    let section = sections.find(|it| (it.address()..it.address() + it.size()).contains(&start));
    let section = section.with_context(|| format!("no section has {start:#x}"))?;
    let bytes = section.data_range(start, end - start)?;
    let bytes = bytes.with_context(|| format!("{start:#x} to {end:#x} is not all there"))?;
    Ok(Decoder::with_ip(64, bytes, start, DecoderOptions::NONE).into_iter().collect())
}

/// The places of the code behind which a task lets others run and does nothing else. Whether it has to there is
/// up to the scheduler and what ran before, and nothing that a program does.
pub fn yields(file: &object::File<'_>, code: &Code) -> Result<Vec<u64>> {
    let Some(tells) = tells(file) else { return Ok(Vec::new()) };
    let symbols = file.symbols().filter(|it| it.name().is_ok_and(|name| YIELDS.contains(&name)));
    let yielding: BTreeSet<u64> = symbols.map(|symbol| symbol.address()).collect();
    let mut found = Vec::new();
    for (start, end) in functions(file, code) {
        let instructions = instructions(file, start, end)?;
        found.extend(instructions.windows(2).filter_map(|two| {
            let [tell, next] = two else { return None };
            let is_place = called(tell) == Some(tells);
            let yields = called(next).is_some_and(|called| yielding.contains(&called));
            (is_place && yields).then(|| tell.next_ip())
        }));
    }
    Ok(found)
}

/// What an instruction calls.
fn called(instruction: &Instruction) -> Option<u64> {
    (instruction.code() == Mnemonic::Call_rel32_64).then(|| instruction.near_branch_target())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What a kernel's code comes to, at the end of two functions.
    const PROGRAM: &str = "
        #define PLAIN __attribute__((noinline, no_sanitize_coverage))
        volatile int count;
        PLAIN void __sanitizer_cov_trace_pc(void) { asm volatile(\"\"); }
        PLAIN void preempt_schedule_thunk(void) { asm volatile(\"\"); }
        PLAIN void wake_up(void) { asm volatile(\"\"); }
        void unlock(void) { if (!--count) preempt_schedule_thunk(); count = 1; }
        void notify(void) { if (!--count) wake_up(); count = 1; }
        void _start(void) { unlock(); notify(); }";

    #[test]
    fn a_place_stands_for_letting_others_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
        std::fs::write(&source, PROGRAM).expect("written");
        let options = "-O2 -fno-pie -no-pie -static -nostdlib -fsanitize-coverage=trace-pc \
            -fno-optimize-sibling-calls -fno-inline";
        let mut compiler = Command::new("cc");
        compiler.args(options.split_whitespace()).arg(&source).arg("-o").arg(&program);
        assert!(compiler.status().expect("a compiler").success());
        let bytes = std::fs::read(&program).expect("a program");
        let file = object::File::parse(&bytes[..]).expect("an ELF file");
        let section = file.section_by_name(".text").expect("code");
        let (start, len) = (section.address() as u32, section.size() as u32);
        let code = Code::at(start..start + len);
        let places = yields(&file, &code).expect("places");
        let function = |at: &u64| {
            let own =
                functions(&file, &code).into_iter().find(|(from, to)| (from..to).contains(&at));
            let (start, _) = own.expect("a function");
            let mut symbols = file.symbols();
            let symbol = symbols.find(|it| it.address() == start && it.kind() == SymbolKind::Text);
            symbol.and_then(|symbol| symbol.name().ok().map(str::to_owned))
        };
        assert_eq!(places.iter().filter_map(function).collect::<Vec<_>>(), ["unlock"]);
    }
}

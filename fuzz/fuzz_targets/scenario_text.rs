//! The parser of scenarios.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refan_fuzz::scenario_text::check(data));

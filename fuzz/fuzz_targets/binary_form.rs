//! The decoder of programs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refan_fuzz::binary_form::check(data));

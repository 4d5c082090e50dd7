//! The history checker, beside one that tries every order.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refan_fuzz::history::check(data));

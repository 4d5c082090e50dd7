//! What the host makes of a kernel's console.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refan_fuzz::console::check(data));

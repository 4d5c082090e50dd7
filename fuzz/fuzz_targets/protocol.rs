//! What the host takes from a guest.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refan_fuzz::protocol::check(data));

//! What the harness reads from people, fuzzers, guests and kernels, as fuzz targets that need no
//! machine: each module has a `check` that takes any bytes and panics where a promise is broken.
//!
//! The targets are built on stable: `cargo build --release -p refan-fuzz` makes plain libFuzzer
//! binaries, `cargo fuzz run --sanitizer none NAME` the same ones guided by coverage.

pub mod binary_form;
pub mod console;
pub mod history;
mod memory;
pub mod protocol;
pub mod scenario_text;

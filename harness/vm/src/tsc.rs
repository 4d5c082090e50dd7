//! The rate of the host's time stamp counter.

use std::time::{Duration, Instant};

/// The counter's rate in kHz, measured for 20 ms; `None` where the host has no such counter.
///
/// A guest under TCG without virtual time reads the host's counter (QEMU: `cpu_get_ticks`).
pub(crate) fn host_khz() -> Option<u64> {
    const SPAN: Duration = Duration::from_millis(20);
    let (began, first) = (Instant::now(), counter()?);
    std::thread::sleep(SPAN);
    let (elapsed, last) = (began.elapsed(), counter()?);
    let ticks = u128::from(last.wrapping_sub(first));
    u64::try_from(ticks * 1_000_000 / elapsed.as_nanos().max(1)).ok().filter(|khz| *khz > 0)
}

#[cfg(target_arch = "x86_64")]
fn counter() -> Option<u64> {
    // SAFETY: every x86-64 processor has RDTSC, and Linux does not forbid it to programs.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn two_measurements_agree_to_a_percent() {
        let (first, second) = (host_khz().unwrap(), host_khz().unwrap());
        assert!(first.abs_diff(second) < first / 100, "{first} and {second} kHz");
    }
}

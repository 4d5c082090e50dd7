//! Waiting for a word of memory to change (`futex(2)`), without touching errno.

use std::sync::atomic::AtomicU32;

use crate::sys;

/// Sleeps while the word holds `value`, until it is woken or `seconds` have passed. Can return for
/// no reason.
pub fn wait(word: &AtomicU32, value: u32, seconds: Option<i64>) {
    let timeout = seconds.map(|seconds| libc::timespec { tv_sec: seconds, tv_nsec: 0 });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the timeout live through the call.
    unsafe { sys::sys!(libc::SYS_futex, word.as_ptr(), operation, value, timeout) };
}

/// Wakes who sleeps on the word.
pub fn wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: only the word's address is used.
    unsafe { sys::sys!(libc::SYS_futex, word.as_ptr(), operation, i32::MAX) };
}

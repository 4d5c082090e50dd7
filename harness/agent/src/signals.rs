//! Signals other than SIGKILL: two for which tasks have a handler that does nothing.

use std::sync::atomic::Ordering;

use anyhow::{Result, bail};

use crate::run::Slot;
use crate::sys::sys;

/// Which signal it is, whose handler has `SA_RESTART` or has it not.
pub fn number(restart: bool) -> i32 {
    if restart { libc::SIGUSR2 } else { libc::SIGUSR1 }
}

/// Sets the handlers, for the calling process and for those that it starts.
pub fn handle() -> Result<()> {
    for restart in [false, true] {
        // SAFETY: all zeros is a valid value: no flags, and no signals that are held back.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ignore as *const () as usize;
        action.sa_flags = if restart { libc::SA_RESTART } else { 0 };
        // SAFETY: the action lives through the call, and its handler touches nothing.
        let ret = unsafe { libc::sigaction(number(restart), &action, std::ptr::null_mut()) };
        if ret < 0 {
            bail!("handling signal {}: {}", number(restart), std::io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn ignore(_signal: i32) {}

/// Sends a signal to a task: 0, or -errno. One that has ended, or was never made, cannot be told
/// from one that ends just now: it gets it as well.
pub fn send(to: &Slot, signal: i32) -> i64 {
    let pid = to.pid.load(Ordering::Acquire);
    if pid <= 0 {
        return 0;
    }
    // SAFETY: no pointers. Pids are not used again within a run.
    match unsafe { sys!(libc::SYS_kill, pid, signal) } {
        gone if gone == -i64::from(libc::ESRCH) => 0,
        sent => sent,
    }
}

//! The kernel's watchdog of groups, which remembers what programs have told it.

use refan_program::{Call, Program, Step, Sysctl};

use crate::earlier::Earlier;
use crate::guest::Guest;

/// Whether a program that looks for what the watchdog says finds it there as it sets it itself.
///
/// The watchdog's work stays due for when it was first scheduled (`perm_group_watchdog_schedule` in
/// fs/notify/fanotify/fanotify_user.c), also when the group is gone and a later program has set less: that
/// one finds nobody named in time.
pub fn is_as_set_by(program: &Program, guest: &Guest) -> bool {
    let sets = |step: &Step| {
        matches!(step.call.innermost(), Call::Sysctl { name: Sysctl::WatchdogTimeout, .. })
    };
    let was_set = |one: &Earlier| match one {
        Earlier::Program(program) => program.steps.iter().any(sets),
        Earlier::Account => false,
    };
    !(is_asked_by(program) && guest.so_far().iter().any(was_set))
}

/// Whether a program looks for what the watchdog says.
pub fn is_asked_by(program: &Program) -> bool {
    program.steps.iter().any(|step| matches!(step.call, Call::KernelLog))
}

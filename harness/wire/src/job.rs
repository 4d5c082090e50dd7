//! What the host asks the guest to do.

use serde::{Deserialize, Serialize};

use crate::{Command, Input, Placed};

/// The feature's numbers, `refan_abi::ApiValues` on its way into the guest.
type Api = (u32, u32);

/// One job: the guest does it, writes a trace and stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Set the switch of a kernel that carries seeded bugs.
    SetMutant {
        /// The bug that it has from now on; 0 is none.
        switch: u32,
    },
    /// Tell what the kernel can do.
    Probe {
        /// Flag of `fanotify_init` and request of the ioctl.
        api: Api,
    },
    /// Run a program.
    Run {
        /// Flag of `fanotify_init` and request of the ioctl.
        api: Api,
        /// Its binary form.
        program: Vec<u8>,
    },
    /// Run programs one after another as [`Job::Run`] does, and keep no trace of them. It ends with the
    /// first one that leaves something behind.
    Replay {
        /// Flag of `fanotify_init` and request of the ioctl.
        api: Api,
        /// Their binary forms.
        programs: Vec<Vec<u8>>,
    },
    /// Make the bare calls of a restart, without an executor around them.
    Cycle {
        /// Flag of `fanotify_init` and request of the ioctl.
        api: Api,
        /// How often.
        times: u32,
    },
    /// Tell which live objects there are that were not there at boot.
    Account,
    /// Tell which objects nothing refers to any more.
    FindUnreferenced,
    /// Tell how often the kernel's lines and branches have been passed since it was started.
    Counters,
    /// Shut the machine down in good order.
    PowerOff,
    /// Make the file systems that a command finds.
    Furnish,
    /// Put files there. The bytes of regular files are attached ([`crate::attach`]).
    Place {
        /// Which, each after the folder that it is in.
        files: Vec<Placed>,
    },
    /// Run a command. It is answered when the command has written something, when it can be given
    /// something to read, and when it has ended.
    Exec(Command),
    /// Let the command go on; answered as [`Job::Exec`].
    GoOn {
        /// What it is given to read.
        input: Input,
    },
}

//! PID 1 of the guest.

use std::process::ExitCode;

use anyhow::Result;
use refan_agent::accounts::Accounts;
use refan_agent::door::{self, Doorbell};
use refan_agent::faults;
use refan_agent::init;
use refan_agent::kcov::Buffers;
use refan_agent::limits::Limits;
use refan_agent::log::KernelLog;
use refan_agent::memcg;
use refan_agent::panic;
use refan_agent::supervisor::Supervisor;

fn main() -> ExitCode {
    match start() {
        Ok(supervisor) => supervisor.serve(),
        Err(error) => {
            // The kernel panics when PID 1 ends, which the host sees.
            init::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<Supervisor> {
    init::mount_all()?;
    memcg::mount()?;
    faults::prepare()?;
    init::expedite_rcu()?;
    let region = Box::leak(Box::new(door::map_region()?));
    region.tell_timer_resolution(init::timer_resolution());
    panic::report_to(region);
    let doorbell = Doorbell::open()?;
    let log = KernelLog::open()?;
    let accounts = Accounts::at_boot()?;
    memcg::charge_to_root()?;
    Ok(Supervisor {
        doorbell,
        region,
        log,
        limits: Limits::read(),
        accounts,
        buffers: Buffers::default(),
    })
}

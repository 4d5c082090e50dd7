//! The least that an init can do and be seen: the limit that the agent's boot is measured against.

use std::io::Write;

use refan_agent::door::Doorbell;

fn main() {
    // The kernel has opened /dev/console as standard output; a failure to write shows itself.
    let _ = writeln!(std::io::stdout(), "refan-bare-init: ready");
    match Doorbell::open() {
        Ok(doorbell) => doorbell.ring(),
        Err(error) => {
            let _ = writeln!(std::io::stdout(), "refan-bare-init: {error:#}");
        }
    }
    loop {
        std::thread::park();
    }
}

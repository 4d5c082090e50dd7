//! A panic of the agent is its own failure: it is written down, then the process ends.

use refan_wire::{GuestRegion, Record};

use crate::init;

/// From now on a panic of any process of the agent leaves a line on the console and a record.
pub fn report_to(region: &'static GuestRegion) {
    std::panic::set_hook(Box::new(|panic| {
        let what = format!("the agent panicked: {panic}");
        init::say(&what);
        // A full trace has no room for it; the console has the line.
        let _ = region.record(&Record::Broken { what });
    }));
}

//! What host and guest exchange: jobs one way, traces the other, through a region of memory that
//! both have mapped.
//!
//! Neither side trusts a length or an offset of the other: everything is checked against the
//! region's size. Nothing here makes a system call.

mod command;
mod coverage;
mod door;
mod job;
mod record;
mod region;

pub use command::{Command, CommandEnd, Input, Node, Peer, Placed, Stream, WORK_FOLDER, Window};
pub use coverage::{
    COUNTERS, PlacesError, Watch, counter_of_edge, places_passed, take_counters, watch,
};
pub use door::{GATE_PORT, RING_PORT};
pub use job::Job;
pub use record::{Data, FileId, Leak, Moment, Place, Record, Skip, TaskEnd};
pub use region::{
    GuestRegion, JobError, Region, RegionError, TraceFull, attach, attachable, check_answered,
    decode_trace, format, put_job, take_trace, timer_resolution,
};

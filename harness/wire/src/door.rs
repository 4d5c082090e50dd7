//! The two I/O ports by which the guest stops itself.

/// A byte written here tells the host that the guest has stopped.
pub const RING_PORT: u16 = 0x5e0;

/// A byte written here holds the guest until the host lets it go.
pub const GATE_PORT: u16 = 0x5e4;

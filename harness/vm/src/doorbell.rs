//! The synchronous stop: two pipes behind two I/O ports.
//!
//! The guest writes a byte to the port RING and then one to the port GATE. Behind each port is an
//! `isa-debugcon`, whose character device is a pipe. A byte in the ring pipe tells the host that
//! the guest is about to stop. The gate pipe holds exactly one packet and is kept full, so QEMU
//! blocks in its write(2), in the virtual CPU's thread, holding its big lock: no guest
//! instruction runs, and no virtual time passes, until the host takes one packet out. The guest's
//! own packet takes its place, so the gate is closed again before the guest goes on.
//!
//! A pipe of one slot in packet mode (O_DIRECT, pipe(2)) frees its slot with each packet read, and
//! wakes the writer at once. QEMU sets O_NONBLOCK on the descriptors of its character devices,
//! polls every 100 us when a write would block, and clears O_DIRECT. Both flags belong to the open
//! file description, which the host shares: [`Doorbell::block_writer`] puts them right, so that
//! the wait is a real one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

/// The host's ends of the two pipes, and the ends that are QEMU's.
#[derive(Debug)]
pub(crate) struct Doorbell {
    ring: OwnedFd,
    ring_writer: Option<OwnedFd>,
    gate: OwnedFd,
    gate_writer: OwnedFd,
}

impl Doorbell {
    /// A doorbell with no ring in it and the gate closed.
    pub(crate) fn new() -> io::Result<Doorbell> {
        let (ring, ring_writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (gate, gate_writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT)?;
        // The kernel rounds up to one page, which is one slot.
        rustix::pipe::fcntl_setpipe_size(&gate_writer, 1)?;
        rustix::io::write(&gate_writer, &[0])?;
        rustix::fs::fcntl_setfl(&ring, OFlags::NONBLOCK)?;
        rustix::fs::fcntl_setfl(&gate, OFlags::NONBLOCK | OFlags::DIRECT)?;
        Ok(Doorbell { ring, ring_writer: Some(ring_writer), gate, gate_writer })
    }

    /// QEMU's end of the ring.
    pub(crate) fn ring_writer(&self) -> Option<BorrowedFd<'_>> {
        self.ring_writer.as_ref().map(AsFd::as_fd)
    }

    /// QEMU's end of the gate.
    pub(crate) fn gate_writer(&self) -> BorrowedFd<'_> {
        self.gate_writer.as_fd()
    }

    /// Drops the host's copy of the ring's writer, once QEMU has its own.
    pub(crate) fn release_ring_writer(&mut self) {
        self.ring_writer = None;
    }

    /// Makes QEMU's write to the gate a blocking one; call when QEMU has opened its devices.
    pub(crate) fn block_writer(&self) -> io::Result<()> {
        Ok(rustix::fs::fcntl_setfl(&self.gate_writer, OFlags::DIRECT)?)
    }

    /// The descriptor that polls readable when the guest rang.
    pub(crate) fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Takes one ring; `None` when there is none.
    pub(crate) fn take_ring(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match rustix::io::read(&self.ring, &mut byte) {
            Ok(1) => Ok(Some(byte[0])),
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the guest pass once. `false` when the gate is open already: a pass was given and not
    /// used yet.
    pub(crate) fn open_gate(&self) -> io::Result<bool> {
        let mut packet = [0];
        match rustix::io::read(&self.gate, &mut packet) {
            Ok(1) => Ok(true),
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the gate holds its packet, that is, the guest used the pass that it was given.
    pub(crate) fn is_closed(&self) -> io::Result<bool> {
        Ok(rustix::io::ioctl_fionread(&self.gate)? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    #[test]
    fn each_opening_lets_exactly_one_write_pass() {
        let doorbell = Doorbell::new().unwrap();
        let writer = doorbell.gate_writer().try_clone_to_owned().unwrap();
        doorbell.block_writer().unwrap();
        let passed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    rustix::io::write(&writer, &[1]).unwrap();
                    passed.fetch_add(1, Ordering::SeqCst);
                }
            });
            for round in 0..3 {
                std::thread::sleep(Duration::from_millis(20));
                assert_eq!(passed.load(Ordering::SeqCst), round);
                while !doorbell.open_gate().unwrap() {}
            }
        });
        assert_eq!(passed.load(Ordering::SeqCst), 3);
        assert!(doorbell.is_closed().unwrap());
    }

    #[test]
    fn rings_are_counted() {
        let doorbell = Doorbell::new().unwrap();
        assert_eq!(doorbell.take_ring().unwrap(), None);
        rustix::io::write(doorbell.ring_writer().unwrap(), &[5]).unwrap();
        assert_eq!(doorbell.take_ring().unwrap(), Some(5));
        assert_eq!(doorbell.take_ring().unwrap(), None);
    }
}

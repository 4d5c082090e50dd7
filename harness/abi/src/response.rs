//! What a daemon writes to answer an event.

use crate::Errno;

/// Length of `struct fanotify_response` in bytes.
pub const RESPONSE_LEN: usize = 8;

bitflags::bitflags! {
    /// `fanotify_response.response`: the decision, flags, and in the top byte an error number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Response: u32 {
        /// Let the access through.
        const ALLOW = 0x01;
        /// Refuse it.
        const DENY = 0x02;
        /// Write an audit record.
        const AUDIT = 0x10;
        /// An info record follows.
        const INFO = 0x20;
        const _ = !0;
    }
}

impl Response {
    /// Lowest bit of the error number, `FAN_ERRNO_SHIFT`.
    const ERRNO_SHIFT: u32 = 24;

    /// `FAN_DENY_ERRNO(errno)`: refuse with this error. Only the low byte of the number fits.
    pub fn deny_errno(errno: Errno) -> Self {
        Self::DENY | Self::from_bits_retain(u32::from(errno.0 & 0xff) << Self::ERRNO_SHIFT)
    }

    /// The error number in the top byte, if it is not 0.
    pub fn errno(self) -> Option<Errno> {
        let number = (self.bits() >> Self::ERRNO_SHIFT) as u16;
        (number != 0).then_some(Errno(number))
    }

    /// Everything but the error number.
    pub fn without_errno(self) -> Self {
        Self::from_bits_retain(self.bits() & ((1 << Self::ERRNO_SHIFT) - 1))
    }
}

/// `struct fanotify_response_info_audit_rule`: the one info record that an answer can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuditRule {
    /// Number of the rule that decided.
    pub rule_number: u32,
    /// Whether the subject is trusted: 0 no, 1 yes, 2 unknown.
    pub subject_trust: u32,
    /// The same of the object.
    pub object_trust: u32,
}

impl AuditRule {
    /// Length in bytes, header included.
    pub const LEN: usize = 16;

    /// The record as the kernel takes it.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        // struct fanotify_response_info_header: type FAN_RESPONSE_INFO_AUDIT_RULE, pad, length.
        bytes[0] = 1;
        bytes[2..4].copy_from_slice(&(Self::LEN as u16).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.rule_number.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.subject_trust.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.object_trust.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_goes_in_and_out() {
        let response = Response::deny_errno(Errno::ETXTBSY);
        assert_eq!(response.errno(), Some(Errno::ETXTBSY));
        assert_eq!(response.without_errno(), Response::DENY);
        assert_eq!(Response::ALLOW.errno(), None);
    }
}

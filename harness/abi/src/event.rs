//! What a read from a queue returns.

use crate::EventMask;

/// `FAN_EVENT_METADATA_LEN`: length of an event without info records, in bytes.
pub const METADATA_LEN: usize = 24;
/// `FAN_NOFD`: the event has no fd.
pub const NO_FD: i32 = -1;
/// `FANOTIFY_METADATA_VERSION`.
const VERSION: u8 = 3;
/// Length of `struct fanotify_event_info_header`.
const INFO_HEADER_LEN: usize = 4;

/// One event as it was read: `struct fanotify_event_metadata` and its info records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Length of the whole event in bytes.
    pub len: u32,
    /// What happened.
    pub mask: EventMask,
    /// The event fd, [`NO_FD`], or with `FAN_REPORT_FD_ERROR` an error as -errno.
    pub fd: i32,
    /// Process (or thread) that caused it, as the reader's pid namespace sees it.
    pub pid: i32,
    /// What follows the metadata.
    pub info: Vec<InfoRecord>,
}

/// An info record behind the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfoRecord {
    /// `FAN_EVENT_INFO_TYPE_PIDFD`: a pidfd, or a negative number in its place.
    Pidfd(i32),
    /// `FAN_EVENT_INFO_TYPE_RANGE`: the range of a `FAN_PRE_ACCESS` event, in bytes.
    Range {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        count: u64,
    },
    /// A record that permission events do not have.
    Other {
        /// `info_type` of its header.
        kind: u8,
        /// Its length in bytes, header included.
        len: u16,
    },
}

/// Why bytes are no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the read: {what}")]
pub struct EventError {
    /// Offset of the event that is wrong.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Walks the events in what a read returned.
pub struct Events<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Events<'a> {
    /// `bytes` is what the read returned, whole.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn event(&self) -> Result<Event, EventError> {
        let err = |what| EventError { at: self.at, what };
        let rest = &self.bytes[self.at..];
        let metadata = rest.get(..METADATA_LEN).ok_or(err("metadata is cut short"))?;
        let len = u32_at(metadata, 0);
        if metadata[4] != VERSION {
            return Err(err("metadata version is not 3"));
        }
        if u16_at(metadata, 6) as usize != METADATA_LEN {
            return Err(err("metadata length is not 24"));
        }
        let whole = rest.get(..len as usize).ok_or(err("the event is longer than the read"))?;
        let mut records =
            whole.get(METADATA_LEN..).ok_or(err("the event is shorter than its metadata"))?;
        let mut info = Vec::new();
        while !records.is_empty() {
            let header =
                records.get(..INFO_HEADER_LEN).ok_or(err("an info header is cut short"))?;
            let len = u16_at(header, 2);
            let record = records.get(..len as usize).ok_or(err("an info record is cut short"))?;
            if record.len() < INFO_HEADER_LEN {
                return Err(err("an info record is shorter than its header"));
            }
            info.push(match (header[0], len) {
                (4, 8) => InfoRecord::Pidfd(u32_at(record, 4) as i32),
                (6, 24) => {
                    InfoRecord::Range { offset: u64_at(record, 8), count: u64_at(record, 16) }
                }
                (kind, len) => InfoRecord::Other { kind, len },
            });
            records = &records[len as usize..];
        }
        Ok(Event {
            len,
            mask: EventMask::from_bits_retain(u64_at(metadata, 8)),
            fd: u32_at(metadata, 16) as i32,
            pid: u32_at(metadata, 20) as i32,
            info,
        })
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event, EventError>;

    /// Ends after the first error: what follows it has no known beginning.
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let event = self.event();
        self.at = match &event {
            Ok(event) => self.at + event.len as usize,
            Err(_) => self.bytes.len(),
        };
        Some(event)
    }
}

// The callers have checked that the slice is long enough.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(info: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&((METADATA_LEN + info.len()) as u32).to_ne_bytes());
        bytes.extend_from_slice(&[VERSION, 0]);
        bytes.extend_from_slice(&(METADATA_LEN as u16).to_ne_bytes());
        bytes.extend_from_slice(&EventMask::OPEN_PERM.bits().to_ne_bytes());
        bytes.extend_from_slice(&7i32.to_ne_bytes());
        bytes.extend_from_slice(&42i32.to_ne_bytes());
        bytes.extend_from_slice(info);
        bytes
    }

    #[test]
    fn events_follow_each_other() {
        let pidfd = [4, 0, 8, 0, 9, 0, 0, 0];
        let bytes = [sample(&[]), sample(&pidfd)].concat();
        let events: Vec<_> = Events::new(&bytes).collect::<Result<_, _>>().expect("two events");
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].fd, events[0].pid), (7, 42));
        assert_eq!(events[1].info, [InfoRecord::Pidfd(9)]);
    }

    #[test]
    fn no_bytes_make_it_panic_or_loop() {
        let good = [sample(&[]), sample(&[6, 0, 24, 0]), vec![0; 40]].concat();
        for cut in 0..good.len() {
            for flip in 0..cut {
                let mut bytes = good[..cut].to_vec();
                bytes[flip] ^= 0xff;
                assert!(Events::new(&bytes).count() <= cut);
            }
        }
    }
}

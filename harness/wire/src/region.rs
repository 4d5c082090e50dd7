//! The layout of the shared region, and the two sides' views of it.
//!
//! ```text
//! 0        magic, version         written by the host before the machine starts
//! 16       job number, job length written by the host while the guest is stopped
//! 32       answered job number    written by the guest before it stops
//! 40       length of the trace    bumped by the guest with each record
//! 48       resolution of timers   written by the guest before it stops first, in nanoseconds
//! 4 KiB    the job
//! 512 KiB  coverage, see [`crate::coverage`]
//! 1 MiB    the trace, to the end
//! ```
//! Until the guest has written its first record, what is attached to the job lies in place of the trace.
//!
//! A record is a header of 8 bytes (length, mark) and a postcard value, padded to 8. The mark is
//! stored last: a record without it was being written when the guest died.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::{Job, Record};

const MAGIC: u32 = u32::from_le_bytes(*b"Rfan");
/// Version of the layout and of what is exchanged.
const VERSION: u32 = 8;

const VERSION_AT: usize = 4;
const JOB_NUMBER_AT: usize = 16;
const JOB_LEN_AT: usize = 24;
const ANSWERED_AT: usize = 32;
const TRACE_LEN_AT: usize = 40;
const TIMERS_AT: usize = 48;
const JOB_AT: usize = 4 << 10;
pub(crate) const COVERAGE_AT: usize = 512 << 10;
pub(crate) const TRACE_AT: usize = 1 << 20;

const RECORD_HEADER: usize = 8;
const COMMITTED: u32 = 0x7ec0_4d01;

/// The region as the host sees it: bytes that it copies in and out, never references, since the
/// guest may write at any time.
pub trait Region {
    /// Its length in bytes.
    fn len(&self) -> usize;
    /// Whether it has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies out. The range is inside the region.
    fn load(&self, at: usize, into: &mut [u8]);
    /// Copies in. The range is inside the region.
    fn store(&self, at: usize, from: &[u8]);
}

/// What the host finds wrong with the region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// The job is longer than its place.
    #[error("a job of {len} bytes is longer than the {limit} that the shared region has for it")]
    JobTooLong {
        /// Bytes of the job.
        len: usize,
        /// Bytes there are.
        limit: usize,
    },
    /// What is attached to the job is longer than its place.
    #[error(
        "{len} bytes beside a job are more than the {limit} that the shared region has for them"
    )]
    AttachedTooLong {
        /// Bytes there should be.
        len: usize,
        /// Bytes there can be.
        limit: usize,
    },
    /// The job cannot be put into bytes.
    #[error("a job cannot be encoded: {0}")]
    Encode(postcard::Error),
    /// The guest stopped without having answered the job.
    #[error("the guest stopped at job {answered} while job {asked} was asked of it")]
    NotAnswered {
        /// The job that the guest says it has answered.
        answered: u64,
        /// The job that was asked.
        asked: u64,
    },
    /// The trace is longer than its place.
    #[error("the guest's trace of {len} bytes is longer than the {limit} there are for it")]
    TraceTooLong {
        /// Bytes that the guest claims.
        len: u64,
        /// Bytes there are.
        limit: usize,
    },
    /// A record is not one.
    #[error("byte {at} of the guest's trace: {what}")]
    Record {
        /// Its offset in the trace.
        at: usize,
        /// What is wrong.
        what: String,
    },
}

/// Prepares a region before its machine starts.
pub fn format(region: &dyn Region) {
    region.store(0, &MAGIC.to_le_bytes());
    region.store(VERSION_AT, &VERSION.to_le_bytes());
}

/// The resolution of the guest's timers in nanoseconds, once it has stopped; 1 where they are of high resolution
/// (`clock_getres(2)`). 0 where it was restored, as it tells that but once, when it boots.
pub fn timer_resolution(region: &dyn Region) -> u64 {
    load_u64(region, TIMERS_AT)
}

/// Puts a job into the region while the guest is stopped, and empties the trace. `number` is one
/// more than that of the job before, the first is 1.
pub fn put_job(region: &dyn Region, number: u64, job: &Job) -> Result<(), RegionError> {
    let bytes = postcard::to_stdvec(job).map_err(RegionError::Encode)?;
    let limit = COVERAGE_AT - JOB_AT;
    if bytes.len() > limit {
        return Err(RegionError::JobTooLong { len: bytes.len(), limit });
    }
    region.store(JOB_AT, &bytes);
    region.store(JOB_LEN_AT, &(bytes.len() as u64).to_le_bytes());
    region.store(TRACE_LEN_AT, &0u64.to_le_bytes());
    region.store(JOB_NUMBER_AT, &number.to_le_bytes());
    Ok(())
}

/// How many bytes can be attached to a job.
pub fn attachable(region: &dyn Region) -> usize {
    region.len().saturating_sub(TRACE_AT)
}

/// Attaches bytes to the job that the region holds, while the guest is stopped.
pub fn attach(region: &dyn Region, bytes: &[u8]) -> Result<(), RegionError> {
    let (len, limit) = (bytes.len(), attachable(region));
    if len > limit {
        return Err(RegionError::AttachedTooLong { len, limit });
    }
    region.store(TRACE_AT, bytes);
    Ok(())
}

/// Whether the guest has answered the job of this number.
pub fn check_answered(region: &dyn Region, asked: u64) -> Result<(), RegionError> {
    let answered = load_u64(region, ANSWERED_AT);
    if answered == asked { Ok(()) } else { Err(RegionError::NotAnswered { answered, asked }) }
}

/// Copies the trace out, as far as the guest has written it.
pub fn take_trace(region: &dyn Region) -> Result<Vec<u8>, RegionError> {
    let len = load_u64(region, TRACE_LEN_AT);
    let limit = attachable(region);
    if len > limit as u64 {
        return Err(RegionError::TraceTooLong { len, limit });
    }
    let mut bytes = vec![0; len as usize];
    region.load(TRACE_AT, &mut bytes);
    Ok(bytes)
}

pub(crate) fn load_u64(region: &dyn Region, at: usize) -> u64 {
    let mut bytes = [0; 8];
    region.load(at, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// The records in a trace. One that was being written when the guest died is left out.
pub fn decode_trace(bytes: &[u8]) -> Result<Vec<Record>, RegionError> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let err = |what: &str| RegionError::Record { at, what: what.to_owned() };
        let (header, rest) =
            bytes[at..].split_at_checked(RECORD_HEADER).ok_or(err("a header is cut short"))?;
        let (len, mark) = header.split_at(4);
        let len = u32::from_le_bytes(len.try_into().map_err(|_| err("no length"))?) as usize;
        let payload = rest.get(..len).ok_or(err("a record is longer than the trace"))?;
        if mark == COMMITTED.to_le_bytes() {
            let record = postcard::from_bytes(payload).map_err(|error| err(&error.to_string()))?;
            records.push(record);
        } else if len == 0 {
            // Nothing tells where the next one begins.
            break;
        }
        at += record_space(len);
    }
    Ok(records)
}

/// Bytes that a record with this many bytes of payload takes up.
fn record_space(payload: usize) -> usize {
    (RECORD_HEADER + payload).next_multiple_of(8)
}

/// The region as the guest sees it: mapped, and written by several processes at once.
pub struct GuestRegion {
    base: *mut u8,
    len: usize,
}

// SAFETY: all writes go through atomics or into ranges that the bump of the trace's length has given
// to one writer alone.
unsafe impl Send for GuestRegion {}
// SAFETY: as above.
unsafe impl Sync for GuestRegion {}

/// Why the guest cannot take a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The region was not made by this version of the host.
    #[error(
        "the shared region has magic {magic:#x} and version {version}, not {MAGIC:#x} and {VERSION}"
    )]
    Foreign {
        /// What stands in place of the magic number.
        magic: u32,
        /// What stands in place of the version.
        version: u32,
    },
    /// The job is no job.
    #[error("the job of {len} bytes is malformed")]
    Malformed {
        /// Its length.
        len: u64,
    },
}

/// The trace has no room for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trace is full")]
pub struct TraceFull;

impl GuestRegion {
    /// Takes over a mapping.
    ///
    /// # Safety
    /// `base` is aligned to 8 and points to `len` bytes that are mapped, readable and writable, for
    /// as long as the value or a copy of the process lives, and that this process touches in no
    /// other way.
    pub unsafe fn new(base: *mut u8, len: usize) -> Option<Self> {
        (len > TRACE_AT + RECORD_HEADER && base.addr().is_multiple_of(8))
            .then_some(Self { base, len })
    }

    pub(crate) fn u8_at(&self, at: usize) -> &AtomicU8 {
        debug_assert!(at < self.len);
        // SAFETY: as below.
        unsafe { AtomicU8::from_ptr(self.base.add(at)) }
    }

    pub(crate) fn u32_at(&self, at: usize) -> &AtomicU32 {
        debug_assert!(at + 4 <= self.len && at.is_multiple_of(4));
        // SAFETY: callers pass constants below TRACE_AT or offsets checked against `len`; aligned
        // since `base` is; all access is atomic.
        unsafe { AtomicU32::from_ptr(self.base.add(at).cast()) }
    }

    pub(crate) fn u64_at(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at + 8 <= self.len && at.is_multiple_of(8));
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(self.base.add(at).cast()) }
    }

    /// The number of the job that the region holds; 0 before the first one.
    pub fn job_number(&self) -> u64 {
        self.u64_at(JOB_NUMBER_AT).load(Ordering::Acquire)
    }

    /// The job that the region holds.
    pub fn job(&self) -> Result<Job, JobError> {
        let magic = self.u32_at(0).load(Ordering::Acquire);
        let version = self.u32_at(VERSION_AT).load(Ordering::Acquire);
        if (magic, version) != (MAGIC, VERSION) {
            return Err(JobError::Foreign { magic, version });
        }
        let len = self.u64_at(JOB_LEN_AT).load(Ordering::Acquire);
        if len > (COVERAGE_AT - JOB_AT) as u64 {
            return Err(JobError::Malformed { len });
        }
        let mut bytes = vec![0; len as usize];
        // SAFETY: the range lies inside the region (checked above); the host writes it only while
        // the guest is stopped.
        unsafe { self.base.add(JOB_AT).copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        postcard::from_bytes(&bytes).map_err(|_| JobError::Malformed { len })
    }

    /// Copies out what is attached to the job, from byte `at` of it on. Good for as long as no record is
    /// written.
    pub fn attached(&self, at: usize, into: &mut [u8]) -> Result<(), JobError> {
        let end = at.checked_add(into.len()).filter(|end| *end <= self.len - TRACE_AT);
        if end.is_none() {
            return Err(JobError::Malformed { len: into.len() as u64 });
        }
        // SAFETY: the range lies inside the region (checked above); the host writes it only while
        // the guest is stopped, and no record is being written.
        unsafe {
            self.base.add(TRACE_AT + at).copy_to_nonoverlapping(into.as_mut_ptr(), into.len())
        };
        Ok(())
    }

    /// Says that the job of this number is answered: the last thing before the guest stops.
    pub fn answer(&self, number: u64) {
        self.u64_at(ANSWERED_AT).store(number, Ordering::Release);
    }

    /// Says what the resolution of timers is, in nanoseconds.
    pub fn tell_timer_resolution(&self, nanoseconds: u64) {
        self.u64_at(TIMERS_AT).store(nanoseconds, Ordering::Release);
    }

    /// Empties the trace.
    pub fn clear_trace(&self) {
        self.u64_at(TRACE_LEN_AT).store(0, Ordering::Release);
    }

    /// Appends a record to the trace. Any number of processes may do so at once; it allocates
    /// nothing and makes no system call.
    pub fn record(&self, record: &Record) -> Result<(), TraceFull> {
        let payload = postcard::experimental::serialized_size(record).map_err(|_| TraceFull)?;
        let space = record_space(payload);
        let room = self.len - TRACE_AT;
        let at = self
            .u64_at(TRACE_LEN_AT)
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |len| {
                let end = len.checked_add(space as u64)?;
                (end <= room as u64).then_some(end)
            })
            .map_err(|_| TraceFull)?;
        let at = TRACE_AT + at as usize;
        self.u32_at(at + 4).store(0, Ordering::Release);
        self.u32_at(at).store(payload as u32, Ordering::Release);
        // SAFETY: the bump above gave this range, which lies inside the region, to this call alone;
        // the host reads it only while the guest is stopped or dead, and then as bytes.
        let place =
            unsafe { std::slice::from_raw_parts_mut(self.base.add(at + RECORD_HEADER), payload) };
        postcard::to_slice(record, place).map_err(|_| TraceFull)?;
        self.u32_at(at + 4).store(COMMITTED, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Data, Record};
    use std::cell::RefCell;

    pub(crate) struct Memory(RefCell<Vec<u64>>);

    impl Memory {
        pub(crate) fn new() -> Self {
            Self(RefCell::new(vec![0; (TRACE_AT + 4096) / 8]))
        }

        pub(crate) fn guest(&self) -> GuestRegion {
            let mut memory = self.0.borrow_mut();
            // SAFETY: the vector is not resized while the tests run.
            unsafe { GuestRegion::new(memory.as_mut_ptr().cast(), memory.len() * 8) }
                .expect("large enough")
        }
    }

    impl Region for Memory {
        fn len(&self) -> usize {
            self.0.borrow().len() * 8
        }

        fn load(&self, at: usize, into: &mut [u8]) {
            let memory = self.0.borrow();
            let bytes: Vec<u8> = memory.iter().flat_map(|word| word.to_ne_bytes()).collect();
            into.copy_from_slice(&bytes[at..at + into.len()]);
        }

        fn store(&self, at: usize, from: &[u8]) {
            let mut memory = self.0.borrow_mut();
            for (i, byte) in from.iter().enumerate() {
                let mut word = memory[(at + i) / 8].to_ne_bytes();
                word[(at + i) % 8] = *byte;
                memory[(at + i) / 8] = u64::from_ne_bytes(word);
            }
        }
    }

    fn exit(n: usize) -> Record {
        Record::Exit { step: 1, task: 0, at: 5, ret: -16, data: Data::Bytes(vec![7; n]) }
    }

    #[test]
    fn the_guest_tells_how_fine_its_timers_are() {
        let memory = Memory::new();
        format(&memory);
        assert_eq!(timer_resolution(&memory), 0);
        memory.guest().tell_timer_resolution(4_000_000);
        assert_eq!(timer_resolution(&memory), 4_000_000);
    }

    #[test]
    fn a_job_goes_in_and_its_trace_comes_out() {
        let memory = Memory::new();
        format(&memory);
        let job = Job::Run { api: (1, 2), program: vec![3; 100] };
        put_job(&memory, 1, &job).expect("fits");
        let guest = memory.guest();
        assert_eq!((guest.job_number(), guest.job()), (1, Ok(job)));
        for n in 0..9 {
            guest.record(&exit(n)).expect("room");
        }
        assert!(check_answered(&memory, 1).is_err());
        guest.answer(1);
        assert_eq!(check_answered(&memory, 1), Ok(()));
        let trace = decode_trace(&take_trace(&memory).expect("a trace")).expect("records");
        assert_eq!(trace, (0..9).map(exit).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_attached_comes_along() {
        let memory = Memory::new();
        format(&memory);
        put_job(&memory, 1, &Job::PowerOff).expect("fits");
        let bytes: Vec<u8> = (0..4096).map(|n| n as u8).collect();
        attach(&memory, &bytes).expect("fits");
        assert!(matches!(
            attach(&memory, &[0; 4097]),
            Err(RegionError::AttachedTooLong { len: 4097, limit: 4096 })
        ));
        let guest = memory.guest();
        let mut into = [0; 100];
        guest.attached(1000, &mut into).expect("inside");
        assert_eq!(into, bytes[1000..1100]);
        assert!(guest.attached(3997, &mut into).is_err());
        assert!(guest.attached(usize::MAX, &mut into).is_err());
        assert!(decode_trace(&take_trace(&memory).expect("a trace")).expect("none").is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_harms_nothing() {
        let memory = Memory::new();
        format(&memory);
        let limit = COVERAGE_AT - JOB_AT;
        let job = Job::Run { api: (0, 0), program: vec![0; limit] };
        assert!(matches!(put_job(&memory, 1, &job), Err(RegionError::JobTooLong { .. })));
        put_job(&memory, 1, &Job::PowerOff).expect("fits");
        let guest = memory.guest();
        guest.record(&exit(1)).expect("room");
        assert_eq!(guest.record(&exit(5000)), Err(TraceFull));
        assert_eq!(decode_trace(&take_trace(&memory).expect("a trace")), Ok(vec![exit(1)]));
    }

    #[test]
    fn a_guest_that_lies_is_refused() {
        let memory = Memory::new();
        format(&memory);
        memory.store(TRACE_LEN_AT, &u64::MAX.to_le_bytes());
        assert!(matches!(take_trace(&memory), Err(RegionError::TraceTooLong { .. })));
        let guest = memory.guest();
        put_job(&memory, 1, &Job::PowerOff).expect("fits");
        guest.record(&exit(20)).expect("room");
        let good = take_trace(&memory).expect("a trace");
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                // Whatever it says, it ends and does not panic.
                let _ = decode_trace(&bytes);
            }
        }
        assert!(decode_trace(&good[..good.len() - 16]).is_err());
    }

    #[test]
    fn a_record_without_its_mark_is_left_out() {
        let memory = Memory::new();
        format(&memory);
        put_job(&memory, 1, &Job::PowerOff).expect("fits");
        let guest = memory.guest();
        guest.record(&exit(1)).expect("room");
        let first = take_trace(&memory).expect("a trace").len();
        guest.record(&exit(2)).expect("room");
        guest.record(&exit(3)).expect("room");
        let mut bytes = take_trace(&memory).expect("a trace");
        bytes[first + 4..first + 8].fill(0);
        assert_eq!(decode_trace(&bytes), Ok(vec![exit(1), exit(3)]));
    }
}

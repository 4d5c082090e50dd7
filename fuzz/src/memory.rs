//! A shared region that both sides have in this process.

use std::cell::RefCell;

use refan_wire::{GuestRegion, Region};

/// The region, as the host and as the guest see it.
pub(crate) struct Memory {
    words: RefCell<Box<[u64]>>,
}

impl Memory {
    /// One of so many bytes, all zero.
    pub(crate) fn new(len: usize) -> Self {
        Self { words: RefCell::new(vec![0; len / 8].into()) }
    }

    /// Lets the guest write to it.
    pub(crate) fn as_guest<T>(&self, write: impl FnOnce(&GuestRegion) -> T) -> Option<T> {
        let mut words = self.words.borrow_mut();
        let len = words.len() * 8;
        // SAFETY: the words are borrowed until the guest's view of them is gone, and aligned to 8.
        let guest = unsafe { GuestRegion::new(words.as_mut_ptr().cast(), len) };
        guest.map(|guest| write(&guest))
    }

    fn word(at: usize) -> (usize, usize) {
        (at / 8, at % 8)
    }
}

impl Region for Memory {
    fn len(&self) -> usize {
        self.words.borrow().len() * 8
    }

    fn load(&self, at: usize, into: &mut [u8]) {
        let words = self.words.borrow();
        for (at, byte) in (at..).zip(into) {
            let (word, place) = Self::word(at);
            *byte = words[word].to_ne_bytes()[place];
        }
    }

    fn store(&self, at: usize, from: &[u8]) {
        let mut words = self.words.borrow_mut();
        for (at, byte) in (at..).zip(from) {
            let (word, place) = Self::word(at);
            let mut bytes = words[word].to_ne_bytes();
            bytes[place] = *byte;
            words[word] = u64::from_ne_bytes(bytes);
        }
    }
}

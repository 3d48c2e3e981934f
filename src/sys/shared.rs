//! Memory that a process shares with those it forks: words that every side reads and writes atomically.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A row of words in shared memory, zero at first, in the page tables from the start, the same in all processes forked
/// after it was made.
///
/// Only atomics come out of it, so that no process can see a torn word of another.
#[derive(Debug)]
pub struct SharedWords {
    map: MmapRaw,
    words: usize,
}

impl SharedWords {
    /// `words` words.
    ///
    /// # Errors
    /// memfd_create(2)'s, ftruncate(2)'s and mmap(2)'s: out of memory or of descriptors.
    pub fn new(words: usize) -> io::Result<Self> {
        let bytes = words * size_of::<AtomicU64>();
        let file = File::from(memfd_create(c"forklat", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(bytes as u64)?;
        let map = MmapOptions::new().len(bytes).populate().map_raw(&file)?;
        Ok(Self { map, words })
    }

    /// Processes forked from here on do not get it (`MADV_DONTFORK`): neither their fork nor their size pays for it.
    pub fn keep_from_forks(&self) {
        // Advice: without it a fork only has more to do.
        let _ = self.map.advise(Advice::DontFork);
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is writable, page aligned, lives as long as `self` and has room for `words` words; the
        // memfd behind it has no other name and is never cut, so no page goes away. Zero bytes are a valid AtomicU64,
        // and all access is atomic, in this process and in those forked from it.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.words) }
    }
}

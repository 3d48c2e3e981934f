//! Memory that a process shares with those it forks: words that every side reads and writes atomically.
//!
//! [`SharedWords`] are there in every process forked from their owner. [`DontForkWords`] are not (`MADV_DONTFORK`), so they cannot
//! be given to a forked process: the closure of [`fork_and_run`](super::process::fork_and_run) must be `UnwindSafe`, which they
//! are not, and where that was asserted all the same, an access panics instead of reading what is not mapped.
#![allow(unsafe_code)]

use std::any::Any;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Counts the forks between this process and the first one that ran this program. It tells a process from its ancestors.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Counts one fork. Called first in every forked process that runs a closure of its caller.
pub(super) fn count_fork() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Words that are read and written by index, each atomically. An index beyond the last word panics.
pub trait AtomicWords {
    /// Reads the word at `index`.
    fn load(&self, index: usize, order: Ordering) -> u64;
    /// Writes `value` to the word at `index`.
    fn store(&self, index: usize, value: u64, order: Ordering);
    /// Adds `value` to a word, and returns the previous value.
    fn fetch_add(&self, index: usize, value: u64, order: Ordering) -> u64;
}

/// Words in shared memory, zero at first, present in the page tables from the start, and shared with all processes
/// forked later.
///
/// Access is only through atomics, so that no process can see a partly written word of another.
#[derive(Debug)]
pub struct SharedWords {
    map: MmapRaw,
    words: usize,
}

impl SharedWords {
    /// Allocates `words` words.
    ///
    /// # Errors
    /// The errors of memfd_create(2), ftruncate(2) and mmap(2), if memory or descriptors are exhausted; ENOMEM if the
    /// size in bytes overflows.
    pub fn new(words: usize) -> io::Result<Self> {
        let bytes = words
            .checked_mul(size_of::<AtomicU64>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let file = File::from(memfd_create(c"forklat", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(bytes as u64)?;
        let map = MmapOptions::new().len(bytes).populate().map_raw(&file)?;
        Ok(Self { map, words })
    }

    /// Excludes the words from processes forked later (`MADV_DONTFORK`), so that they cost neither time in fork nor
    /// memory. A process that was forked before keeps them.
    #[must_use]
    pub fn set_dontfork(self) -> DontForkWords {
        // It is only advice: without it a fork copies more.
        #[expect(clippy::disallowed_methods, reason = "the one place for DONTFORK")]
        let _ = self.map.advise(Advice::DontFork);
        DontForkWords {
            words: ManuallyDrop::new(self),
            generation: generation(),
            not_for_children: PhantomData,
        }
    }

    /// Returns one word, as memory that is mapped in every process forked while the word is borrowed.
    ///
    /// # Panics
    /// If `index` is beyond the last word.
    #[must_use]
    pub fn word(&self, index: usize) -> SharedWord<'_> {
        SharedWord(&self[index])
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is writable, page aligned, lives as long as `self` and has room for `words` words (their bytes
        // were counted without overflow). Every process that has `self` has the mapping, since making it DONTFORK takes `self`
        // away. The memfd behind it has no name and no descriptor any more, so it is never cut, and no page goes away. Zero bytes
        // are a valid AtomicU64, and all access is atomic, in this process and in those forked from it.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.words) }
    }
}

impl AtomicWords for SharedWords {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self[index].load(order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self[index].store(value, order);
    }
    fn fetch_add(&self, index: usize, value: u64, order: Ordering) -> u64 {
        self[index].fetch_add(value, order)
    }
}

/// One word of [`SharedWords`]: what a forked process may write to. Nothing else gives one.
///
/// ```
/// use std::sync::atomic::Ordering;
/// use mmapcp::sys::{process::fork_once, shared_memory::SharedWords};
/// let words = SharedWords::new(1)?;
/// fork_once(words.word(0))?;
/// assert_ne!(words[0].load(Ordering::Acquire), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A word of its own, which its child would only write to a copy of, does not do:
/// ```compile_fail,E0308
/// use std::sync::atomic::AtomicU64;
/// use mmapcp::sys::process::fork_once;
/// fork_once(&AtomicU64::new(0)).unwrap();
/// ```
///
/// Nor does one that the child does not have:
/// ```compile_fail,E0599
/// use mmapcp::sys::{process::fork_once, shared_memory::SharedWords};
/// let kept = SharedWords::new(1).unwrap().set_dontfork();
/// fork_once(kept.word(0)).unwrap();
/// ```
///
/// And one that was lent cannot be kept back meanwhile:
/// ```compile_fail,E0505
/// use mmapcp::sys::{process::fork_once, shared_memory::SharedWords};
/// let words = SharedWords::new(1).unwrap();
/// let word = words.word(0);
/// let kept = words.set_dontfork();
/// fork_once(word).unwrap();
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SharedWord<'a>(&'a AtomicU64);

impl SharedWord<'_> {
    pub(super) fn store(self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

/// Shared words that processes forked from here on do not have.
///
/// The closure of a forked process cannot take them:
/// ```compile_fail,E0277
/// use std::sync::atomic::Ordering;
/// use mmapcp::sys::{process::fork_and_run, shared_memory::{SharedWords, AtomicWords}};
/// let kept = SharedWords::new(1).unwrap().set_dontfork();
/// let _ = fork_and_run((), |()| kept.load(0, Ordering::Relaxed) as i32);
/// ```
///
/// Nor can it be given them:
/// ```compile_fail,E0277
/// use std::sync::atomic::Ordering;
/// use mmapcp::sys::{process::fork_and_run, shared_memory::{SharedWords, AtomicWords}};
/// let kept = SharedWords::new(1).unwrap().set_dontfork();
/// let _ = fork_and_run(kept, |kept| kept.load(0, Ordering::Relaxed) as i32);
/// ```
///
/// What is left of the words before they were kept is of no use any more:
/// ```compile_fail,E0382
/// use std::sync::atomic::Ordering;
/// use mmapcp::sys::{process::fork_and_run, shared_memory::SharedWords};
/// let words = SharedWords::new(1).unwrap();
/// let kept = words.set_dontfork();
/// let _ = fork_and_run((), |()| words[0].load(Ordering::Relaxed) as i32);
/// ```
#[derive(Debug)]
pub struct DontForkWords {
    words: ManuallyDrop<SharedWords>,
    /// The value of `GENERATION` in the only process that has these words.
    generation: u32,
    /// Makes the type neither `UnwindSafe` nor `RefUnwindSafe`, but `Send` and `Sync`: for threads, and not for forked
    /// processes.
    not_for_children: PhantomData<dyn Any + Send + Sync>,
}

impl DontForkWords {
    /// Returns the words, in the process that has them. It is private, since a reference that was taken before a fork
    /// would be invalid after it.
    fn check_mapped(&self) -> &SharedWords {
        assert!(
            self.generation == generation(),
            "shared words in a process that they were kept from"
        );
        &self.words
    }
}

impl AtomicWords for DontForkWords {
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.check_mapped().load(index, order)
    }
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.check_mapped().store(index, value, order);
    }
    fn fetch_add(&self, index: usize, value: u64, order: Ordering) -> u64 {
        self.check_mapped().fetch_add(index, value, order)
    }
}

impl Drop for DontForkWords {
    fn drop(&mut self) {
        if self.generation == generation() {
            // SAFETY: this is the only place that drops it, and it is not used afterwards. In another process there is nothing to
            // unmap, or by now something else at that address.
            unsafe { ManuallyDrop::drop(&mut self.words) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_zero_and_counted_without_overflow() {
        let words = SharedWords::new(3).unwrap();
        assert_eq!(words.len(), 3);
        assert_eq!(words.fetch_add(2, 7, Ordering::Relaxed), 0);
        assert_eq!(words.set_dontfork().load(2, Ordering::Relaxed), 7);
        // If the product were cut to 64 bits, this would allocate 2 words in 16 bytes.
        let error = SharedWords::new((1 << 61) + 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }

    fn is_for_threads(_: &(impl Send + Sync)) {}

    #[test]
    fn kept_words_are_for_threads() {
        let kept = SharedWords::new(1).unwrap().set_dontfork();
        is_for_threads(&kept);
        std::thread::scope(|threads| {
            threads.spawn(|| kept.store(0, 5, Ordering::Relaxed));
        });
        assert_eq!(kept.load(0, Ordering::Relaxed), 5);
    }
}

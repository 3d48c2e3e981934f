//! The pacing point: what the threads of a run share, and ask before each chunk.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Bucket, Done, Orders};
use crate::sys::clock;

/// What the bucket holds, as a part of a second of the rate. With the chunk in flight, which is at most an eightieth, no
/// second has more than the rate and 50 ms of it.
const BURST: u64 = 27;

/// The smallest piece that is worth a call, in bytes.
const LEAST: usize = 4096;

/// One for a run.
#[derive(Debug)]
pub struct Pacer {
    bucket: Mutex<Bucket>,
    chunk: AtomicUsize,
    /// What a file counts for at least.
    each_file: u64,
    moved: AtomicU64,
    waited: AtomicU64,
}

impl Pacer {
    /// One that lets nothing through until it gets orders. A file counts for `each_file` bytes at least: where the rate
    /// depends on what others feel, files without bytes must not be free.
    #[must_use]
    pub fn new(each_file: u64) -> Self {
        Self {
            bucket: Mutex::new(Bucket::new(0, 0, clock::now())),
            chunk: AtomicUsize::new(LEAST),
            each_file,
            moved: AtomicU64::new(0),
            waited: AtomicU64::new(0),
        }
    }

    /// Orders that hold from `now` on.
    pub fn obey(&self, orders: &Orders, now: u64) {
        let chunk = orders.chunk.max(LEAST);
        let burst = (orders.rate / BURST).max(chunk as u64);
        self.lock().set(orders.rate, burst, now);
        self.chunk.store(chunk, Relaxed);
    }

    /// What was done so far.
    #[must_use]
    pub fn done(&self) -> Done {
        Done {
            moved: self.moved.load(Relaxed),
            waited: self.waited.load(Relaxed),
        }
    }

    /// Bytes of one call, at most.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.chunk.load(Relaxed)
    }

    /// What a file of `size` bytes that is copied in one go counts for.
    #[must_use]
    pub fn file(&self, size: u64) -> u64 {
        size.max(self.each_file)
    }

    /// Takes `bytes`, or says when to ask again.
    ///
    /// # Errors
    /// That moment; `u64::MAX` where nobody knows.
    pub fn take(&self, bytes: u64) -> Result<(), u64> {
        self.lock().take(bytes, clock::now())
    }

    /// Of `taken` bytes so many were moved.
    pub fn moved(&self, taken: u64, moved: u64) {
        self.moved.fetch_add(moved, Relaxed);
        if moved < taken {
            self.lock().give_back(taken - moved);
        }
    }

    /// Somebody has waited.
    pub fn waited(&self, nanoseconds: u64) {
        self.waited.fetch_add(nanoseconds, Relaxed);
    }

    // What a panic left is a whole bucket: nothing in here stops halfway.
    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How far one copy with `--drain` is: what is durable, verified and hashed of it, and what of its source is freed.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use nix::unistd::{Whence, lseek64};

use super::source_drain::SourceDrain;
use crate::sys::file::StatxInfo;
use crate::sys::lock::lock;
use crate::transfer::error::Error;
use crate::transfer::event::CopyListener;
use crate::transfer::verify::read_back::ReadBack;

/// Stands for the offset of data where there is none.
const NO_DATA: u64 = u64::MAX;

/// Returns whether a byte of a file is data and no hole.
fn is_data(file: &File, at: u64) -> bool {
    lseek64(file, at.cast_signed(), Whence::SeekData).is_ok_and(|found| found.cast_unsigned() == at)
}

/// The drain of the source of one copy. The copying thread and the one that hashes share it.
#[derive(Debug)]
pub(in crate::transfer) struct CopyDrain {
    source: Mutex<SourceDrain>,
    /// Offset at which this run goes on: the source may be freed up to there, and the destination has those bytes.
    begin: u64,
    /// Offset up to which the destination is durable and that is recorded.
    durable: AtomicU64,
    /// Offset up to which the destination was read back and compared; the same as `begin` if nobody wants that.
    verified: AtomicU64,
    /// Offset up to which the source is hashed; `u64::MAX` if nobody wants that.
    hashed: AtomicU64,
    /// Offset of the last durable byte, if it is data as the file system of the destination says.
    last_data: AtomicU64,
    /// Why some of what was compared was read through the page cache.
    cached: Mutex<Option<String>>,
}

impl CopyDrain {
    /// Makes the drain of a copy that goes on at `begin`.
    ///
    /// # Errors
    /// The error of dup(2).
    pub(in crate::transfer) fn new(
        source: &File,
        status: &StatxInfo,
        begin: u64,
        is_hashed: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            source: Mutex::new(SourceDrain::of_status(source, status)?),
            begin,
            durable: AtomicU64::new(begin),
            verified: AtomicU64::new(begin),
            hashed: AtomicU64::new(if is_hashed { 0 } else { u64::MAX }),
            last_data: AtomicU64::new(NO_DATA),
            cached: Mutex::default(),
        })
    }

    fn source(&self) -> MutexGuard<'_, SourceDrain> {
        lock(&self.source)
    }

    /// Returns the offset at which this run goes on.
    pub(in crate::transfer) fn begin(&self) -> u64 {
        self.begin
    }

    /// Returns the offset below which the destination is never cut off.
    pub(in crate::transfer) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Fails if the destination has lost bytes that are durable in it: it is shorter, or has a hole at the end of them where
    /// data was. What else another process writes to it is not noticed.
    ///
    /// # Errors
    /// [`Error::DurablePoint`].
    pub(in crate::transfer) fn check_dest(&self, dest: &File) -> Result<(), Error> {
        let len = dest.metadata().map_err(Error::DurablePoint)?.len();
        let last = self.last_data.load(Ordering::Acquire);
        if len >= self.durable() && (last == NO_DATA || is_data(dest, last)) {
            return Ok(());
        }
        let why = "another process has cut it";
        Err(Error::DurablePoint(io::Error::other(why)))
    }

    /// Notes whether the destination has data at the end of what is durable in it, up to `at`.
    pub(in crate::transfer) fn note_durable(&self, dest: &File, at: u64) {
        let last = at.saturating_sub(1);
        let noted = if is_data(dest, last) { last } else { NO_DATA };
        self.last_data.store(noted, Ordering::Release);
    }

    /// Returns the modification time that the source has if nobody else has written to it.
    pub(in crate::transfer) fn modified(&self) -> (i64, i64) {
        self.source().modified()
    }

    /// Returns the offset up to which the destination was compared.
    pub(in crate::transfer) fn verified(&self) -> u64 {
        self.verified.load(Ordering::Acquire)
    }

    /// Notes that the destination was compared up to an offset, and how.
    pub(in crate::transfer) fn note_verified(&self, at: u64, how: ReadBack) {
        self.verified.store(at, Ordering::Release);
        if let ReadBack::Cached(why) = how {
            *lock(&self.cached) = Some(why);
        }
    }

    /// Returns how all that was compared was read back, if the last of it was read in the way `last`.
    pub(in crate::transfer) fn read_back(&self, last: ReadBack) -> ReadBack {
        let cached = lock(&self.cached).take();
        cached.map_or(last, ReadBack::Cached)
    }

    /// Notes that the source is hashed up to an offset.
    pub(in crate::transfer) fn note_hashed(&self, at: u64) {
        self.hashed.store(at, Ordering::Release);
    }

    /// Frees the source up to `at`, where the destination is durable and that is recorded, but not what is still to be
    /// hashed.
    ///
    /// # Errors
    /// The same as of [`SourceDrain::free`].
    pub(in crate::transfer) fn free_behind(
        &self,
        at: u64,
        listener: &mut dyn CopyListener,
    ) -> Result<(), Error> {
        self.durable.store(at, Ordering::Release);
        let until = at.min(self.hashed.load(Ordering::Acquire));
        let freed = self.source().free(until, || listener.interrupted())?;
        if freed > 0 {
            listener.freed(freed);
        }
        Ok(())
    }
}

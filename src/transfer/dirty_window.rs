//! Bounds the dirty data of engines that write through the page cache: ranges a little behind the cursor are flushed
//! and dropped.

use std::fs::File;
use std::io;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::errno_class::{is_refusal, retry};
use crate::sys::file::{SyncRange, sync_range};

/// Limit of the bytes that are dirty or under writeback.
///
/// It suffices for a queue of 1 MiB requests, and is so small that the fsync of another program does not wait long: a
/// third of a second at 50 MB/s.
const MAX_DIRTY_BYTES: u64 = 16 << 20;

/// Smallest window with fdatasync, which writes metadata and waits for everything. At 10 MB/s this makes two calls a
/// second instead of the twenty of four chunks.
const LEAST_SYNCED: u64 = 4 << 20;

/// Bytes that one call drops from the cache: 0.2 ms of CPU if all of them are cached. If none are, a call takes a
/// microsecond. Folios of the page cache are aligned to their size, which is 2 MiB at most with pages of 4 KiB, so none
/// crosses a multiple of this.
const DROPPED_AT_ONCE: u64 = 4 << 20;

/// How the pages of a destination can be flushed to its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMethod {
    /// With sync_file_range(2), without the metadata.
    Range,
    /// With fdatasync(2), because on overlayfs and FUSE sync_file_range returns 0 and does nothing (measured).
    Datasync,
    /// Not at all: memory file systems and non-files have no device.
    Nothing,
}

/// Data that was written through the cache and is not known to be on the device.
#[derive(Debug)]
pub(super) struct DirtyWindow {
    flush: FlushMethod,
    limit: u64,
    flushed: u64,
    written: u64,
    /// Whether writeback has failed. The kernel reports an error once, and success ever after.
    failed: bool,
}

impl DirtyWindow {
    /// Makes an empty window that flushes by `flush`.
    #[must_use]
    pub(super) fn new(flush: FlushMethod) -> Self {
        Self {
            flush,
            limit: MAX_DIRTY_BYTES,
            flushed: 0,
            written: 0,
            failed: false,
        }
    }

    /// Limits the window from now on to what `bound` returns for the usual limit.
    pub(super) fn bound(&mut self, bound: impl FnOnce(u64) -> u64) {
        let least = match self.flush {
            FlushMethod::Datasync => LEAST_SYNCED,
            FlushMethod::Range | FlushMethod::Nothing => 0,
        };
        self.limit = bound(MAX_DIRTY_BYTES).max(least);
    }

    /// Returns the bytes before the cursor that are not known to be on the device.
    #[must_use]
    pub(super) fn pending(&self) -> u64 {
        self.written - self.flushed
    }

    /// Returns up to which offset the device has the data, if the cursor is at `pos`.
    pub(super) fn confirmed(&self, pos: u64) -> u64 {
        if self.pending() > 0 {
            self.flushed.min(pos)
        } else {
            pos
        }
    }

    /// Records a write that ended at `end`, and flushes as much as the limit requires.
    ///
    /// # Errors
    /// Errors of writeback: EIO, and ENOSPC from file systems that allocate late.
    pub(super) fn wrote(&mut self, file: &File, at: u64, end: u64) -> io::Result<()> {
        self.note(at, end);
        if self.flush == FlushMethod::Range {
            match retry(|| sync_range(file, at, end - at, SyncRange::StartWriteback)) {
                // The kernel or a filter does not have the call.
                Err(e) if is_refusal(&e) => self.flush = FlushMethod::Datasync,
                Err(e) => {
                    self.failed = true;
                    return Err(e);
                }
                Ok(()) => {}
            }
        }
        if self.pending() >= self.limit {
            // Half of the window stays queued, so that the device is not idle while we wait.
            let until = match self.flush {
                FlushMethod::Range => end - self.limit / 2,
                FlushMethod::Datasync | FlushMethod::Nothing => end,
            };
            self.flush_until(file, until)?;
        }
        Ok(())
    }

    /// Notes a write from `at` to `end`.
    pub(super) fn note(&mut self, at: u64, end: u64) {
        if self.pending() == 0 {
            self.flushed = at;
        }
        self.written = end;
    }

    /// Starts writeback of what is pending, and ignores errors: they come when it is waited for.
    pub(super) fn start_writeback(&self, file: &File) {
        if self.flush == FlushMethod::Range && self.pending() > 0 {
            let _ = sync_range(
                file,
                self.flushed,
                self.pending(),
                SyncRange::StartWriteback,
            );
        }
    }

    /// Flushes and drops the rest. Does nothing once writeback has failed: the data in doubt stays pending.
    ///
    /// # Errors
    /// The same as of [`Self::wrote`].
    pub(super) fn finish(&mut self, file: &File) -> io::Result<()> {
        if self.pending() > 0 && !self.failed {
            self.flush_until(file, self.written)?;
        }
        Ok(())
    }

    fn flush_until(&mut self, file: &File, until: u64) -> io::Result<()> {
        let settled = flush_and_drop(file, self.flush, self.flushed, until - self.flushed);
        match settled {
            Ok(()) => self.flushed = until,
            Err(_) => self.failed = true,
        }
        settled
    }
}

/// Flushes one range, waits for it, and drops it from the cache. It is used for destinations only, since the source's
/// pages belong to other programs.
///
/// # Errors
/// Errors of writeback. Failed advice is no error: the pages are clean then, and the kernel can reclaim them.
pub(super) fn flush_and_drop(
    file: &File,
    flush: FlushMethod,
    offset: u64,
    len: u64,
) -> io::Result<()> {
    match flush {
        FlushMethod::Nothing => return Ok(()),
        FlushMethod::Datasync => synchronize(file)?,
        FlushMethod::Range => {
            match retry(|| sync_range(file, offset, len, SyncRange::WriteAndWait)) {
                Err(e) if is_refusal(&e) => synchronize(file)?,
                other => other?,
            }
        }
    }
    // The page that the range ends in goes as well: DONTNEED keeps partial pages, except where the file ends. It also keeps large
    // folios of which a part lies outside, so the range begins where no folio can have begun before it.
    let page = crate::sys::residency::page_size();
    let end = (offset + len).next_multiple_of(page);
    let mut start = offset - offset % DROPPED_AT_ONCE;
    while start < end {
        let piece = DROPPED_AT_ONCE.min(end - start).cast_signed();
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        let _ = posix_fadvise(file, start.cast_signed(), piece, advice);
        start += DROPPED_AT_ONCE;
    }
    Ok(())
}

/// Waits until the data of a file is on its device. A file system that has no fdatasync(2), as some FUSE daemons, has
/// nothing to flush: a caller that needs durability calls fsync(2) afterwards, and gets the error.
fn synchronize(file: &File) -> io::Result<()> {
    match retry(|| nix::unistd::fdatasync(file)) {
        Err(e) if is_refusal(&e) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_pace_does_not_make_fdatasync_frequent() -> io::Result<()> {
        let file = tempfile::tempfile()?;
        let most_pending = |flush| -> io::Result<u64> {
            let mut behind = DirtyWindow::new(flush);
            let chunks = (0..64).map(|chunk| {
                behind.bound(|_| 512 << 10);
                behind.wrote(&file, chunk << 17, (chunk + 1) << 17)?;
                Ok(behind.pending())
            });
            Ok(chunks
                .collect::<io::Result<Vec<_>>>()?
                .into_iter()
                .max()
                .unwrap_or(0))
        };
        assert_eq!(
            most_pending(FlushMethod::Datasync)?,
            LEAST_SYNCED - (1 << 17)
        );
        assert!(most_pending(FlushMethod::Range)? < 512 << 10);
        Ok(())
    }
}

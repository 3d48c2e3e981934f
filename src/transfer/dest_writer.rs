//! Writes bytes to a destination: directly, uncached, or through the page cache with a bounded amount of dirty data.

use std::fs::File;
use std::io;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::uio::pwrite;

use super::align::Align;
use super::capabilities::{DestCaps, Direct};
use super::dirty_window::{DirtyWindow, FlushMethod, flush_and_drop};
use super::errno_class::{Endpoint, EngineError, retry};
use crate::sys::file::{pwrite_dontcache, set_direct};

/// How an engine's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// They are not written, since the blocks are shared.
    Shared,
    /// With O_DIRECT, past the page cache.
    Direct,
    /// With RWF_DONTCACHE, and a bounded dirty window.
    DontCache,
    /// Through the page cache, with a bounded dirty window.
    Cached,
}

/// One destination while it is written to.
#[derive(Debug)]
pub struct DestWriter<'a> {
    /// The destination. Engines whose system call takes the descriptor use it, and report with
    /// [`DestWriter::record_written`].
    pub file: &'a File,
    /// The alignment of direct writes.
    pub align: Align,
    /// Whether O_DIRECT is known to go past the page cache here.
    pub(super) is_direct_verified: bool,
    /// Whether the file can be cut to its size, so that its last write may be longer.
    pub(super) is_truncatable: bool,
    write_mode: WriteMode,
    stream: bool,
    flush: FlushMethod,
    dirty_window: DirtyWindow,
    /// Whether the file is small and flushed as a whole, later.
    is_deferred: bool,
}

impl<'a> DestWriter<'a> {
    /// Makes the writer for a destination that was not written to yet.
    #[must_use]
    pub fn new(file: &'a File, dest_caps: &DestCaps) -> Self {
        Self {
            file,
            align: dest_caps.align,
            is_direct_verified: dest_caps.direct == Direct::Genuine,
            is_truncatable: dest_caps.regular,
            write_mode: WriteMode::Cached,
            stream: dest_caps.stream,
            flush: dest_caps.flush,
            dirty_window: DirtyWindow::new(dest_caps.flush),
            is_deferred: false,
        }
    }

    /// Makes a writer that is in `write_mode`, which is not direct, and flushes nothing before [`Self::finish`]: for a file so
    /// small that all of it may be dirty.
    #[must_use]
    pub(super) fn deferred(file: &'a File, dest_caps: &DestCaps, write_mode: WriteMode) -> Self {
        Self {
            write_mode,
            is_deferred: true,
            ..Self::new(file, dest_caps)
        }
    }

    /// Makes a writer for a destination that another writer has brought into the direct mode, where that is verified.
    #[must_use]
    pub(super) fn already_direct(file: &'a File, dest_caps: &DestCaps) -> Self {
        Self {
            write_mode: WriteMode::Direct,
            is_direct_verified: true,
            ..Self::new(file, dest_caps)
        }
    }

    /// Returns the write mode in force.
    #[must_use]
    pub fn write_mode(&self) -> WriteMode {
        self.write_mode
    }

    /// Changes the write mode. Data that was written through the cache before is flushed first.
    ///
    /// # Errors
    /// A refused O_DIRECT, or an error of writeback.
    pub fn set_write_mode(&mut self, leaving: WriteMode) -> Result<(), EngineError> {
        self.dirty_window
            .finish(self.file)
            .map_err(|e| EngineError::Fatal(Endpoint::Dest, e))?;
        if !self.stream {
            set_direct(self.file, leaving == WriteMode::Direct)
                .map_err(|e| EngineError::new(Endpoint::Dest, e))?;
        }
        self.write_mode = leaving;
        Ok(())
    }

    /// Writes some of `data` at offset `at` with one call, in the write mode in force.
    ///
    /// # Errors
    /// The error of the call; EINVAL beyond the file size limit becomes EFBIG.
    pub fn write_at(&mut self, data: &[u8], at: u64) -> Result<usize, EngineError> {
        let n = retry(|| match self.write_mode {
            _ if self.stream => nix::unistd::write(self.file, data).map_err(Into::into),
            WriteMode::DontCache => pwrite_dontcache(self.file, data, at),
            WriteMode::Shared | WriteMode::Direct | WriteMode::Cached => {
                pwrite(self.file, data, at.cast_signed()).map_err(io::Error::from)
            }
        })
        .map_err(|e| EngineError::new(Endpoint::Dest, beyond_limit(e, at + data.len() as u64)))?;
        self.record_written(at, n)?;
        Ok(n)
    }

    /// Writes all of `data`, which must be aligned in direct mode.
    ///
    /// # Errors
    /// The same as of [`Self::write_at`].
    pub fn write_all_at(&mut self, data: &[u8], at: u64) -> Result<(), EngineError> {
        let mut done = 0;
        while done < data.len() {
            let n = self.write_at(&data[done..], at + done as u64)?;
            if n == 0 {
                let error = io::Error::from(io::ErrorKind::WriteZero);
                return Err(EngineError::Fatal(Endpoint::Dest, error));
            }
            done += n;
        }
        Ok(())
    }

    /// Records that `len` bytes were written at `at`, and keeps the dirty window bounded.
    ///
    /// # Errors
    /// An error of writeback, which is fatal, since the kernel reports it only once.
    pub fn record_written(&mut self, at: u64, len: usize) -> Result<(), EngineError> {
        if self.write_mode == WriteMode::Direct {
            return Ok(());
        }
        if self.is_deferred {
            self.dirty_window.note(at, at + len as u64);
            return Ok(());
        }
        self.dirty_window
            .wrote(self.file, at, at + len as u64)
            .map_err(|e| EngineError::Fatal(Endpoint::Dest, e))
    }

    /// Starts writeback of what went through the cache and is not on its way yet: uncached writes are. Errors come when it is
    /// waited for.
    pub(super) fn start_writeback(&self) {
        if self.write_mode == WriteMode::Cached {
            self.dirty_window.start_writeback(self.file);
        }
    }

    /// Limits the dirty window to what `bound` returns for its usual limit.
    pub(super) fn limit_dirty_window(&mut self, bound: impl FnOnce(u64) -> u64) {
        self.dirty_window.bound(bound);
    }

    /// Returns up to which offset the device has the data, if `pos` is the offset written so far.
    #[must_use]
    pub fn confirmed(&self, pos: u64) -> u64 {
        self.dirty_window.confirmed(pos)
    }

    /// Flushes everything that was written through the cache to the device.
    ///
    /// # Errors
    /// An error of writeback.
    pub fn finish(&mut self) -> io::Result<()> {
        self.dirty_window.finish(self.file)
    }

    /// Flushes and drops a range that was changed without a write: the page that a truncation zeroed.
    ///
    /// # Errors
    /// An error of writeback.
    pub fn flush_and_drop_range(&self, offset: u64, len: u64) -> io::Result<()> {
        flush_and_drop(self.file, self.flush, offset, len)
    }
}

/// Returns EFBIG instead of `error` if the write ends beyond RLIMIT_FSIZE. A direct write there fails with EINVAL
/// (measured: the kernel shortens it, and the rest is unaligned), which must not be mistaken for wrong alignment.
fn beyond_limit(error: io::Error, end: u64) -> io::Error {
    if error.raw_os_error() == Some(libc::EINVAL) && file_size_limit() < end {
        io::Error::from_raw_os_error(libc::EFBIG)
    } else {
        error
    }
}

/// Returns the limit RLIMIT_FSIZE in bytes.
#[must_use]
pub(super) fn file_size_limit() -> u64 {
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft)
}

//! How bytes leave for a destination: direct, uncached, or through the cache with a bounded window.

use std::fs::File;
use std::io;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::uio::pwrite;

use super::align::Align;
use super::facts::DestFacts;
use super::fault::{Fault, Side, retry};
use super::writeback::{Flush, Writeback, settle};
use crate::sys::file::{pwrite_dontcache, set_direct};

/// The way a row's bytes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Not at all: the blocks are there already.
    Shared,
    /// O_DIRECT.
    Direct,
    /// RWF_DONTCACHE, with a bounded window behind.
    DontCache,
    /// The page cache, with a bounded window behind.
    Cached,
}

/// One destination while it is being written.
#[derive(Debug)]
pub struct Sink<'a> {
    /// The destination. Engines whose call takes the descriptor use it; they report with [`Sink::moved`].
    pub file: &'a File,
    /// Alignment of direct writes.
    pub align: Align,
    leaving: Leaving,
    stream: bool,
    flush: Flush,
    behind: Writeback,
}

impl<'a> Sink<'a> {
    /// A destination that nothing was written to yet.
    #[must_use]
    pub fn new(file: &'a File, facts: &DestFacts) -> Self {
        Self {
            file,
            align: facts.align,
            leaving: Leaving::Cached,
            stream: facts.stream,
            flush: facts.flush,
            behind: Writeback::new(facts.flush),
        }
    }

    /// The way in force.
    #[must_use]
    pub fn leaving(&self) -> Leaving {
        self.leaving
    }

    /// Changes the way. What went through the cache before is settled first.
    ///
    /// # Errors
    /// A refused O_DIRECT, or writeback's errors.
    pub fn leave_by(&mut self, leaving: Leaving) -> Result<(), Fault> {
        self.behind
            .finish(self.file)
            .map_err(|e| Fault::Fatal(Side::Dest, e))?;
        if !self.stream {
            set_direct(self.file, leaving == Leaving::Direct)
                .map_err(|e| Fault::new(Side::Dest, e))?;
        }
        self.leaving = leaving;
        Ok(())
    }

    /// One write of `data` at `at`, in the way in force.
    ///
    /// # Errors
    /// The call's, EINVAL beyond the file size limit told apart as EFBIG.
    pub fn write_at(&mut self, data: &[u8], at: u64) -> Result<usize, Fault> {
        let n = retry(|| match self.leaving {
            _ if self.stream => nix::unistd::write(self.file, data).map_err(Into::into),
            Leaving::DontCache => pwrite_dontcache(self.file, data, at),
            Leaving::Shared | Leaving::Direct | Leaving::Cached => {
                pwrite(self.file, data, at.cast_signed()).map_err(io::Error::from)
            }
        })
        .map_err(|e| Fault::new(Side::Dest, beyond_limit(e, at + data.len() as u64)))?;
        self.moved(at, n)?;
        Ok(n)
    }

    /// Writes all of `data`, which in the direct way must be aligned.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    pub fn write_all_at(&mut self, data: &[u8], at: u64) -> Result<(), Fault> {
        let mut done = 0;
        while done < data.len() {
            let n = self.write_at(&data[done..], at + done as u64)?;
            if n == 0 {
                let error = io::Error::from(io::ErrorKind::WriteZero);
                return Err(Fault::Fatal(Side::Dest, error));
            }
            done += n;
        }
        Ok(())
    }

    /// Notes that `len` bytes were written at `at`, and keeps the dirty window bounded.
    ///
    /// # Errors
    /// Writeback's: fatal, the kernel says them once.
    pub fn moved(&mut self, at: u64, len: usize) -> Result<(), Fault> {
        if self.leaving == Leaving::Direct {
            return Ok(());
        }
        self.behind
            .wrote(self.file, at, at + len as u64)
            .map_err(|e| Fault::Fatal(Side::Dest, e))
    }

    /// Keeps the dirty window to what `bound` makes of its usual limit.
    pub(super) fn bound(&mut self, bound: impl FnOnce(u64) -> u64) {
        self.behind.bound(bound);
    }

    /// How far the device is, when `pos` is how far we are.
    #[must_use]
    pub fn confirmed(&self, pos: u64) -> u64 {
        self.behind.confirmed(pos)
    }

    /// Brings everything to the device that went through the cache.
    ///
    /// # Errors
    /// Writeback's.
    pub fn finish(&mut self) -> io::Result<()> {
        self.behind.finish(self.file)
    }

    /// Settles a range that was touched behind the back of the window: the page that a truncation zeroed.
    ///
    /// # Errors
    /// Writeback's.
    pub fn settle(&self, offset: u64, len: u64) -> io::Result<()> {
        settle(self.file, self.flush, offset, len)
    }
}

/// A direct write that ends beyond RLIMIT_FSIZE is EINVAL (measured: the kernel cuts it, and the rest is unaligned):
/// the limit is looked at before alignment is blamed.
fn beyond_limit(error: io::Error, end: u64) -> io::Error {
    if error.raw_os_error() == Some(libc::EINVAL) && file_size_limit() < end {
        io::Error::from_raw_os_error(libc::EFBIG)
    } else {
        error
    }
}

/// RLIMIT_FSIZE in bytes.
#[must_use]
pub(super) fn file_size_limit() -> u64 {
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft)
}

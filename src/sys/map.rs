//! The raw source map: a window of a file that the kernel reads and this process never does.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use memmap2::{Advice, MmapOptions, MmapRaw};

/// A read-only shared mapping of part of a file.
///
/// There is no way to get a slice out of it: the file may shrink at any moment, and then a load is SIGBUS, while the
/// same page asked for by the kernel in write(2) is EFAULT, an ordinary error.
#[derive(Debug)]
pub struct SourceWindow {
    raw: MmapRaw,
    start: u64,
}

impl SourceWindow {
    /// Maps `len` bytes of `file` from `start`, which must be a multiple of the page size of the file
    /// (2 MiB on hugetlbfs).
    ///
    /// # Errors
    /// What mmap(2) says: ENODEV where the file system cannot map, ENOMEM where hugetlbfs has no page left.
    pub fn new(file: &File, start: u64, len: usize) -> io::Result<Self> {
        let raw = MmapOptions::new()
            .offset(start)
            .len(len)
            .map_raw_read_only(file)?;
        Ok(Self { raw, start })
    }

    /// Whether the window holds the `len` bytes from file offset `offset`.
    #[must_use]
    pub fn covers(&self, offset: u64, len: usize) -> bool {
        offset >= self.start && offset + len as u64 <= self.start + self.raw.len() as u64
    }

    /// Fills the page tables for a range that is known to be data (`MADV_POPULATE_READ`, Linux 5.14).
    ///
    /// # Errors
    /// EINVAL before 5.14, EFAULT where the file has shrunk.
    pub fn populate(&self, offset: u64, len: usize) -> io::Result<()> {
        debug_assert!(self.covers(offset, len));
        self.raw
            .advise_range(Advice::PopulateRead, (offset - self.start) as usize, len)
    }

    /// Writes `len` bytes of the window, from file offset `offset`, to `dest` at the same offset: pwrite(2).
    ///
    /// # Errors
    /// pwrite's own; EFAULT where the source no longer has these pages.
    ///
    /// # Panics
    /// When the window does not cover the range.
    pub fn pwrite(&self, offset: u64, len: usize, dest: impl AsFd) -> io::Result<usize> {
        assert!(
            self.covers(offset, len),
            "range outside of the source window"
        );
        let within = (offset - self.start) as usize;
        // SAFETY: the range lies inside of the mapping (asserted above), which lives as long as `self`. The pointer
        // is only given to the kernel, whose read of a page that has gone is EFAULT.
        let n = unsafe {
            libc::pwrite64(
                dest.as_fd().as_raw_fd(),
                self.raw.as_ptr().add(within).cast(),
                len,
                offset as libc::off64_t,
            )
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

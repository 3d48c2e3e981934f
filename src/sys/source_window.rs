//! A window of the source file that is mapped for the kernel to read from. This process never reads it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use memmap2::{Advice, MmapOptions, MmapRaw};

/// The message of the panic for a range that is not in the window.
const OUTSIDE_WINDOW: &str = "range outside of the source window";

/// A read-only shared mapping of part of a file.
///
/// It gives out no slice: the file may shrink at any moment, and then a load raises SIGBUS, while write(2) of the same
/// page returns EFAULT, an ordinary error.
#[derive(Debug)]
pub struct SourceWindow {
    raw: MmapRaw,
    start: u64,
}

impl SourceWindow {
    /// Maps `len` bytes of `file` from `start`, which must be a multiple of the page size of the file (2 MiB on
    /// hugetlbfs).
    ///
    /// # Errors
    /// The error of mmap(2): ENODEV if the file system cannot map files, ENOMEM if hugetlbfs has no page left.
    pub fn new(file: &File, start: u64, len: usize) -> io::Result<Self> {
        let raw = MmapOptions::new()
            .offset(start)
            .len(len)
            .map_raw_read_only(file)?;
        Ok(Self { raw, start })
    }

    /// Returns whether the window holds the `len` bytes from file offset `offset`.
    #[must_use]
    pub fn covers(&self, offset: u64, len: usize) -> bool {
        self.mapping_offset(offset, len).is_some()
    }

    /// Returns where the range begins in the mapping; `None` if part of it lies outside.
    fn mapping_offset(&self, offset: u64, len: usize) -> Option<usize> {
        let within = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (within.checked_add(len)? <= self.raw.len()).then_some(within)
    }

    /// Fills the page tables for a range that is known to be data (`MADV_POPULATE_READ`, Linux 5.14).
    ///
    /// # Errors
    /// EINVAL before 5.14, EFAULT if the file has shrunk.
    ///
    /// # Panics
    /// If the window does not cover the range.
    pub fn populate(&self, offset: u64, len: usize) -> io::Result<()> {
        let within = self.mapping_offset(offset, len).expect(OUTSIDE_WINDOW);
        #[expect(clippy::disallowed_methods, reason = "not DONTFORK")]
        self.raw.advise_range(Advice::PopulateRead, within, len)
    }

    /// Writes `len` bytes of the window, from file offset `offset`, to `dest` at the same offset with pwrite(2).
    ///
    /// # Errors
    /// The error of pwrite(2); EFAULT if the source no longer has these pages.
    ///
    /// # Panics
    /// If the window does not cover the range.
    pub fn pwrite(&self, offset: u64, len: usize, dest: impl AsFd) -> io::Result<usize> {
        let within = self.mapping_offset(offset, len).expect(OUTSIDE_WINDOW);
        // SAFETY: the range lies inside of the mapping (as `within` says), which lives as long as `self`. The pointer
        // is only given to the kernel, which returns EFAULT for a page that no longer exists.
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::SourceWindow;

    const LEN: usize = 3 * 4096;

    fn window() -> SourceWindow {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        SourceWindow::new(&file, 65536, LEN).unwrap()
    }

    #[test]
    fn a_window_covers_what_lies_in_it_and_no_sum_wraps() {
        let window = window();
        for (offset, len) in [
            (65536, 0),
            (65536, LEN),
            (65537, LEN - 1),
            (65536 + LEN as u64, 0),
        ] {
            assert!(window.covers(offset, len), "{offset}, {len}");
        }
        for (offset, len) in [
            (65535, 1),
            (65536, LEN + 1),
            (65537, LEN),
            (65537 + LEN as u64, 0),
            (u64::MAX - 10, 20),
            (65536, usize::MAX),
            (65537, usize::MAX),
            (u64::MAX, usize::MAX),
        ] {
            assert!(!window.covers(offset, len), "{offset}, {len}");
        }
    }

    #[test]
    fn what_lies_outside_is_neither_written_nor_populated() {
        let (window, dest) = (window(), tempfile::tempfile().unwrap());
        assert_eq!(window.pwrite(65536, LEN, &dest).unwrap(), LEN);
        let panics = |body: &dyn Fn()| catch_unwind(AssertUnwindSafe(body)).is_err();
        for (offset, len) in [(u64::MAX - 10, 20), (0, 4096), (65536, LEN + 1)] {
            assert!(panics(&|| drop(window.pwrite(offset, len, &dest))));
            assert!(panics(&|| drop(window.populate(offset, len))));
        }
    }
}

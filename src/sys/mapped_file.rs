//! A whole file in shared memory mappings, to measure what mapping it costs: pages are read, stored to, and synced.
#![allow(unsafe_code)]

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::residency::page_size;

/// A shared mapping of a file for reading. The file must not be truncated meanwhile, or a read raises SIGBUS.
#[derive(Debug)]
pub struct MappedReader(MmapRaw);

impl MappedReader {
    /// Maps the first `len` bytes of `file` for reading.
    ///
    /// # Errors
    /// The error of mmap(2), such as ENODEV if the file system cannot map files.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        MmapOptions::new()
            .len(len)
            .map_raw_read_only(file)
            .map(Self)
    }

    /// Reads one byte of each page, so that each page is in the page tables.
    pub fn touch_pages(&self) {
        for offset in page_offsets(&self.0) {
            // SAFETY: `offset` is below the length of the mapping, which can be read and lives as long as `self`. Nothing in this
            // program refers to this memory, which others may change at any time: hence volatile. It is no atomic load, since an
            // `AtomicU8` must lie in memory that can be written (`AtomicU8::from_ptr`).
            black_box(unsafe { self.0.as_ptr().add(offset).read_volatile() });
        }
    }
}

/// A shared mapping of a file for writing. A store for which the file system has no space raises SIGBUS.
#[derive(Debug)]
pub struct MappedWriter(MmapRaw);

impl MappedWriter {
    /// Maps the first `len` bytes of `file` for reading and writing.
    ///
    /// # Errors
    /// The same as of [`MappedReader::new`].
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        MmapOptions::new().len(len).map_raw(file).map(Self)
    }

    /// Reads one byte of each page, so that each page is in the page tables.
    pub fn touch_pages(&self) {
        for offset in page_offsets(&self.0) {
            black_box(self.byte(offset).load(Ordering::Relaxed));
        }
    }

    /// Writes one byte at `offset`.
    ///
    /// # Panics
    /// If `offset` is beyond the end of the mapping.
    pub fn store_byte(&self, offset: usize, value: u8) {
        self.byte(offset).store(value, Ordering::Relaxed);
    }

    /// Writes the page that holds `offset` back with msync(2) and `MS_SYNC`.
    ///
    /// # Errors
    /// EIO or ENOSPC from writeback.
    ///
    /// # Panics
    /// If `offset` is beyond the end of the mapping.
    pub fn sync_page(&self, offset: usize) -> io::Result<()> {
        assert!(offset < self.0.len(), "{OUTSIDE_MAPPING}");
        self.0.flush_range(offset, 1)
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.0.len(), "{OUTSIDE_MAPPING}");
        // SAFETY: `offset` is below the length of the mapping, which can be read and written and lives as long as the borrow.
        // All access of this program through this mapping is atomic.
        unsafe { AtomicU8::from_ptr(self.0.as_mut_ptr().add(offset)) }
    }
}

/// The message of the panic for a byte that is not mapped.
const OUTSIDE_MAPPING: &str = "byte outside of the mapping";

/// Returns the offset of each page of a mapping.
fn page_offsets(map: &MmapRaw) -> impl Iterator<Item = usize> {
    (0..map.len()).step_by(page_size() as usize)
}

#[cfg(test)]
mod tests {
    use super::{MappedReader, MappedWriter};
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * 4096).unwrap();
        let (reader, writer) = (
            MappedReader::new(&file, 3 * 4096),
            MappedWriter::new(&file, 3 * 4096),
        );
        let writer = writer.unwrap();
        reader.unwrap().touch_pages();
        writer.touch_pages();
        writer.store_byte(4096, 7);
        writer.sync_page(4096).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4096).unwrap();
        assert_eq!(byte, [7]);
    }
}

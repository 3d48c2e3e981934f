//! A whole file in shared memory, for those who want to feel what mapping it costs: page by page read, stored to, synced.
#![allow(unsafe_code)]

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::residency::page_size;

/// A shared mapping of a file that its owner does not cut. (Where somebody does, a touch is SIGBUS.)
#[derive(Debug)]
pub struct MappedReader(MmapRaw);

impl MappedReader {
    /// Maps the first `len` bytes of `file` for reading.
    ///
    /// # Errors
    /// mmap(2)'s: ENODEV where the file system cannot map.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        MmapOptions::new()
            .len(len)
            .map_raw_read_only(file)
            .map(Self)
    }

    /// Reads a byte of each page, so that each is in the page tables.
    pub fn touch_pages(&self) {
        for offset in page_offsets(&self.0) {
            // SAFETY: `offset` is below the length of the mapping, which can be read and lives as long as `self`. Nothing in this
            // program refers to this memory, which others may change at any time: hence volatile. It is no atomic load, since an
            // `AtomicU8` must lie in memory that can be written (`AtomicU8::from_ptr`).
            black_box(unsafe { self.0.as_ptr().add(offset).read_volatile() });
        }
    }
}

/// The same for writing. A store that finds no room on the file system is SIGBUS.
#[derive(Debug)]
pub struct MappedWriter(MmapRaw);

impl MappedWriter {
    /// Maps the first `len` bytes of `file` for reading and writing.
    ///
    /// # Errors
    /// As [`MappedReader::new`].
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        MmapOptions::new().len(len).map_raw(file).map(Self)
    }

    /// Reads a byte of each page, so that each is in the page tables.
    pub fn touch_pages(&self) {
        for offset in page_offsets(&self.0) {
            black_box(self.byte(offset).load(Ordering::Relaxed));
        }
    }

    /// Writes one byte at `offset`.
    ///
    /// # Panics
    /// Beyond the end of the mapping.
    pub fn store_byte(&self, offset: usize, value: u8) {
        self.byte(offset).store(value, Ordering::Relaxed);
    }

    /// msync(2) with `MS_SYNC` of the page that holds `offset`.
    ///
    /// # Errors
    /// msync's: EIO or ENOSPC of writeback.
    ///
    /// # Panics
    /// Beyond the end of the mapping.
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

/// What a panic says of a byte that is not mapped.
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

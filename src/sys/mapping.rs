//! A whole file in shared memory, for those who want to feel what mapping it costs: page by page read, stored to, synced.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::residency::page_size;

/// A shared mapping of a file that its owner does not cut. (Where somebody does, a touch is SIGBUS.)
#[derive(Debug)]
pub struct Reader(MmapRaw);

impl Reader {
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
    pub fn touch(&self) {
        touch(&self.0);
    }
}

/// The same for writing. A store that finds no room on the file system is SIGBUS.
#[derive(Debug)]
pub struct Writer(MmapRaw);

impl Writer {
    /// Maps the first `len` bytes of `file` for reading and writing.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        MmapOptions::new().len(len).map_raw(file).map(Self)
    }

    /// Reads a byte of each page, so that each is in the page tables.
    pub fn touch(&self) {
        touch(&self.0);
    }

    /// Writes one byte at `offset`.
    ///
    /// # Panics
    /// Beyond the end of the mapping.
    pub fn store(&self, offset: usize, value: u8) {
        assert!(offset < self.0.len(), "store outside of the mapping");
        byte(&self.0, offset).store(value, Ordering::Relaxed);
    }

    /// msync(2) with `MS_SYNC` of the page that holds `offset`.
    ///
    /// # Errors
    /// msync's: EIO or ENOSPC of writeback.
    pub fn sync(&self, offset: usize) -> io::Result<()> {
        self.0.flush_range(offset, 1)
    }
}

fn touch(map: &MmapRaw) {
    for offset in (0..map.len()).step_by(page_size() as usize) {
        std::hint::black_box(byte(map, offset).load(Ordering::Relaxed));
    }
}

/// One byte of a mapping; stored to only where the mapping is for writing.
fn byte(map: &MmapRaw, offset: usize) -> &AtomicU8 {
    // SAFETY: both callers keep `offset` below the length of the mapping, which lives as long as the borrow. All access of
    // this program to it is atomic, and a relaxed load of a byte is allowed on memory that can only be read.
    unsafe { AtomicU8::from_ptr(map.as_mut_ptr().add(offset)) }
}

#[cfg(test)]
mod tests {
    use super::{Reader, Writer};
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * 4096).unwrap();
        let (reader, writer) = (Reader::new(&file, 3 * 4096), Writer::new(&file, 3 * 4096));
        let writer = writer.unwrap();
        reader.unwrap().touch();
        writer.touch();
        writer.store(4096, 7);
        writer.sync(4096).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4096).unwrap();
        assert_eq!(byte, [7]);
    }
}

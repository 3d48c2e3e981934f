//! Page-aligned buffers, since O_DIRECT refuses memory that is not aligned.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut};

/// Anonymous memory that begins on a page boundary, which satisfies every `mem_align` up to the size of a page.
///
/// It is a mapping and not a `Vec`: the kernel aligns it, fills it with zeros, and takes it back as soon as it is
/// dropped. Every process that is forked from its owner gets a copy.
#[derive(Debug)]
pub struct AlignedBuffer(MmapMut);

impl AlignedBuffer {
    /// Allocates a buffer of `len` bytes that are zero.
    ///
    /// # Errors
    /// ENOMEM from mmap(2).
    pub fn new(len: usize) -> io::Result<Self> {
        MmapMut::map_anon(len).map(Self)
    }

    /// Asks for huge pages (`MADV_HUGEPAGE`). A kernel without them is no error.
    pub fn prefer_huge_pages(&self) {
        #[expect(clippy::disallowed_methods, reason = "not DONTFORK")]
        let _ = self.0.advise(Advice::HugePage);
    }

    /// Asks for pages of the smallest size only (`MADV_NOHUGEPAGE`). A kernel without huge pages is no error.
    pub fn avoid_huge_pages(&self) {
        #[expect(clippy::disallowed_methods, reason = "not DONTFORK")]
        let _ = self.0.advise(Advice::NoHugePage);
    }

    /// Touches all pages and keeps them in memory with mlock(2).
    ///
    /// # Errors
    /// ENOMEM or EPERM from mlock(2).
    pub fn lock(&mut self) -> io::Result<()> {
        self.0.lock()
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

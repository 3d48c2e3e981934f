//! Page-aligned buffers for O_DIRECT.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut};

/// Anonymous memory that begins on a page, so that every `mem_align` a kernel asks for up to a page is met.
///
/// A mapping of its own rather than a `Vec`: aligned by construction, zeroed by the kernel, and given back at once. There is no
/// way to keep it from forks, so every process forked from its owner has a copy.
#[derive(Debug)]
pub struct AlignedBuffer(MmapMut);

impl AlignedBuffer {
    /// A zeroed buffer of `len` bytes.
    ///
    /// # Errors
    /// ENOMEM, as mmap(2) says it.
    pub fn new(len: usize) -> io::Result<Self> {
        MmapMut::map_anon(len).map(Self)
    }

    /// Asks for huge pages where they are to be had (`MADV_HUGEPAGE`). A kernel without them is no error.
    pub fn prefer_huge_pages(&self) {
        #[expect(clippy::disallowed_methods, reason = "not DONTFORK")]
        let _ = self.0.advise(Advice::HugePage);
    }

    /// Touches all pages and keeps them in memory: mlock(2).
    ///
    /// # Errors
    /// mlock's: ENOMEM, EPERM.
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

//! Page-aligned buffers for O_DIRECT.

use std::io;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// Anonymous memory that begins on a page, so that every `mem_align` a kernel asks for up to a page is met.
///
/// A mapping of its own rather than a `Vec`: aligned by construction, zeroed by the kernel, and given back at once.
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

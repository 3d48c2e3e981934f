//! `read`: a bystander that needs a block from the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Probe, Setup, nameless};
use crate::report::quote::cannot;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::set_direct;

const BLOCK: usize = 4096;

/// Blocks to choose from: 16 MiB, so that neighbours are rarely read one after the other and the file is made in a second
/// on the slowest disk.
const BLOCKS: u64 = 4096;

struct Read {
    file: File,
    dir: PathBuf,
    block: AlignedBuffer,
    state: u64,
}

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Probe>, String> {
    let dir = setup.on.clone().ok_or("no directory to read from")?;
    let said = |what: &str, e: std::io::Error| cannot(&format!("{what} in"), &dir, &e);
    let file = nameless(&dir)?;
    let mut block = AlignedBuffer::new(BLOCK).map_err(|e| said("have a buffer to read", e))?;
    block.fill(b'.');
    for n in 0..BLOCKS {
        file.write_all_at(&block, n * BLOCK as u64)
            .map_err(|e| said("write", e))?;
    }
    file.sync_data().map_err(|e| said("fdatasync", e))?;
    // Advice: an O_DIRECT read drops what is cached of its range all the same.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    set_direct(&file, true).map_err(|e| said("read with O_DIRECT", e))?;
    Ok(Box::new(Read {
        file,
        dir,
        block,
        state: 1,
    }))
}

impl Read {
    /// The next block in no order that a disk could foresee: the upper bits of Knuth's MMIX generator.
    fn next(&mut self) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % BLOCKS
    }
}

impl Probe for Read {
    fn ask(&mut self) -> Result<u64, String> {
        let offset = self.next() * BLOCK as u64;
        let read = self.file.read_exact_at(&mut self.block, offset);
        read.map_err(|e| cannot("read with O_DIRECT in", &self.dir, &e))?;
        Ok(0)
    }
}

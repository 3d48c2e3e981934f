//! The probe `read`: it reads a block from the disk, as another program might.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::{Probe, ProbeSetup, create_unnamed_file};
use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::sys::buffer::AlignedBuffer;
use crate::sys::clock::MonotonicNs;
use crate::sys::file::set_direct;

const READ_BYTES: usize = 4096;

/// Number of blocks to choose from: 16 MiB, so that neighbours are rarely read one after the other and the file is
/// written in a second on the slowest disk.
const FILE_BLOCKS: u64 = 4096;

struct Read {
    file: File,
    dir: PathBuf,
    block: AlignedBuffer,
    random_state: u64,
}

pub(super) fn make(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    let dir = setup
        .directory
        .clone()
        .ok_or_else(|| unavailable("no directory to read from"))?;
    let said = |what: &str, e: std::io::Error| cannot(format!("{what} in"), &dir, e);
    let file = create_unnamed_file(&dir)?;
    let mut block = AlignedBuffer::new(READ_BYTES).map_err(|e| said("have a buffer to read", e))?;
    block.fill(b'.');
    for n in 0..FILE_BLOCKS {
        file.write_all_at(&block, n * READ_BYTES as u64)
            .map_err(|e| said("write", e))?;
    }
    file.sync_data().map_err(|e| said("fdatasync", e))?;
    // It is only advice: an O_DIRECT read drops the cached pages of its range in any case.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    set_direct(&file, true).map_err(|e| said("read with O_DIRECT", e))?;
    Ok(Box::new(Read {
        file,
        dir,
        block,
        random_state: 1,
    }))
}

impl Read {
    /// Returns the next block in an order that no disk can predict: the upper bits of Knuth's MMIX generator.
    fn next_block(&mut self) -> u64 {
        self.random_state = self
            .random_state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random_state >> 33) % FILE_BLOCKS
    }
}

impl Probe for Read {
    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        let offset = self.next_block() * READ_BYTES as u64;
        let read = self.file.read_exact_at(&mut self.block, offset);
        read.map_err(|e| cannot("read with O_DIRECT in", &self.dir, e))?;
        Ok(None)
    }
}

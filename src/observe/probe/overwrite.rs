//! The probes `overwrite` and `stream`: they write again and again to a file whose blocks exist, as a database or a circular
//! log does. Nothing is allocated and nothing is truncated.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Probe, ProbeSetup, create_unnamed_file};
use crate::observe::error::{ObserveError, cannot, unavailable};
use crate::sys::clock::MonotonicNs;

/// Bytes of a write of `overwrite`: one page, as `write` appends.
const BLOCK_BYTES: usize = 4096;

/// Bytes of the ring of `overwrite` (16 MiB): 41 s at the default period, longer than the kernel keeps a page dirty (30 s,
/// vm.dirty_expire_centisecs), so that a page is seldom dirty already.
const RING_BYTES: u64 = 16 << 20;

/// Bytes of a write of `stream` (1 MiB): ten of them a second are a writer of 10 MiB/s.
pub(super) const STREAM_BYTES: usize = 1 << 20;

/// Bytes of the ring of `stream` (64 MiB).
const STREAM_RING_BYTES: u64 = 64 << 20;

/// A file that is written from its start to its end, and from its start again.
struct Ring {
    file: File,
    dir: PathBuf,
    block: Vec<u8>,
    offset: u64,
    bytes: u64,
}

pub(super) fn make(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    Ok(Box::new(Ring::new(setup, BLOCK_BYTES, RING_BYTES)?))
}

pub(super) fn make_stream(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    Ok(Box::new(Ring::new(setup, STREAM_BYTES, STREAM_RING_BYTES)?))
}

impl Ring {
    /// Creates the file and writes all of it, so that its blocks exist and are on the disk.
    fn new(setup: &ProbeSetup, block: usize, bytes: u64) -> Result<Self, ObserveError> {
        let dir = setup.directory.clone();
        let dir = dir.ok_or_else(|| unavailable("no directory to write in"))?;
        let mut ring = Self {
            file: create_unnamed_file(&dir)?,
            block: vec![b'.'; block],
            offset: 0,
            bytes,
            dir,
        };
        for _ in 0..bytes / block as u64 {
            ring.write_next()?;
        }
        let synced = ring.file.sync_all();
        synced.map_err(|e| failed("fsync a file", &ring.dir, e))?;
        Ok(ring)
    }

    fn write_next(&mut self) -> Result<(), ObserveError> {
        let written = self.file.write_all_at(&self.block, self.offset);
        written.map_err(|e| failed("write", &self.dir, e))?;
        self.offset = (self.offset + self.block.len() as u64) % self.bytes;
        Ok(())
    }
}

fn failed(what: &str, dir: &Path, error: std::io::Error) -> ObserveError {
    cannot(format!("{what} in"), dir, error)
}

impl Probe for Ring {
    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        self.write_next()?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_file_neither_grows_nor_allocates() {
        let setup = ProbeSetup {
            directory: Some("/dev/shm".into()),
            ..ProbeSetup::default()
        };
        let mut ring = Ring::new(&setup, BLOCK_BYTES, 10 * BLOCK_BYTES as u64).unwrap();
        let size = |ring: &Ring| {
            let meta = ring.file.metadata().unwrap();
            (meta.len(), meta.blocks())
        };
        let before = size(&ring);
        assert_eq!((before.0, ring.offset), (10 * BLOCK_BYTES as u64, 0));
        for _ in 0..25 {
            ring.run_once().unwrap();
        }
        assert_eq!((size(&ring), ring.offset), (before, 5 * BLOCK_BYTES as u64));
    }
}

//! Cuts of the power, from the record of a disk: what it holds at a moment, when what was not flushed may be lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::nbd_server::{DiskLogEntry, LoggedOperation};
use crate::seeded_rng::SeededRng;

/// What a disk loses or keeps: no sector of this size is torn.
const SECTOR: usize = 4096;

/// Of an image, written where it is not zero.
const IMAGE_BLOCK_BYTES: usize = 64 << 10;

/// A cut: `at` entries of the record were done, and of the sectors that were not flushed so many in sixteen survive.
#[derive(Debug, Clone)]
pub(crate) struct PowerCut {
    pub(crate) at: usize,
    pub(crate) survive: u64,
    pub(crate) dice: SeededRng,
}

/// A disk on its way through a record. Only forwards.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    log: &'a [DiskLogEntry],
    export: usize,
    /// What no cut can take any more.
    durable: Vec<u8>,
    /// Entries that are durable.
    flushed: usize,
}

impl<'a> Replay<'a> {
    /// Of the disk `export`, which began as `base`.
    pub(crate) fn new(log: &'a [DiskLogEntry], export: usize, base: Vec<u8>) -> Self {
        Self {
            log,
            export,
            durable: base,
            flushed: 0,
        }
    }

    /// Writes what the disk holds after the cut, sparsely.
    ///
    /// # Errors
    /// Those of writing the image.
    pub(crate) fn write(&mut self, cut: &PowerCut, file: &File) -> io::Result<()> {
        self.advance(cut.at);
        file.set_len(0)?;
        file.set_len(self.durable.len() as u64)?;
        for (n, piece) in self.durable.chunks(IMAGE_BLOCK_BYTES).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(piece, (n * IMAGE_BLOCK_BYTES) as u64)?;
            }
        }
        let mut dice = cut.dice.clone();
        for entry in &self.log[self.flushed..cut.at] {
            if let Some((offset, bytes, forced)) = self.write_of(entry) {
                survivors(offset, bytes, |at, sector| {
                    if forced || dice.bits() % 16 < cut.survive {
                        file.write_all_at(sector, at)?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Makes durable what the last flush before `at` has made so.
    fn advance(&mut self, at: usize) {
        let own = |entry: &DiskLogEntry| {
            entry.export == self.export && matches!(entry.what, LoggedOperation::Flush)
        };
        let Some(last) = self.log[self.flushed..at].iter().rposition(own) else {
            return;
        };
        let end = self.flushed + last + 1;
        for entry in &self.log[self.flushed..end] {
            if let Some((offset, bytes, _)) = self.write_of(entry) {
                let start = offset as usize;
                self.durable[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
        self.flushed = end;
    }

    fn write_of(&self, entry: &'a DiskLogEntry) -> Option<(u64, &'a [u8], bool)> {
        match &entry.what {
            LoggedOperation::Write {
                offset,
                bytes,
                forced,
            } if entry.export == self.export => Some((*offset, bytes, *forced)),
            _ => None,
        }
    }
}

/// A write in the sectors that it touches.
fn survivors(
    offset: u64,
    bytes: &[u8],
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let within = SECTOR - (at as usize % SECTOR);
        let (sector, others) = rest.split_at(within.min(rest.len()));
        each(at, sector)?;
        at += sector.len() as u64;
        rest = others;
    }
    Ok(())
}

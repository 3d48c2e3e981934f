//! Cuts of the power, from the record of a disk: what it holds at a moment, when what was not flushed may be lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::nbd_server::{DiskLogEntry, LoggedOperation};

/// What a disk loses or keeps: no sector of this size is torn.
const SECTOR: usize = 4096;

/// Of an image, written where it is not zero.
const IMAGE_BLOCK_BYTES: usize = 64 << 10;

/// splitmix64 (Steele, Lea, Flood 2014): a cut that finds something can be made again from its seed.
#[derive(Debug, Clone)]
pub(crate) struct SeededRng(pub(crate) u64);

impl SeededRng {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
}

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
                    if forced || dice.roll() % 16 < cut.survive {
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

//! `fork`: a child that exits at once, and is reaped.

use std::sync::atomic::Ordering;

use memmap2::MmapMut;

use super::{Probe, Setup};
use crate::sys::process::fork_once;
use crate::sys::residency::page_size;
use crate::sys::shared::SharedWords;
use crate::sys::words::reason;

struct Fork {
    /// Where the child leaves the time of its first instruction.
    first: SharedWords,
    /// What fork has to copy the page tables of.
    _heap: Option<MmapMut>,
}

pub(super) fn make(setup: &Setup) -> Result<Box<dyn Probe>, String> {
    let first = SharedWords::new(1).map_err(|e| format!("cannot share memory: {}", reason(&e)))?;
    let heap = match setup.rss {
        0 => None,
        bytes => {
            let mut heap = MmapMut::map_anon(bytes)
                .map_err(|e| format!("cannot have a heap of {bytes} bytes: {}", reason(&e)))?;
            touch(&mut heap);
            Some(heap)
        }
    };
    Ok(Box::new(Fork { first, _heap: heap }))
}

/// Writes to each page.
pub(super) fn touch(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(page_size() as usize) {
        *byte = 1;
    }
}

impl Probe for Fork {
    fn ask(&mut self) -> Result<u64, String> {
        fork_once(self.first.word(0)).map_err(|e| format!("cannot fork: {}", reason(&e)))?;
        Ok(self.first[0].load(Ordering::Acquire))
    }
}

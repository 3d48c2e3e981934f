//! The probe `fork`: it forks a child that exits at once, and reaps it.

use std::sync::atomic::Ordering;

use memmap2::MmapMut;

use super::{Probe, ProbeSetup};
use crate::observe::error::{ObserveError, failed};
use crate::sys::clock::MonotonicNs;
use crate::sys::process::fork_once;
use crate::sys::residency::page_size;
use crate::sys::shared_memory::SharedWords;

struct Fork {
    /// Memory in which the child stores the time of its first instruction.
    child_start: SharedWords,
    /// Memory whose page tables fork must copy.
    _heap: Option<MmapMut>,
}

pub(super) fn make(setup: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    let first = SharedWords::new(1).map_err(|e| failed("share memory", e))?;
    let heap = match setup.heap_bytes {
        0 => None,
        bytes => {
            let mut heap = MmapMut::map_anon(bytes)
                .map_err(|e| failed(format!("have a heap of {bytes} bytes"), e))?;
            touch_pages(&mut heap);
            Some(heap)
        }
    };
    Ok(Box::new(Fork {
        child_start: first,
        _heap: heap,
    }))
}

/// Writes to each page of `memory`.
pub(super) fn touch_pages(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(page_size() as usize) {
        *byte = 1;
    }
}

impl Probe for Fork {
    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        fork_once(self.child_start.word(0)).map_err(|e| failed("fork", e))?;
        let start = self.child_start[0].load(Ordering::Acquire);
        Ok((start != 0).then_some(MonotonicNs::from_nanos(start)))
    }
}

//! The probe `touch`: it maps anonymous memory and writes to each page.

use memmap2::MmapMut;

use super::fork::touch_pages;
use super::{Probe, ProbeSetup};
use crate::observe::error::{ObserveError, failed};
use crate::sys::clock::MonotonicNs;

/// Bytes that are written: 512 pages of 4 KiB, or one huge page if the machine uses those for all memory, like the
/// first allocations of a thread.
const TOUCHED_BYTES: usize = 2 << 20;

struct PageFault {
    /// The mapping, which is kept until the time is taken, since unmapping is not measured.
    mapping: Option<MmapMut>,
}

pub(super) fn make(_: &ProbeSetup) -> Result<Box<dyn Probe>, ObserveError> {
    Ok(Box::new(PageFault { mapping: None }))
}

impl Probe for PageFault {
    fn prepare(&mut self) -> Result<bool, ObserveError> {
        self.mapping = None;
        Ok(false)
    }

    fn run_once(&mut self) -> Result<Option<MonotonicNs>, ObserveError> {
        let mut memory = MmapMut::map_anon(TOUCHED_BYTES).map_err(|e| failed("map memory", e))?;
        touch_pages(&mut memory);
        self.mapping = Some(memory);
        Ok(None)
    }
}

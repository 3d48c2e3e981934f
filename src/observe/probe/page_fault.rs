//! `touch`: anonymous memory, mapped and written to, page by page.

use memmap2::MmapMut;

use super::fork::touch_pages;
use super::{Probe, ProbeSetup};
use crate::observe::error::{ObserveError, failed};

/// 512 pages of 4 KiB, or one huge page where the machine gives those to everyone: what a thread's first allocations are.
const TOUCHED_BYTES: usize = 2 << 20;

struct PageFault {
    /// Kept until the answer is timed: giving back is not asked about.
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

    fn run_once(&mut self) -> Result<u64, ObserveError> {
        let mut memory = MmapMut::map_anon(TOUCHED_BYTES).map_err(|e| failed("map memory", e))?;
        touch_pages(&mut memory);
        self.mapping = Some(memory);
        Ok(0)
    }
}

//! `touch`: anonymous memory, mapped and written to, page by page.

use memmap2::MmapMut;

use super::fork::touch;
use super::{Probe, Setup};
use crate::sys::words::reason;

/// 512 pages of 4 KiB, or one huge page where the machine gives those to everyone: what a thread's first allocations are.
const BYTES: usize = 2 << 20;

struct Touch {
    /// Kept until the answer is timed: giving back is not asked about.
    held: Option<MmapMut>,
}

pub(super) fn make(_: &Setup) -> Result<Box<dyn Probe>, String> {
    Ok(Box::new(Touch { held: None }))
}

impl Probe for Touch {
    fn prepare(&mut self) -> Result<bool, String> {
        self.held = None;
        Ok(false)
    }

    fn ask(&mut self) -> Result<u64, String> {
        let mut memory =
            MmapMut::map_anon(BYTES).map_err(|e| format!("cannot map memory: {}", reason(&e)))?;
        touch(&mut memory);
        self.held = Some(memory);
        Ok(0)
    }
}

//! The state of the free memory before a run, as a factor of a comparison: pages that were in use a moment ago (warm), or
//! pages that may have gone back to the hypervisor, which must provide them again at the first touch (cold).

use std::time::{Duration, Instant};

use memmap2::MmapMut;

use super::super::cli::compare::MemoryArg;
use super::background_work::ShouldStop;
use crate::forklat::error::{ForklatError, failed};
use crate::report::units::format_bytes;
use crate::sys::residency::page_size;

/// Bytes that are mapped at once (4 MiB). To unmap them takes 0.3 ms of CPU time.
const CHUNK_BYTES: u64 = 4 << 20;

/// Bytes that are touched beyond those of a copy in memory and in the page cache: what else a run allocates.
const EXTRA_BYTES: u64 = 256 << 20;

/// Time in which a guest reports its free pages, 2 s after they were freed (`PAGE_REPORTING_DELAY` of
/// mm/page_reporting.c), and a second for the work.
const REPORTING_TIME: Duration = Duration::from_secs(3);

/// Interval between two checks whether to give up.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// The state of the free memory before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryState {
    /// The pages that the run is given first were in use a moment ago.
    Warm,
    /// Free pages were left alone for so long that a guest has reported them to its hypervisor.
    Cold,
}

impl MemoryState {
    /// Returns the states that are compared, none if memory is left as it is.
    pub(super) fn chosen(argument: Option<MemoryArg>) -> &'static [Self] {
        match argument {
            None => &[],
            Some(MemoryArg::Warm) => &[Self::Warm],
            Some(MemoryArg::Cold) => &[Self::Cold],
            Some(MemoryArg::Both) => &[Self::Warm, Self::Cold],
        }
    }

    /// Returns the word for names of columns and for reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }

    /// Brings free memory into this state, for a copy of `size` bytes of which `free` bytes of memory are free.
    ///
    /// # Errors
    /// No memory can be mapped.
    pub(super) fn prepare(
        self,
        size: u64,
        free: u64,
        stop: ShouldStop<'_>,
    ) -> Result<(), ForklatError> {
        match self {
            Self::Warm => touch(bytes_to_touch(size, free), stop),
            Self::Cold => {
                let started = Instant::now();
                while started.elapsed() < REPORTING_TIME && !stop() {
                    std::thread::sleep(STOP_INTERVAL);
                }
                Ok(())
            }
        }
    }
}

/// Returns how much is touched: what a copy of `size` bytes needs twice, and at most half of the free memory, so that nobody
/// is short of it.
fn bytes_to_touch(size: u64, free: u64) -> u64 {
    (2 * size + EXTRA_BYTES).min(free / 2)
}

/// Writes to fresh pages and frees them. The kernel gives those that were freed last to the next who asks.
fn touch(bytes: u64, stop: ShouldStop<'_>) -> Result<(), ForklatError> {
    let mut held = Vec::new();
    for _ in 0..bytes / CHUNK_BYTES {
        if stop() {
            break;
        }
        let chunk = MmapMut::map_anon(CHUNK_BYTES as usize);
        let mut chunk = chunk.map_err(|e| failed(format!("touch {}", format_bytes(bytes)), e))?;
        for byte in chunk.iter_mut().step_by(page_size() as usize) {
            *byte = 1;
        }
        held.push(chunk);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_half_of_the_free_memory_is_touched() {
        assert_eq!(bytes_to_touch(100 << 20, 8 << 30), 456 << 20);
        assert_eq!(bytes_to_touch(100 << 20, 300 << 20), 150 << 20);
        touch(2 * CHUNK_BYTES, &|| false).unwrap();
        touch(u64::MAX, &|| true).unwrap();
    }

    #[test]
    fn both_states_are_two_columns() {
        let names = |argument| {
            let states = MemoryState::chosen(argument).iter();
            states.map(|state| state.name()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), [""; 0]);
        assert_eq!(names(Some(MemoryArg::Cold)), ["cold"]);
        assert_eq!(names(Some(MemoryArg::Both)), ["warm", "cold"]);
    }
}

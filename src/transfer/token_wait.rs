//! Waiting at the pacing point: before each chunk, in slices, so that a signal is heard and progress told meanwhile.

use std::time::Duration;

use super::error::Error;
use super::rate_limit::RateLimiter;
use crate::sys::clock::MonotonicNs;

/// Longest wait between two checks for signals and progress.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How many chunks may be on their way through the page cache: with fewer the device would idle between two of them.
const MAX_DIRTY_CHUNKS: u64 = 4;

/// Waits until some of `bytes` may be moved: all, or a chunk, of whole units, where that is less by then. How many. Calls
/// `report` at least once.
///
/// # Errors
/// What `report` says.
pub(super) fn wait_for_tokens(
    pace: Option<&RateLimiter>,
    bytes: u64,
    unit: u64,
    mut report: impl FnMut() -> Result<(), Error>,
) -> Result<u64, Error> {
    report()?;
    let Some(pace) = pace else { return Ok(bytes) };
    let turn = pace.line_up();
    loop {
        let piece = |chunk: usize| bytes.min((chunk as u64).max(unit));
        if let Some(taken) = turn.wait_until(piece, MonotonicNs::now().after(CHECK_INTERVAL)) {
            return Ok(taken);
        }
        report()?;
    }
}

/// Waits until all of `bytes` may be moved, a chunk after the other.
///
/// # Errors
/// What `report` says.
pub(super) fn wait_for_all_tokens(
    pace: Option<&RateLimiter>,
    bytes: u64,
    mut report: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    let mut admitted = wait_for_tokens(pace, bytes, 1, &mut report)?;
    while admitted < bytes {
        admitted += wait_for_tokens(pace, bytes - admitted, 1, &mut report)?;
    }
    Ok(())
}

/// `most`, or less where a chunk is to be smaller; whole units in any case.
pub(super) fn limit_chunk(pace: Option<&RateLimiter>, most: usize, unit: u64) -> usize {
    pace.map_or(most, |pace| most.min(pace.chunk().max(unit as usize)))
}

/// Bytes that may be on their way through the page cache: `most`, or less where little shall be queued before a bystander.
pub(super) fn limit_dirty_bytes(pace: Option<&RateLimiter>, most: u64) -> u64 {
    pace.map_or(most, |pace| {
        most.min(MAX_DIRTY_CHUNKS * pace.chunk() as u64)
    })
}

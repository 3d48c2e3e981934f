//! Waits for the rate limiter before each chunk, in short periods, so that signals and progress are handled meanwhile.

use std::time::Duration;

use super::error::Error;
use super::rate_limit::RateLimiter;
use crate::sys::clock::MonotonicNs;

/// Longest wait between two checks for signals and progress.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Number of chunks that may be in flight through the page cache: with fewer the device would idle between two of them.
const MAX_DIRTY_CHUNKS: u64 = 4;

/// Waits until some of `bytes` may be moved: all, or a chunk of whole units, if that is less by then. Returns how many.
/// Calls `report` at least once.
///
/// # Errors
/// The error of `report`.
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
        let piece = |chunk: usize| bytes.min((chunk as u64 / unit * unit).max(unit));
        if let Some(taken) = turn.wait_until(piece, MonotonicNs::now().after(CHECK_INTERVAL)) {
            return Ok(taken);
        }
        report()?;
    }
}

/// Waits until all of `bytes` may be moved, one chunk after the other.
///
/// # Errors
/// The error of `report`.
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

/// Returns `most`, or less if chunks are to be smaller; whole units in any case.
pub(super) fn limit_chunk(pace: Option<&RateLimiter>, most: usize, unit: u64) -> usize {
    pace.map_or(most, |pace| {
        let unit = unit as usize;
        most.min((pace.chunk() / unit * unit).max(unit))
    })
}

/// Returns how many bytes may be in flight through the page cache: `most`, or less if other programs shall not wait
/// behind many.
pub(super) fn limit_dirty_bytes(pace: Option<&RateLimiter>, most: u64) -> u64 {
    pace.map_or(most, |pace| {
        most.min(MAX_DIRTY_CHUNKS * pace.chunk() as u64)
    })
}

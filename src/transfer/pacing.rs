//! Waiting at the pacing point: before each chunk, in slices, so that a signal is heard and progress told meanwhile.

use super::error::Error;
use super::pace::Pacer;
use crate::sys::clock::{now, sleep_until};

/// How long nobody is listened to at most, in nanoseconds: as long as a person takes for at once.
const SLICE: u64 = 50_000_000;

/// A rate that was unknown or has changed is looked at as soon as this.
const LOOK: u64 = 10_000_000;

/// How many chunks may be on their way through the page cache: with fewer the device would idle between two of them.
const CHUNKS_BEHIND: u64 = 4;

/// Waits until `bytes` may be moved. Calls `report` at least once.
///
/// # Errors
/// What `report` says.
pub(super) fn admit(
    pace: Option<&Pacer>,
    bytes: u64,
    mut report: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    report()?;
    let Some(pace) = pace else { return Ok(()) };
    let mut told = now();
    while let Err(until) = pace.take(bytes) {
        let before = now();
        sleep_until(until.min(before + LOOK));
        let after = now();
        pace.waited(after - before);
        if after - told >= SLICE {
            report()?;
            told = after;
        }
    }
    Ok(())
}

/// `most`, or less where a chunk is to be smaller; whole units in any case.
pub(super) fn piece(pace: Option<&Pacer>, most: usize, unit: u64) -> usize {
    pace.map_or(most, |pace| most.min(pace.chunk().max(unit as usize)))
}

/// Bytes that may be on their way through the page cache: `most`, or less where little shall be queued before a bystander.
pub(super) fn behind(pace: Option<&Pacer>, most: u64) -> u64 {
    pace.map_or(most, |pace| most.min(CHUNKS_BEHIND * pace.chunk() as u64))
}

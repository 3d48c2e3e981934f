//! Hashes a source after its bytes are copied, on the copying thread.

use super::algorithm::{Digest, DigestAlgorithm};
use super::source_hash::{HashInput, HashedSource, hash_source};
use crate::transfer::copy_job::CopyJob;
use crate::transfer::error::Error;
use crate::transfer::event::CopyListener;
use crate::transfer::rate_limit::RateLimiter;
use crate::transfer::stop_check::{StopCheck, check_interrupted, check_stop};
use crate::transfer::token_wait;

/// Largest size in bytes of a file that is hashed after its copy. Starting a thread takes about 50 us, and hashing this
/// much takes 0.5 to 2 ms, in which the copy of so little is done anyway.
pub(in crate::transfer) const MAX_HASHED_AFTER: u64 = 1 << 20;

/// Hashes a source whose bytes are at the destination. If `is_throttled`, it waits for the rate limiter before each
/// piece that is read, since no byte of the file was charged before.
///
/// # Errors
/// Errors of reading, and [`Error::Interrupted`].
pub(in crate::transfer) fn hash_after(
    job: &CopyJob<'_>,
    algorithm: DigestAlgorithm,
    is_throttled: bool,
    listener: &mut dyn CopyListener,
) -> Result<HashedSource, Error> {
    let pace = job.pace.filter(|_| is_throttled);
    let mut check = || check_interrupted(listener);
    hash_checked(HashInput::of(job), algorithm, pace, &mut check).map(HashedSource::from)
}

/// Hashes a source at the rate that a limiter allows, if there is one.
///
/// # Errors
/// Errors of reading, and [`Error::Interrupted`].
pub(in crate::transfer) fn hash_at_rate(
    input: HashInput<'_>,
    algorithm: DigestAlgorithm,
    pace: Option<&RateLimiter>,
    listener: &mut dyn CopyListener,
) -> Result<Digest, Error> {
    hash_checked(input, algorithm, pace, &mut || check_stop(listener))
}

/// Hashes a source at the rate of `pace`, and asks `check` before each piece.
fn hash_checked(
    input: HashInput<'_>,
    algorithm: DigestAlgorithm,
    pace: Option<&RateLimiter>,
    check: &mut StopCheck<'_>,
) -> Result<Digest, Error> {
    hash_source(input, algorithm, &mut |piece| {
        if piece.data == 0 {
            return check();
        }
        token_wait::wait_for_all_tokens(pace, piece.data, &mut *check)?;
        if let Some(pace) = pace {
            pace.record_moved(piece.data, piece.data);
        }
        Ok(())
    })
}

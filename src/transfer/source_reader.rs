//! Reads a source into an aligned buffer, past the page cache if the plan says so.

use std::fs::File;

use nix::sys::uio::pread;

use super::align::Align;
use super::errno_class::{Endpoint, EngineError, retry};
use crate::sys::file::set_direct;
use crate::sys::strerror::strerror;

/// Reads the `len` bytes at `at` into the front of `buffer`; fewer only at the end of the source.
///
/// With `direct` it reads with O_DIRECT, in whole units of that alignment if the buffer has space for them; a refusal
/// is recorded and clears `direct` for good.
///
/// # Errors
/// [`EngineError::SourceEnd`] if there is no byte; otherwise errors of reading.
pub(super) fn read_at(
    source: &File,
    buffer: &mut [u8],
    len: usize,
    at: u64,
    direct: &mut Option<Align>,
    notes: &mut Vec<String>,
) -> Result<usize, EngineError> {
    if let Some(align) = *direct {
        let whole = align.up(len as u64) as usize;
        if whole <= buffer.len() {
            let read = set_direct(source, true)
                .map_err(|e| EngineError::new(Endpoint::Source, e))
                .and_then(|()| fill(source, &mut buffer[..whole], at));
            match read {
                Err(EngineError::Unsupported(_, e)) => {
                    *direct = None;
                    notes.push(format!(
                        "source refuses O_DIRECT ({}): it is read through the page cache",
                        strerror(&e)
                    ));
                }
                other => return other.map(|n| n.min(len)),
            }
        }
    }
    // Another read may have left the flag set. If it cannot be cleared, the read itself fails.
    let _ = set_direct(source, false);
    fill(source, &mut buffer[..len], at)
}

fn fill(source: &File, buffer: &mut [u8], at: u64) -> Result<usize, EngineError> {
    let mut done = 0;
    while done < buffer.len() {
        let offset = (at + done as u64).cast_signed();
        let rest = &mut buffer[done..];
        match retry(|| pread(source, rest, offset)) {
            Ok(0) => break,
            Ok(n) => done += n,
            // The next call reports it, if it lasts.
            Err(_) if done > 0 => break,
            Err(e) => return Err(EngineError::new(Endpoint::Source, e)),
        }
    }
    if done == 0 {
        return Err(EngineError::SourceEnd);
    }
    Ok(done)
}

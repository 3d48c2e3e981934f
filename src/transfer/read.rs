//! Reading a source into an aligned buffer, past the cache where that was found good.

use std::fs::File;

use nix::sys::uio::pread;

use super::fault::{Fault, Side, retry};
use crate::sys::file::set_direct;
use crate::sys::words::reason;

/// Reads as much of `buffer` as the source has at `at`, in one go or more: short only at the end of the source.
///
/// With `direct` O_DIRECT is set for the reads; a refusal is noted and clears it, for good.
///
/// # Errors
/// [`Fault::SourceEnd`] when not a byte is there, else read errors.
pub(super) fn at(
    source: &File,
    buffer: &mut [u8],
    at: u64,
    direct: &mut bool,
    notes: &mut Vec<String>,
) -> Result<usize, Fault> {
    if *direct {
        match set_direct(source, true)
            .map_err(|e| Fault::new(Side::Source, e))
            .and_then(|()| fill(source, buffer, at))
        {
            Err(Fault::Unsupported(_, e)) => {
                *direct = false;
                notes.push(format!(
                    "source refuses O_DIRECT ({}): read through the page cache",
                    reason(&e)
                ));
                // A flag that could not be set is not there to be taken away.
                let _ = set_direct(source, false);
            }
            other => return other,
        }
    }
    fill(source, buffer, at)
}

fn fill(source: &File, buffer: &mut [u8], at: u64) -> Result<usize, Fault> {
    let mut done = 0;
    while done < buffer.len() {
        let offset = (at + done as u64).cast_signed();
        let rest = &mut buffer[done..];
        match retry(|| pread(source, rest, offset)) {
            Ok(0) => break,
            Ok(n) => done += n,
            // The next call reports it, if it lasts.
            Err(_) if done > 0 => break,
            Err(e) => return Err(Fault::new(Side::Source, e)),
        }
    }
    if done == 0 {
        return Err(Fault::SourceEnd);
    }
    Ok(done)
}

//! The check, after the first direct write, whether O_DIRECT really bypasses the page cache.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::super::dest_writer::WriteMode;
use super::super::errno_class::{Endpoint, EngineError};
use super::super::plan::DirectPolicy;
use super::FileCopy;
use crate::sys::residency;
use crate::sys::strerror::strerror;

/// Makes sure, after the first direct write of `n` bytes, that O_DIRECT is real where nothing told it before.
pub(super) fn verify_direct(run: &mut FileCopy<'_>, n: usize) -> Result<(), EngineError> {
    let (pos, dest) = (run.cursor.pos, &mut run.endpoints.dest);
    if dest.is_direct_verified || dest.write_mode() != WriteMode::Direct || n == 0 {
        return Ok(());
    }
    dest.is_direct_verified = true;
    match cached(dest.file, pos, n as u64) {
        Ok(left) if left * 2 > n as u64 => {
            dest.flush_and_drop_range(pos, n as u64)
                .map_err(|e| EngineError::Fatal(Endpoint::Dest, e))?;
            // The rows behind this one that write in the same way are no better.
            run.engines.retire_other_direct_rows();
            Err(refuse_direct(
                "O_DIRECT is accepted, but what it writes stays in the page cache",
            ))
        }
        Ok(_) => Ok(()),
        Err(e) if run.plan.options.direct == DirectPolicy::Always => Err(refuse_direct(format!(
            "cannot check whether O_DIRECT bypasses the page cache here, so it is not used: {}",
            strerror(&e)
        ))),
        Err(e) => {
            run.endpoints.notes.push(format!(
                "cannot check whether O_DIRECT bypasses the page cache here: {}",
                strerror(&e)
            ));
            Ok(())
        }
    }
}

fn refuse_direct(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
    EngineError::Unsupported(Endpoint::Dest, io::Error::other(why))
}

/// Returns the bytes of a range of the destination that are in the page cache. It opens a descriptor of its own,
/// because mincore needs one that is open for reading.
fn cached(dest: &File, at: u64, len: u64) -> io::Result<u64> {
    let again = File::open(format!("/proc/self/fd/{}", dest.as_raw_fd()))?;
    residency::resident_bytes(&again, at, len)
}

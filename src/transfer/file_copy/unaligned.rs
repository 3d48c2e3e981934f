//! Writes that no engine makes: bytes from a buffer, the padded tail, and the check whether O_DIRECT really bypasses
//! the cache.

use std::fs::File;
use std::io;

use super::super::dest_writer::{WriteMode, file_size_limit};
use super::super::errno_class::{Endpoint, EngineError};
use super::super::plan::DirectPolicy;
use super::super::source_reader;
use super::FileCopy;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::residency;
use crate::sys::strerror::strerror;

/// Writes bytes of ours, and returns how many; outside of the direct mode by one call, which may write fewer. In the direct
/// mode a piece that is no whole unit ends the file: it is padded, and the file gets its size at the end.
pub(super) fn write_padded(
    run: &mut FileCopy<'_>,
    data: &[u8],
    len: usize,
) -> Result<usize, EngineError> {
    let (pos, unit) = (run.cursor.pos, run.align().unit() as usize);
    let padded = len.next_multiple_of(unit);
    let dest = &mut run.endpoints.dest;
    if dest.write_mode() != WriteMode::Direct {
        return dest.write_at(&data[..len], pos);
    }
    if len.is_multiple_of(unit) {
        dest.write_all_at(&data[..len], pos)?;
    } else if dest.is_truncatable && pos + padded as u64 <= file_size_limit() {
        dest.write_all_at(&data[..padded], pos)?;
    } else {
        // A device has no size to cut to: what is behind must stay. Nor may padding pass the file size limit, nor stay.
        let body = len - len % unit;
        dest.write_all_at(&data[..body], pos)?;
        dest.set_write_mode(WriteMode::Cached)?;
        dest.write_all_at(&data[body..len], pos + body as u64)?;
        dest.set_write_mode(WriteMode::Direct)?;
    }
    Ok(len)
}

/// Writes the last bytes that are no whole unit, read without the map.
pub(super) fn write_tail(run: &mut FileCopy<'_>, len: usize) -> Result<usize, EngineError> {
    let (pos, unit) = (run.cursor.pos, run.align().unit() as usize);
    let mut buffer =
        AlignedBuffer::new(unit).map_err(|e| EngineError::Fatal(Endpoint::Source, e))?;
    let (source, notes) = (run.endpoints.source, &mut run.endpoints.notes);
    let mut direct = run.plan.job.source_info.read_direct;
    let n = source_reader::read_at(source, &mut buffer, unit, pos, &mut direct, notes)?;
    if n < len {
        return Err(EngineError::SourceEnd);
    }
    // A source that has grown since gives more than is its share.
    buffer[len..].fill(0);
    write_padded(run, &buffer, len)
}

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
    use std::os::fd::AsRawFd;
    let again = File::open(format!("/proc/self/fd/{}", dest.as_raw_fd()))?;
    residency::resident_bytes(&again, at, len)
}

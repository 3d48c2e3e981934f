//! Writes that no engine makes: bytes from a buffer, and the padded tail.

use super::super::dest_writer::{WriteMode, file_size_limit};
use super::super::errno_class::{Endpoint, EngineError};
use super::super::source_reader;
use super::FileCopy;
use crate::sys::buffer::AlignedBuffer;

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

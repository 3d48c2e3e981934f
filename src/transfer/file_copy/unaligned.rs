//! Writes that no engine makes: bytes from a buffer, the padded tail, and the check whether O_DIRECT really bypasses
//! the cache.

use std::fs::File;
use std::io;

use super::FileCopy;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::residency;
use crate::sys::strerror::strerror;
use crate::transfer::dest_writer::{WriteMode, file_size_limit};
use crate::transfer::errno_class::{Endpoint, EngineError};
use crate::transfer::plan::DirectPolicy;
use crate::transfer::source_reader;

impl FileCopy<'_> {
    /// Writes bytes from a buffer. In direct mode a piece that is not a whole unit ends the file: it is padded, and the
    /// file is truncated to its size at the end.
    pub(in crate::transfer) fn write_padded(
        &mut self,
        data: &[u8],
        len: usize,
    ) -> Result<usize, EngineError> {
        let unit = self.plan.dest.align.unit() as usize;
        let padded = len.next_multiple_of(unit);
        let sink = &mut self.endpoints.dest;
        if sink.write_mode() != WriteMode::Direct || len.is_multiple_of(unit) {
            sink.write_all_at(&data[..len], self.pos)?;
        } else if self.is_truncatable && self.pos + padded as u64 <= file_size_limit() {
            sink.write_all_at(&data[..padded], self.pos)?;
        } else {
            // A device has no size to cut to: what is behind must stay. Nor may padding pass the file size limit, nor stay.
            let body = len - len % unit;
            sink.write_all_at(&data[..body], self.pos)?;
            sink.set_write_mode(WriteMode::Cached)?;
            sink.write_all_at(&data[body..len], self.pos + body as u64)?;
            sink.set_write_mode(WriteMode::Direct)?;
        }
        Ok(len)
    }

    /// Copies the last bytes that are not a whole unit, reading them without the mapping.
    pub(in crate::transfer) fn write_tail(&mut self, len: usize) -> Result<usize, EngineError> {
        let unit = self.plan.dest.align.unit() as usize;
        let mut buffer =
            AlignedBuffer::new(unit).map_err(|e| EngineError::Fatal(Endpoint::Source, e))?;
        let (source, notes) = (self.endpoints.source, &mut self.endpoints.notes);
        let mut direct = self.plan.source.read_direct;
        let n = source_reader::read_at(source, &mut buffer, unit, self.pos, &mut direct, notes)?;
        if n < len {
            return Err(EngineError::SourceEnd);
        }
        // A source that has grown since gives more than is its share.
        buffer[len..].fill(0);
        self.write_padded(&buffer, len)
    }

    /// Checks after the first write whether O_DIRECT really bypasses the cache, if statx(2) has not confirmed it.
    pub(in crate::transfer) fn verify_direct(&mut self, n: usize) -> Result<(), EngineError> {
        if self.is_direct_verified
            || self.endpoints.dest.write_mode() != WriteMode::Direct
            || n == 0
        {
            return Ok(());
        }
        self.is_direct_verified = true;
        let sink = &self.endpoints.dest;
        match cached(sink.file, self.pos, n as u64) {
            Ok(left) if left * 2 > n as u64 => {
                sink.flush_and_drop_range(self.pos, n as u64)
                    .map_err(|e| EngineError::Fatal(Endpoint::Dest, e))?;
                // The rows behind this one that write in the same way are no better.
                let first = self.rows[0];
                self.rows
                    .retain(|row| row.write_mode != WriteMode::Direct || *row == first);
                Err(EngineError::Unsupported(
                    Endpoint::Dest,
                    io::Error::other(
                        "O_DIRECT is accepted, but what it writes stays in the page cache",
                    ),
                ))
            }
            Ok(_) => Ok(()),
            Err(e) if self.plan.options.direct == DirectPolicy::Always => {
                Err(EngineError::Unsupported(
                    Endpoint::Dest,
                    io::Error::other(format!(
                        "nothing tells whether O_DIRECT is real here: {}",
                        strerror(&e)
                    )),
                ))
            }
            Err(e) => {
                self.endpoints.notes.push(format!(
                    "cannot see whether O_DIRECT is real here: {}",
                    strerror(&e)
                ));
                Ok(())
            }
        }
    }
}

/// Returns the bytes of a range of the destination that are in the page cache. It opens a descriptor of its own,
/// because mincore needs one that is open for reading.
fn cached(dest: &File, at: u64, len: u64) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let again = File::open(format!("/proc/self/fd/{}", dest.as_raw_fd()))?;
    residency::resident_bytes(&again, at, len)
}

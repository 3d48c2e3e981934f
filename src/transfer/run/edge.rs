//! Writes that no engine makes: bytes of ours, the padded tail, and the look at whether O_DIRECT is real.

use std::fs::File;
use std::io;

use super::Run;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::residency;
use crate::sys::words::reason;
use crate::transfer::fault::{Fault, Side};
use crate::transfer::plan::DirectPolicy;
use crate::transfer::read;
use crate::transfer::sink::{Leaving, file_size_limit};

impl Run<'_> {
    /// Writes bytes of ours. In the direct way a piece that is no whole unit ends the file: it is padded, and the file
    /// gets its size at the end.
    pub(in crate::transfer) fn put(&mut self, data: &[u8], len: usize) -> Result<usize, Fault> {
        let unit = self.plan.dest.align.unit() as usize;
        let padded = len.next_multiple_of(unit);
        let sink = &mut self.pair.sink;
        if sink.leaving() != Leaving::Direct || len.is_multiple_of(unit) {
            sink.write_all_at(&data[..len], self.pos)?;
        } else if self.can_be_cut && self.pos + padded as u64 <= file_size_limit() {
            sink.write_all_at(&data[..padded], self.pos)?;
        } else {
            // A device has no size to cut to: what is behind must stay. Nor may padding pass the file size limit, nor stay.
            let body = len - len % unit;
            sink.write_all_at(&data[..body], self.pos)?;
            sink.leave_by(Leaving::Cached)?;
            sink.write_all_at(&data[body..len], self.pos + body as u64)?;
            sink.leave_by(Leaving::Direct)?;
        }
        Ok(len)
    }

    /// The last bytes that are no whole unit, read without the map.
    pub(in crate::transfer) fn tail(&mut self, len: usize) -> Result<usize, Fault> {
        let unit = self.plan.dest.align.unit() as usize;
        let mut buffer = AlignedBuffer::new(unit).map_err(|e| Fault::Fatal(Side::Source, e))?;
        let (source, notes) = (self.pair.source, &mut self.pair.notes);
        let mut direct = self.plan.source.read_direct;
        let n = read::at(source, &mut buffer, unit, self.pos, &mut direct, notes)?;
        if n < len {
            return Err(Fault::SourceEnd);
        }
        // A source that has grown since gives more than is its share.
        buffer[len..].fill(0);
        self.put(&buffer, len)
    }

    /// Where nothing told whether O_DIRECT is real, the first write does.
    pub(in crate::transfer) fn prove(&mut self, n: usize) -> Result<(), Fault> {
        if self.proven || self.pair.sink.leaving() != Leaving::Direct || n == 0 {
            return Ok(());
        }
        self.proven = true;
        let sink = &self.pair.sink;
        match cached(sink.file, self.pos, n as u64) {
            Ok(left) if left * 2 > n as u64 => {
                sink.settle(self.pos, n as u64)
                    .map_err(|e| Fault::Fatal(Side::Dest, e))?;
                // The rows behind this one that write in the same way are no better.
                let first = self.rows[0];
                self.rows
                    .retain(|row| row.leaving != Leaving::Direct || *row == first);
                Err(Fault::Unsupported(
                    Side::Dest,
                    io::Error::other(
                        "O_DIRECT is accepted, but what it writes stays in the page cache",
                    ),
                ))
            }
            Ok(_) => Ok(()),
            Err(e) if self.plan.options.direct == DirectPolicy::Always => Err(Fault::Unsupported(
                Side::Dest,
                io::Error::other(format!(
                    "nothing tells whether O_DIRECT is real here: {}",
                    reason(&e)
                )),
            )),
            Err(e) => {
                self.pair.notes.push(format!(
                    "cannot see whether O_DIRECT is real here: {}",
                    reason(&e)
                ));
                Ok(())
            }
        }
    }
}

/// Bytes of a range of the destination that are in the page cache. Asked through a descriptor of its own, because
/// mincore needs one that can read.
fn cached(dest: &File, at: u64, len: u64) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let again = File::open(format!("/proc/self/fd/{}", dest.as_raw_fd()))?;
    residency::resident_bytes(&again, at, len)
}

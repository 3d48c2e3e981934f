//! Compares a destination with its source: data with data, and holes of the source with what the destination has there.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::fdatasync;

use super::dest_reader::{DestReader, READ_BYTES};
use super::read_back::ReadBack;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::StatxInfo;
use crate::transfer::align::Align;
use crate::transfer::capabilities::SourceInfo;
use crate::transfer::copy_job::CopyJob;
use crate::transfer::drain::CopyDrain;
use crate::transfer::errno_class::{Endpoint, retry};
use crate::transfer::error::Error;
use crate::transfer::event::{CopyListener, Phase, Progress};
use crate::transfer::extent_scanner::{ExtentScanner, ScanMethod, Segment};
use crate::transfer::source_reader::read_at;
use crate::transfer::stop_check::report_progress;
use crate::transfer::token_wait;

/// Bytes of a page that is always freed as a whole.
const SMALL_PAGE: usize = 4096;

/// Brings a complete copy to the device, reads it back at the rate of the copy, and compares it with its source.
/// `started` is when the file was begun.
///
/// # Errors
/// [`Error::Different`] with the first offset; errors of syncing and of reading; [`Error::Interrupted`].
pub(in crate::transfer) fn verify(
    job: &CopyJob<'_>,
    started: Instant,
    listener: &mut dyn CopyListener,
) -> Result<ReadBack, Error> {
    retry(|| fdatasync(job.dest)).map_err(|e| Error::Io(Endpoint::Dest, e))?;
    let mut comparison = Comparison::begin(job, started, listener)?;
    // What a drain has compared before may be gone from the source.
    comparison.pos = job.drain.map_or(0, CopyDrain::verified);
    comparison.compare_size()?;
    comparison.compare_all()?;
    comparison.compare_size()?;
    let how = comparison.dest.how;
    Ok(job.drain.map_or(how.clone(), |drain| drain.read_back(how)))
}

/// Reads a range of a copy that is durable up to its end back, and compares it with its source.
///
/// # Errors
/// The same as of [`verify`].
pub(in crate::transfer) fn verify_range(
    job: &CopyJob<'_>,
    range: Range<u64>,
    listener: &mut dyn CopyListener,
) -> Result<ReadBack, Error> {
    let mut comparison = Comparison::begin(job, Instant::now(), listener)?;
    comparison.pos = range.start;
    comparison.end = range.end;
    comparison.compare_all()?;
    Ok(comparison.dest.how)
}

/// Compares the data that a drained source still has below `until` with the destination, which has all bytes up to there.
/// What is freed already is not compared.
///
/// # Errors
/// The same as of [`verify`].
pub(in crate::transfer) fn compare_left(
    job: &CopyJob<'_>,
    until: u64,
    listener: &mut dyn CopyListener,
) -> Result<(), Error> {
    let status = StatxInfo::query(job.source).map_err(read_error)?;
    let mut comparison = Comparison::begin(job, Instant::now(), listener)?;
    comparison.end = until;
    // A part of a large page that was freed may be left as zeros.
    comparison.compare_left(status.block_size > SMALL_PAGE as u64)
}

/// The state of a comparison.
struct Comparison<'a> {
    job: &'a CopyJob<'a>,
    dest: DestReader,
    /// The destination, to ask for its size and its holes.
    dest_file: Arc<File>,
    dest_finder: ScanMethod,
    /// The bytes of the source that are compared.
    source: AlignedBuffer,
    /// The alignment for reads of the source past the page cache, where those are wanted.
    direct: Option<Align>,
    listener: &'a mut dyn CopyListener,
    started: Instant,
    /// Time between the start of the file and that of the comparison.
    begun: Duration,
    /// Offset up to which both are equal.
    pos: u64,
    /// Offset up to which they are compared.
    end: u64,
}

impl<'a> Comparison<'a> {
    /// Opens the destination for reading, to compare all of it.
    fn begin(
        job: &'a CopyJob<'a>,
        started: Instant,
        listener: &'a mut dyn CopyListener,
    ) -> Result<Self, Error> {
        let dest = DestReader::open(job.dest, &job.dest_caps).map_err(Error::ReadBack)?;
        let dest_file = dest.file().try_clone().map_err(Error::ReadBack)?;
        let dest_info = SourceInfo::of(&dest_file).map_err(Error::ReadBack)?;
        Ok(Self {
            job,
            dest,
            dest_file: Arc::new(dest_file),
            dest_finder: dest_info.finder,
            source: AlignedBuffer::new(READ_BYTES).map_err(|e| Error::Io(Endpoint::Source, e))?,
            direct: job.source_info.read_direct,
            listener,
            started,
            begun: started.elapsed(),
            pos: 0,
            end: job.source_info.size,
        })
    }
}

impl Comparison<'_> {
    fn size(&self) -> u64 {
        self.job.source_info.size
    }

    fn compare_size(&self) -> Result<(), Error> {
        let now = self.dest_file.metadata().map_err(Error::ReadBack)?.len();
        if self.job.dest_caps.regular && now != self.size() {
            let at = now.min(self.size());
            return Err(Error::Different { at });
        }
        Ok(())
    }

    fn compare_all(&mut self) -> Result<(), Error> {
        let (job, align) = (self.job, self.job.dest_caps.align);
        let mut extents = ExtentScanner::new(job.source, self.end, job.source_info.finder);
        let mut asked = 0;
        while let Some(segment) = extents.next(self.pos.max(asked)).map_err(read_error)? {
            match segment {
                Segment::Data(data) => {
                    self.compare_hole(align.down(data.start))?;
                    let end = align.up(data.end).min(self.end);
                    self.compare_data(self.pos..end)?;
                    self.pos = self.pos.max(end);
                }
                Segment::Hole(end) => {
                    asked = end;
                    self.compare_hole(align.down(end))?;
                }
            }
        }
        self.compare_hole(self.end)?;
        if job.drain.is_some() {
            // Memory shows all of its data, and what is freed while it is looked for makes no hole suspect.
            return Ok(());
        }
        let suspects = extents.take_suspect_holes(|| self.report())?;
        for hole in suspects {
            self.pos = align.down(hole.start);
            self.compare_data(self.pos..align.up(hole.end).min(self.size()))?;
        }
        Ok(())
    }

    /// Compares the data of the source. Pages of zeros are passed over if `skips_zeros`.
    fn compare_left(&mut self, skips_zeros: bool) -> Result<(), Error> {
        let source = self.job.source;
        let mut extents = ExtentScanner::new(source, self.end, self.job.source_info.finder);
        while let Some(segment) = extents.next(self.pos).map_err(read_error)? {
            match segment {
                Segment::Hole(end) => self.pos = end,
                Segment::Data(data) => {
                    let end = data.end.min(self.end);
                    self.compare_left_data(data.start.max(self.pos)..end, skips_zeros)?;
                    self.pos = end;
                }
            }
            self.report()?;
        }
        Ok(())
    }

    fn compare_left_data(&mut self, range: Range<u64>, skips_zeros: bool) -> Result<(), Error> {
        let mut at = self.job.dest_caps.align.down(range.start);
        while at < range.end {
            let len = self.admit(at, range.end)?;
            let (source, buffer) = (self.job.source, &mut self.source);
            let n = read_at(source, buffer, len, at, &mut None, &mut Vec::new())
                .map_err(|e| Error::of_engine(e, source, self.job.source_info.size))?;
            let dest = self.dest.read(at, n).map_err(Error::ReadBack)?;
            let from = (range.start.saturating_sub(at) as usize).min(n);
            let found = first_left_difference(
                &self.source[from..n],
                &dest[from.min(dest.len())..],
                skips_zeros,
            );
            if let Some(offset) = found {
                let at = at + (from + offset) as u64;
                return Err(Error::Different { at });
            }
            at += n as u64;
        }
        Ok(())
    }

    /// Compares bytes of the source with those of the destination. The range begins on a unit of the destination.
    fn compare_data(&mut self, range: Range<u64>) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let len = self.admit(at, range.end)?;
            let (source, buffer) = (self.job.source, &mut self.source);
            let mut notes = Vec::new();
            let n = read_at(source, buffer, len, at, &mut self.direct, &mut notes)
                .map_err(|e| Error::of_engine(e, source, self.job.source_info.size))?;
            let dest = self.dest.read(at, n).map_err(Error::ReadBack)?;
            if let Some(offset) = first_difference(&self.source[..n], dest) {
                return Err(Error::Different {
                    at: at + offset as u64,
                });
            }
            at += n as u64;
            self.pos = self.pos.max(at);
        }
        Ok(())
    }

    /// Checks that the destination reads as zeros up to `end`, where the source has a hole. Holes there are not read.
    fn compare_hole(&mut self, end: u64) -> Result<(), Error> {
        if end <= self.pos {
            return self.report();
        }
        if !self.job.dest_caps.regular {
            return self.compare_with_zeros(self.pos..end);
        }
        let file = Arc::clone(&self.dest_file);
        let mut extents = ExtentScanner::new(&file, end, self.dest_finder);
        let align = self.job.dest_caps.align;
        let mut at = self.pos;
        while let Some(segment) = extents.next(at).map_err(Error::ReadBack)? {
            at = match segment {
                Segment::Hole(hole_end) => hole_end,
                Segment::Data(data) => {
                    let start = align.down(data.start).max(self.pos);
                    self.compare_with_zeros(start..data.end.min(end))?;
                    data.end
                }
            };
            self.pos = self.pos.max(at.min(end));
            self.report()?;
        }
        self.pos = end;
        Ok(())
    }

    fn compare_with_zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let len = self.admit(at, range.end)?;
            let dest = self.dest.read(at, len).map_err(Error::ReadBack)?;
            let first = dest.iter().position(|byte| *byte != 0);
            let first = first.or((dest.len() < len).then_some(dest.len()));
            if let Some(offset) = first {
                return Err(Error::Different {
                    at: at + offset as u64,
                });
            }
            at += len as u64;
        }
        Ok(())
    }

    /// Waits until the next piece may be read, and returns its length.
    fn admit(&mut self, at: u64, end: u64) -> Result<usize, Error> {
        let (pace, unit) = (self.job.pace, self.job.dest_caps.align.unit());
        let most = token_wait::limit_chunk(pace, READ_BYTES, unit) as u64 / unit * unit;
        let len = (end - at).min(most.max(unit));
        token_wait::wait_for_all_tokens(pace, len, || self.report())?;
        if let Some(pace) = pace {
            pace.record_moved(len, len);
        }
        Ok(len as usize)
    }

    /// Reports how far the comparison is, and fails once the listener asks to stop.
    fn report(&mut self) -> Result<(), Error> {
        let progress = Progress {
            copied: self.pos,
            size: self.job.source_info.known_size(),
            engine: "",
            elapsed: self.started.elapsed(),
            phase: Phase::Verify { begun: self.begun },
        };
        report_progress(self.listener, &progress)
    }
}

/// Returns the index of the first byte that differs, or that only one of both has.
fn first_difference(source: &[u8], dest: &[u8]) -> Option<usize> {
    if source == dest {
        return None;
    }
    let both = source.iter().zip(dest);
    let first = both.into_iter().position(|(source, dest)| source != dest);
    Some(first.unwrap_or_else(|| source.len().min(dest.len())))
}

/// Does the same page by page, and passes over pages of the source that are zeros if `skips_zeros`.
fn first_left_difference(source: &[u8], dest: &[u8], skips_zeros: bool) -> Option<usize> {
    if !skips_zeros {
        return first_difference(source, dest);
    }
    let pages = source.chunks(SMALL_PAGE).enumerate();
    pages
        .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
        .find_map(|(n, page)| {
            let start = n * SMALL_PAGE;
            let there = dest.get(start..).unwrap_or_default();
            let there = &there[..there.len().min(page.len())];
            first_difference(page, there).map(|offset| start + offset)
        })
}

fn read_error(error: io::Error) -> Error {
    Error::Io(Endpoint::Source, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"abd"), Some(2));
        assert_eq!(first_difference(b"abc", b"ab"), Some(2));
        assert_eq!(first_difference(b"xbc", b"ab"), Some(0));
    }

    #[test]
    fn zeros_that_are_left_of_large_pages_are_no_difference() {
        let (mut source, dest) = (vec![0; 3 * SMALL_PAGE], vec![7; 3 * SMALL_PAGE]);
        assert_eq!(first_left_difference(&source, &dest, true), None);
        assert_eq!(first_left_difference(&source, &dest, false), Some(0));
        source[SMALL_PAGE..2 * SMALL_PAGE].fill(7);
        assert_eq!(first_left_difference(&source, &dest, true), None);
        source[2 * SMALL_PAGE - 1] = 8;
        let last = 2 * SMALL_PAGE - 1;
        assert_eq!(first_left_difference(&source, &dest, true), Some(last));
        let short = &dest[..SMALL_PAGE];
        assert_eq!(
            first_left_difference(&source, short, true),
            Some(SMALL_PAGE)
        );
    }
}

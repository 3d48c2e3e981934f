//! Sources with offsets: every extent, and what becomes of the holes between them.

use std::ops::Range;

use super::super::dest_writer::WriteMode;
use super::super::errno_class::Endpoint;
use super::super::error::Error;
use super::super::event::Event;
use super::super::extent_scanner::{ExtentScanner, Segment, nonzero_runs};
use super::super::plan::Sparse;
use super::super::source_reader;
use super::chunk::{Chunk, copy_chunk};
use super::concurrent_copy;
use super::room_check;
use super::{FileCopy, charge_skipped_zeros, report, report_complete};
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::set_direct;

/// Bytes of zeros that are written at once, and of data that is searched for zeros at once.
const ZERO_BUFFER_BYTES: usize = 1 << 20;

/// A buffer in which blocks of zeros are looked for, made for the first use.
type ScanBuffer = Option<AlignedBuffer>;

/// Copies every extent of the source, and the holes between them. What is complete is not stopped any more.
pub(super) fn copy(run: &mut FileCopy<'_>, extents: &mut ExtentScanner<'_>) -> Result<(), Error> {
    let mut scan: ScanBuffer = None;
    match copy_segments(run, extents, &mut scan) {
        Err(Error::Stopped(_)) if run.complete_until() >= run.cursor.size => {}
        copied => copied?,
    }
    run.account.extents = extents.found();
    if run.plan.job.drain.is_some() {
        // Memory shows all of its data, and what is freed meanwhile makes no hole suspect.
        return Ok(());
    }
    // Until they are known, nobody could tell what of the copy is good.
    let suspects = extents.take_suspect_holes(|| report_complete(run))?;
    read_suspect_holes(run, &suspects, &mut scan)
}

/// Copies every extent that is found, and the holes between them.
fn copy_segments(
    run: &mut FileCopy<'_>,
    extents: &mut ExtentScanner<'_>,
    scan: &mut ScanBuffer,
) -> Result<(), Error> {
    let (align, mut asked) = (run.align(), 0);
    while let Some(segment) = extents
        .next(run.cursor.pos.max(asked))
        .map_err(|e| Error::Io(Endpoint::Source, e))?
    {
        match segment {
            Segment::Data(data) => {
                skip_or_zero_until(run, align.down(data.start))?;
                let end = align.up(data.end).min(run.cursor.size);
                copy_data_until(run, end, scan)?;
            }
            Segment::Hole(end) => {
                asked = end;
                skip_or_zero_until(run, align.down(end))?;
                report(run)?;
            }
        }
    }
    concurrent_copy::finish(run)?;
    skip_or_zero_until(run, run.cursor.size)
}

/// Copies everything up to `end` as data.
fn copy_data_until(run: &mut FileCopy<'_>, end: u64, scan: &mut ScanBuffer) -> Result<(), Error> {
    let skips_zeros = run.skips_zeros();
    while run.cursor.pos < end {
        let len = next_chunk_len(run, end);
        if skips_zeros {
            copy_skipping_zeros(run, len, scan)?;
        } else {
            concurrent_copy::copy_piece(run, len)?;
        }
    }
    Ok(())
}

/// Reads holes that may be data which the file system hides. Zeros found there stay a hole.
fn read_suspect_holes(
    run: &mut FileCopy<'_>,
    holes: &[Range<u64>],
    scan: &mut ScanBuffer,
) -> Result<(), Error> {
    let Some(first) = holes.first().filter(|_| !run.is_null_engine()) else {
        return Ok(());
    };
    let text = format!(
        "the file system reports no data at {}, but it counts more blocks than it reports data: the range is read anyway",
        first.start
    );
    run.listener.event(&Event::Note { text });
    run.endpoints
        .dest
        .finish()
        .map_err(|e| Error::Io(Endpoint::Dest, e))?;
    let align = run.align();
    room_check::note_position(run);
    for hole in holes {
        run.cursor.pos = align.down(hole.start);
        let end = align.up(hole.end).min(run.cursor.size);
        while run.cursor.pos < end {
            let len = next_chunk_len(run, end);
            copy_skipping_zeros(run, len, scan)?;
        }
    }
    run.cursor.pos = run.cursor.size;
    Ok(())
}

/// Returns the length of the next chunk: up to a multiple of the row's length, so that windows stay aligned, and no further
/// than the body where only whole units can be written.
fn next_chunk_len(run: &FileCopy<'_>, end: u64) -> usize {
    let (pos, row) = (run.cursor.pos, run.engines.current());
    let chunk = run.plan.options.chunk;
    let chunk = chunk.unwrap_or_else(|| run.affordable_bytes());
    let chunk = run.limit_chunk(chunk) as u64;
    let end = end.min((pos / chunk + 1) * chunk);
    let body = run.align().down(run.cursor.size);
    let end = if row.write_mode == WriteMode::Direct && pos < body {
        end.min(body)
    } else {
        end
    };
    (end - pos) as usize
}

/// Copies a range in which blocks of zeros shall become holes: they are looked for in a copy of ours, read past the map.
fn copy_skipping_zeros(
    run: &mut FileCopy<'_>,
    len: usize,
    scan: &mut ScanBuffer,
) -> Result<(), Error> {
    let at = run.cursor.pos;
    let buffer = match scan {
        Some(buffer) => buffer,
        none => none.insert(new_buffer(Endpoint::Source)?),
    };
    let len = len.min(ZERO_BUFFER_BYTES);
    let source = run.endpoints.source;
    let mut direct = run.plan.job.source_info.read_direct;
    let read = source_reader::read_at(source, buffer, len, at, &mut direct, &mut Vec::new());
    let n = read.map_err(|fault| run.to_error(fault))?;
    // The engine that moves these bytes decides for itself how it reads.
    let _ = set_direct(source, false);
    let mut data = 0;
    for part in nonzero_runs(&buffer[..n], run.align().unit() as usize) {
        data += part.len() as u64;
        run.cursor.pos = at + part.start as u64;
        let end = at + part.end as u64;
        while run.cursor.pos < end {
            let len = next_chunk_len(run, end);
            copy_chunk(run, Chunk::SourceFile(len))?;
        }
    }
    run.cursor.pos = at + n as u64;
    charge_skipped_zeros(run, n as u64 - data)
}

/// Leaves a hole where that is wanted and can be; else writes zeros.
fn skip_or_zero_until(run: &mut FileCopy<'_>, end: u64) -> Result<(), Error> {
    let end = end.min(run.cursor.size);
    if end <= run.cursor.pos {
        return Ok(());
    }
    if run.plan.job.dest_caps.regular && run.plan.options.sparse != Sparse::Never {
        run.cursor.pos = end;
        return report(run);
    }
    let zeros = new_buffer(Endpoint::Dest)?;
    while run.cursor.pos < end {
        let most = run.limit_chunk(ZERO_BUFFER_BYTES) as u64;
        let len = (end - run.cursor.pos).min(most) as usize;
        copy_chunk(run, Chunk::Buffer(&zeros, len))?;
    }
    Ok(())
}

fn new_buffer(side: Endpoint) -> Result<AlignedBuffer, Error> {
    AlignedBuffer::new(ZERO_BUFFER_BYTES).map_err(|e| Error::Io(side, e))
}

//! Copies sources that are read to their end: pipes, character devices, and files of /proc and sysfs whose size is
//! wrong.

use std::fs::File;
use std::io::{self, Read};

use super::super::engine::{DIRECT, SPLICE};
use super::super::errno_class::{Endpoint, retry};
use super::super::error::Error;
use super::super::extent_scanner::nonzero_runs;
use super::chunk::copy_buffer;
use super::pipe_copy::{self, ready};
use super::{FileCopy, charge_skipped_zeros, report};
use crate::sys::buffer::AlignedBuffer;
use crate::sys::lock::lock;

/// Bytes that are collected before they are written.
const STREAM_CHUNK_BYTES: usize = 1 << 20;

/// Copies until the source has no more bytes.
pub(super) fn copy(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let mut pages = pipe_copy::prepare(run)?;
    let mut buffer =
        AlignedBuffer::new(STREAM_CHUNK_BYTES).map_err(|e| Error::Io(Endpoint::Source, e))?;
    loop {
        let held = match &mut pages {
            Some(pages) => pages.copy_whole_pages(run)?,
            None => 0,
        };
        if let Some(pages) = &mut pages {
            pages.read_held(&mut buffer)?;
        }
        let (filled, ended) = collect(run, &mut buffer, held)?;
        if filled > 0 {
            if let Some(hasher) = &run.plan.job.stream_hasher {
                lock(hasher).update(&buffer[..filled]);
            }
            // What the last round left behind the end would else be written as padding.
            buffer[filled..].fill(0);
            put_read(run, &buffer, filled)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Reads from the source behind the first `filled` bytes of the buffer, until there is a chunk of whole units or the source
/// ends. Returns how many bytes the buffer then has, and whether the source has ended.
fn collect(
    run: &mut FileCopy<'_>,
    buffer: &mut [u8],
    mut filled: usize,
) -> Result<(usize, bool), Error> {
    // What waits at the other end of a pipe wants its bytes as they come.
    let eager = run.plan.job.dest_caps.stream;
    let unit = run.align().unit() as usize;
    let chunk = run
        .limit_chunk(STREAM_CHUNK_BYTES)
        .max(filled.next_multiple_of(unit));
    while filled < chunk && !(eager && filled > 0) {
        match read(run, &mut buffer[filled..chunk])? {
            0 => return Ok((filled, true)),
            n => {
                filled += n;
                // A source that trickles may take minutes to fill the buffer.
                report(run)?;
            }
        }
    }
    Ok((filled, false))
}

/// Writes bytes that were read from the source. Where pages are moved otherwise, they are accounted to the engine that reads.
fn put_read(run: &mut FileCopy<'_>, buffer: &[u8], filled: usize) -> Result<(), Error> {
    let before = run.account.moved_by(SPLICE);
    put(run, buffer, filled)?;
    run.account.reattribute(SPLICE, before, DIRECT);
    Ok(())
}

/// Writes the collected bytes; if holes are wanted, without their blocks of zeros.
fn put(run: &mut FileCopy<'_>, buffer: &[u8], filled: usize) -> Result<(), Error> {
    if !run.skips_zeros() {
        return copy_buffer(run, buffer, filled);
    }
    let (begin, mut data) = (run.cursor.pos, 0);
    for part in nonzero_runs(&buffer[..filled], run.align().unit() as usize) {
        data += part.len();
        run.cursor.pos = begin + part.start as u64;
        copy_buffer(run, &buffer[part.start..], part.len())?;
    }
    run.cursor.pos = begin + filled as u64;
    charge_skipped_zeros(run, (filled - data) as u64)
}

/// Makes one read, interruptible while nothing comes.
fn read(run: &mut FileCopy<'_>, buffer: &mut [u8]) -> Result<usize, Error> {
    let source: &File = run.endpoints.source;
    loop {
        if !ready(source).map_err(|e| Error::Io(Endpoint::Source, e))? {
            report(run)?;
            continue;
        }
        let mut reader = source;
        match retry(|| reader.read(buffer)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => report(run)?,
            other => return other.map_err(|e| Error::Io(Endpoint::Source, e)),
        }
    }
}

//! Copies sources that are read to their end: pipes, character devices, and files of /proc and sysfs whose size is
//! wrong.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{ChunkSource, FileCopy};
use crate::sys::buffer::AlignedBuffer;
use crate::transfer::errno_class::{Endpoint, retry};
use crate::transfer::error::Error;
use crate::transfer::extent_scanner::nonzero_runs;
use crate::transfer::plan::Sparse;

/// Bytes that are collected before they are written.
const STREAM_CHUNK_BYTES: usize = 1 << 20;

/// Longest time in milliseconds that a read may wait before the listener is asked again whether to stop.
const POLL_TIMEOUT_MS: u16 = 50;

/// Copies until the source has no more bytes.
pub(in crate::transfer) fn copy(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let mut buffer =
        AlignedBuffer::new(STREAM_CHUNK_BYTES).map_err(|e| Error::Io(Endpoint::Source, e))?;
    // What waits at the other end of a pipe wants its bytes as they come.
    let eager = run.plan.dest.stream;
    loop {
        let mut filled = 0;
        let mut ended = false;
        let chunk = run.limit_chunk(STREAM_CHUNK_BYTES);
        while filled < chunk && !(eager && filled > 0) {
            match read(run, &mut buffer[filled..chunk])? {
                0 => {
                    ended = true;
                    break;
                }
                n => filled += n,
            }
        }
        if filled > 0 {
            // What the last round left behind the end would else be written as padding.
            buffer[filled..].fill(0);
            put(run, &buffer, filled)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Writes the collected bytes; if holes are wanted, without their blocks of zeros.
fn put(run: &mut FileCopy<'_>, buffer: &[u8], filled: usize) -> Result<(), Error> {
    if run.plan.options.sparse != Sparse::Always || !run.plan.dest.regular {
        return put_all(run, buffer, filled);
    }
    let (begin, mut data) = (run.pos, 0);
    for part in nonzero_runs(&buffer[..filled], run.plan.dest.align.unit() as usize) {
        data += part.len();
        run.pos = begin + part.start as u64;
        put_all(run, &buffer[part.start..], part.len())?;
    }
    run.pos = begin + filled as u64;
    run.charge_skipped_zeros((filled - data) as u64)
}

/// Writes the first `len` bytes of `data` as the rate limiter allows, which may be slower than they were read.
fn put_all(run: &mut FileCopy<'_>, data: &[u8], len: usize) -> Result<(), Error> {
    let (begin, end) = (run.pos, run.pos + len as u64);
    while run.pos < end {
        let done = (run.pos - begin) as usize;
        run.copy_chunk(&ChunkSource::Buffer(&data[done..], len - done))?;
    }
    Ok(())
}

/// Reads once; the wait for input can be interrupted.
fn read(run: &mut FileCopy<'_>, buffer: &mut [u8]) -> Result<usize, Error> {
    let source: &File = run.endpoints.source;
    loop {
        if !ready(source).map_err(|e| Error::Io(Endpoint::Source, e))? {
            run.report()?;
            continue;
        }
        let mut reader = source;
        match retry(|| reader.read(buffer)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => run.report()?,
            other => return other.map_err(|e| Error::Io(Endpoint::Source, e)),
        }
    }
}

/// Returns whether a read would return at once.
fn ready(source: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    let n = retry(|| poll(&mut fds, PollTimeout::from(POLL_TIMEOUT_MS)))?;
    Ok(n > 0)
}

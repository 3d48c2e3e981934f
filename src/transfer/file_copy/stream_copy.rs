//! Copies sources that are read to their end: pipes, character devices, and files of /proc and sysfs whose size is
//! wrong.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::errno_class::{Endpoint, retry};
use super::super::error::Error;
use super::super::extent_scanner::nonzero_runs;
use super::chunk::copy_buffer;
use super::{FileCopy, charge_skipped_zeros, report};
use crate::sys::buffer::AlignedBuffer;

/// Bytes that are collected before they are written.
const STREAM_CHUNK_BYTES: usize = 1 << 20;

/// Longest time in milliseconds that a read may wait before the listener is asked again whether to stop.
const POLL_TIMEOUT_MS: u16 = 50;

/// Copies until the source has no more bytes.
pub(super) fn copy(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let mut buffer =
        AlignedBuffer::new(STREAM_CHUNK_BYTES).map_err(|e| Error::Io(Endpoint::Source, e))?;
    // What waits at the other end of a pipe wants its bytes as they come.
    let eager = run.plan.job.dest_caps.stream;
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

/// Returns whether a read would return at once.
fn ready(source: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    let n = retry(|| poll(&mut fds, PollTimeout::from(POLL_TIMEOUT_MS)))?;
    Ok(n > 0)
}

//! A pipe that holds references to pages on their way from a source to an O_DIRECT destination, by splice(2).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use super::errno_class::retry;

/// Capacity of the pipe that is requested, in bytes: the most that an unprivileged process may have (pipe-max-size).
/// Chunks of 64 KiB cost four times the CPU of chunks of 1 MiB.
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// A pipe whose two ends are in this process.
#[derive(Debug)]
pub(super) struct PagePipe {
    write_end: OwnedFd,
    read_end: File,
    capacity: usize,
}

impl PagePipe {
    /// Makes an empty pipe, of [`PIPE_BYTES`] where that is allowed.
    ///
    /// # Errors
    /// The error of pipe2(2) or of F_GETPIPE_SZ.
    pub(super) fn new() -> io::Result<Self> {
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
        let capacity = enlarge_pipe(&write_end)?;
        Ok(Self {
            write_end,
            read_end: read_end.into(),
            capacity,
        })
    }

    /// Returns how many bytes it can hold, if all of its pages are whole.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Moves references to at most `len` bytes of `source` into the pipe, from `offset` where the source has offsets.
    ///
    /// # Errors
    /// The error of splice(2).
    pub(super) fn fill(
        &self,
        source: &File,
        mut offset: Option<i64>,
        len: usize,
        flags: SpliceFFlags,
    ) -> io::Result<usize> {
        let flags = flags | SpliceFFlags::SPLICE_F_MOVE;
        retry(|| splice(source, offset.as_mut(), &self.write_end, None, len, flags))
    }

    /// Writes `len` bytes from the pipe to `dest` at offset `at`, or as many of them as the device accepts.
    ///
    /// # Errors
    /// The error of splice(2), if nothing was written.
    pub(super) fn drain(&self, dest: &File, at: u64, len: usize) -> io::Result<usize> {
        let mut done = 0;
        while done < len {
            let mut offset = (at + done as u64).cast_signed();
            let flags = SpliceFFlags::SPLICE_F_MOVE;
            let rest = len - done;
            match retry(|| splice(&self.read_end, None, dest, Some(&mut offset), rest, flags)) {
                Ok(0) => break,
                Ok(n) => done += n,
                // Bytes that the device accepted count; the error occurs again with the rest.
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Reads bytes that are in the pipe, as many as `buffer` takes.
    ///
    /// # Errors
    /// The error of read(2).
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<()> {
        (&self.read_end).read_exact(buffer)
    }
}

/// Enlarges a pipe to [`PIPE_BYTES`], or as far as this process may, and returns its capacity. Beyond pipe-max-size the call
/// fails with EPERM, as it does beyond a user's quota.
///
/// # Errors
/// The error of F_GETPIPE_SZ: EBADF if it is no pipe.
pub(super) fn enlarge_pipe(pipe: impl AsFd) -> io::Result<usize> {
    let capacity = || fcntl(pipe.as_fd(), FcntlArg::F_GETPIPE_SZ);
    let mut wanted = PIPE_BYTES;
    while wanted > usize::try_from(capacity()?).unwrap_or_default() {
        let asked = i32::try_from(wanted).unwrap_or(i32::MAX);
        if fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(asked)).is_ok() {
            break;
        }
        wanted /= 2;
    }
    Ok(usize::try_from(capacity()?).unwrap_or_default())
}

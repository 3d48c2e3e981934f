//! Reads a destination back, past the page cache where that is possible, and says where it is not.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::uio::pread;

use super::read_back::ReadBack;
use crate::sys::buffer::AlignedBuffer;
use crate::sys::file::set_direct;
use crate::sys::residency::resident_bytes;
use crate::sys::strerror::strerror;
use crate::transfer::align::Align;
use crate::transfer::capabilities::{DestCaps, Direct};
use crate::transfer::errno_class::{is_refusal, retry};

/// Bytes that are read with one call: a direct read of them takes a fraction of a millisecond of CPU time, and more at
/// once gained nothing on the disks that were measured for writing.
pub(super) const READ_BYTES: usize = 1 << 20;

/// A destination that is read back.
pub(super) struct DestReader {
    file: File,
    align: Align,
    buffer: AlignedBuffer,
    /// Size of a regular file in bytes; a device is read until it ends.
    size: u64,
    /// Whether each read must show that it leaves nothing in the cache.
    is_unproven: bool,
    pub(super) how: ReadBack,
}

impl DestReader {
    /// Opens a destination again for reading, since the copy has it open for writing alone.
    ///
    /// # Errors
    /// The error of open(2) or of allocating a buffer.
    pub(super) fn open(dest: &File, caps: &DestCaps) -> io::Result<Self> {
        let file = File::open(format!("/proc/self/fd/{}", dest.as_raw_fd()))?;
        let how = match &caps.direct {
            Direct::No(why) => ReadBack::Cached(why.clone()),
            Direct::Genuine | Direct::Unproven => match set_direct(&file, true) {
                Ok(()) => ReadBack::Direct,
                Err(e) => ReadBack::Cached(format!("O_DIRECT is refused ({})", strerror(&e))),
            },
        };
        // What is still in the cache is no proof of what the device has.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        let size = match caps.regular {
            true => file.metadata()?.len(),
            false => u64::MAX,
        };
        Ok(Self {
            file,
            size,
            align: caps.align,
            buffer: AlignedBuffer::new(READ_BYTES)?,
            is_unproven: caps.direct == Direct::Unproven,
            how,
        })
    }

    /// Returns the descriptor that it reads from.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Reads `len` bytes at `at`, which is a multiple of the unit; fewer only at the end of the file. `len` is at most
    /// [`READ_BYTES`].
    ///
    /// # Errors
    /// The error of pread(2), which is EIO for a sector that cannot be read.
    pub(super) fn read(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let n = match self.fill(at, len) {
            Err(e) if self.how == ReadBack::Direct && is_refusal(&e) => {
                set_direct(&self.file, false)?;
                let why = format!("O_DIRECT is refused ({})", strerror(&e));
                self.how = ReadBack::Cached(why);
                self.fill(at, len)?
            }
            other => other?,
        };
        self.check_genuine(at, n);
        Ok(&self.buffer[..n.min(len)])
    }

    /// Reads whole units from `at` on, and goes on behind a read that was short in the middle of the file: only the next
    /// one tells why it was.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<usize> {
        let unit = self.align.unit() as usize;
        let want = len.next_multiple_of(unit).min(self.buffer.len());
        let mut done = 0;
        while done < want {
            let rest = &mut self.buffer[done..want];
            let n = retry(|| pread(&self.file, rest, (at + done as u64).cast_signed()))?;
            let reached = done + n;
            if n == 0 || at + reached as u64 >= self.size {
                return Ok(reached);
            }
            let whole = reached - reached % unit;
            if whole == done {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done = whole;
        }
        Ok(done)
    }

    /// Looks whether a read filled the cache, where nothing promises that a direct one does not, and drops what a read
    /// through the cache left there.
    fn check_genuine(&mut self, at: u64, n: usize) {
        if self.how == ReadBack::Direct {
            if !self.is_unproven || n == 0 {
                return;
            }
            match resident_bytes(&self.file, at, n as u64) {
                Ok(left) if left * 2 <= n as u64 => return,
                Ok(_) => {
                    let why = "O_DIRECT is accepted, but what it reads is in the page cache";
                    self.how = ReadBack::Cached(why.into());
                }
                Err(e) => {
                    let why = format!(
                        "cannot check what O_DIRECT leaves cached ({})",
                        strerror(&e)
                    );
                    self.how = ReadBack::Cached(why);
                }
            }
        }
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        let _ = posix_fadvise(&self.file, at.cast_signed(), n as i64, advice);
    }
}

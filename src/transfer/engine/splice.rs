//! The engine `splice`: it moves references to pages from the source through a pipe to an O_DIRECT destination, and
//! copies no byte.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use super::{Endpoints, Engine, EngineSpec, needs_file, needs_memory};
use crate::transfer::capabilities::{DestCaps, SourceInfo, SourceKind};
use crate::transfer::dest_writer::WriteMode;
use crate::transfer::errno_class::{Endpoint, EngineError, retry};

/// Capacity of the pipe that is requested: the most that an unprivileged process may have (pipe-max-size). Chunks of 64
/// KiB cost four times the CPU of chunks of 1 MiB.
const PIPE: i32 = 1 << 20;

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "splice",
    description: "passes the pages of the source through a pipe by reference, and writes them with O_DIRECT",
    applies_to: "source in memory: tmpfs, ramfs",
    write_mode: WriteMode::Direct,
    chunk: PIPE as usize,
    fits,
    make: |chunk, _, dest| Ok(Box::new(Splice::new(chunk, dest)?)),
};

fn fits(source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
    needs_memory(source)?;
    needs_file(source, dest)?;
    if source.kind == SourceKind::Hugetlbfs {
        return Err("splice from hugetlbfs is EINVAL".into());
    }
    Ok(())
}

struct Splice {
    pipe: Pipe,
    chunk: usize,
    unit: usize,
}

struct Pipe {
    write_end: OwnedFd,
    read_end: OwnedFd,
    size: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
        // Beyond pipe-max-size the call fails with EPERM, and beyond a user's quota pipes are smaller: the actual size is used.
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(PIPE));
        let size = fcntl(&input, FcntlArg::F_GETPIPE_SZ)?;
        let size = usize::try_from(size).unwrap_or_default();
        Ok(Self {
            write_end: input,
            read_end: output,
            size,
        })
    }
}

impl Splice {
    fn new(chunk: usize, dest: &DestCaps) -> io::Result<Self> {
        let unit = dest.align.unit() as usize;
        let pipe = Pipe::new()?;
        if pipe.size < unit {
            return Err(io::Error::other(format!(
                "the pipe holds only {} bytes, but the destination needs writes of {unit}",
                pipe.size
            )));
        }
        Ok(Self { pipe, chunk, unit })
    }

    /// Fills the empty pipe with source pages.
    fn fill(&self, at: u64, len: usize, pair: &Endpoints<'_>) -> Result<usize, EngineError> {
        let mut offset = at.cast_signed();
        let flags = SpliceFFlags::SPLICE_F_MOVE;
        match retry(|| {
            splice(
                pair.source,
                Some(&mut offset),
                &self.pipe.write_end,
                None,
                len,
                flags,
            )
        }) {
            Ok(0) => Err(EngineError::SourceEnd),
            Ok(n) => Ok(n),
            Err(e) => Err(EngineError::new(Endpoint::Source, e)),
        }
    }

    /// Empties the pipe into the destination, in whole units only. The caller discards what is left in it.
    fn drain(&self, at: u64, len: usize, pair: &Endpoints<'_>) -> Result<usize, EngineError> {
        let mut done = 0;
        while done < len {
            let mut offset = (at + done as u64).cast_signed();
            let flags = SpliceFFlags::SPLICE_F_MOVE;
            let (dest, rest) = (pair.dest.file, len - done);
            match retry(|| {
                splice(
                    &self.pipe.read_end,
                    None,
                    dest,
                    Some(&mut offset),
                    rest,
                    flags,
                )
            }) {
                Ok(0) => break,
                Ok(n) => done += n,
                // Bytes that the device accepted count; the error occurs again with the rest.
                Err(_) if done > 0 => break,
                Err(e) => return Err(EngineError::new(Endpoint::Dest, e)),
            }
        }
        Ok(done)
    }
}

impl Engine for Splice {
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        pair: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        let filled = self.fill(at, len.min(self.chunk).min(self.pipe.size), pair)?;
        // A shrinking source leaves a last piece that is not a whole unit, which O_DIRECT would refuse.
        let whole = filled - filled % self.unit;
        let moved = if whole > 0 {
            self.drain(at, whole, pair)
        } else {
            Err(EngineError::SourceEnd)
        };
        if !matches!(moved, Ok(n) if n == filled) {
            // Otherwise unused references would stay in the pipe and be written first by the next call.
            self.pipe = Pipe::new().map_err(|e| EngineError::Unsupported(Endpoint::Source, e))?;
        }
        moved
    }
}

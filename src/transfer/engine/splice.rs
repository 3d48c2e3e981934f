//! The engine `splice`: it moves references to pages from the source through a pipe to an O_DIRECT destination, and
//! copies no byte.

use std::io;

use nix::fcntl::SpliceFFlags;

use super::{Endpoints, Engine, EngineSpec, needs_file, needs_memory};
use crate::transfer::capabilities::{DestCaps, SourceInfo, SourceKind};
use crate::transfer::dest_writer::WriteMode;
use crate::transfer::errno_class::{Endpoint, EngineError};
use crate::transfer::page_pipe::{PIPE_BYTES, PagePipe};

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "splice",
    description: "passes the pages of the source through a pipe by reference, and writes them with O_DIRECT",
    applies_to: "source in memory (tmpfs, ramfs), or a pipe",
    write_mode: WriteMode::Direct,
    chunk: PIPE_BYTES,
    fits,
    make: |chunk, _, dest| Ok(Box::new(Splice::new(chunk, dest)?)),
};

fn fits(source: &SourceInfo, dest: &DestCaps) -> Result<(), String> {
    if source.is_pipe && !dest.stream {
        return Ok(());
    }
    needs_memory(source)?;
    needs_file(source, dest)?;
    if source.kind == SourceKind::Hugetlbfs {
        return Err("splice from hugetlbfs is EINVAL".into());
    }
    Ok(())
}

struct Splice {
    pipe: PagePipe,
    chunk: usize,
    unit: usize,
}

impl Splice {
    fn new(chunk: usize, dest: &DestCaps) -> io::Result<Self> {
        let unit = dest.align.unit() as usize;
        let pipe = PagePipe::new()?;
        if pipe.capacity() < unit {
            return Err(io::Error::other(format!(
                "the pipe holds only {} bytes, but the destination needs writes of {unit}",
                pipe.capacity()
            )));
        }
        Ok(Self { pipe, chunk, unit })
    }

    /// Fills the empty pipe with source pages.
    fn fill(&self, at: u64, len: usize, endpoints: &Endpoints<'_>) -> Result<usize, EngineError> {
        let flags = SpliceFFlags::empty();
        match self
            .pipe
            .fill(endpoints.source, Some(at.cast_signed()), len, flags)
        {
            Ok(0) => Err(EngineError::SourceEnd),
            Ok(n) => Ok(n),
            Err(e) => Err(EngineError::new(Endpoint::Source, e)),
        }
    }

    /// Empties the pipe into the destination, in whole units only. The caller discards what is left in it.
    fn drain(&self, at: u64, len: usize, endpoints: &Endpoints<'_>) -> Result<usize, EngineError> {
        let moved = self.pipe.drain(endpoints.dest.file, at, len);
        moved.map_err(|e| EngineError::new(Endpoint::Dest, e))
    }
}

impl Engine for Splice {
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        let filled = self.fill(at, len.min(self.chunk).min(self.pipe.capacity()), endpoints)?;
        // A shrinking source leaves a last piece that is not a whole unit, which O_DIRECT would refuse.
        let whole = filled - filled % self.unit;
        let moved = if whole > 0 {
            self.drain(at, whole, endpoints)
        } else {
            Err(EngineError::SourceEnd)
        };
        if !matches!(moved, Ok(n) if n == filled) {
            // Otherwise unused references would stay in the pipe and be written first by the next call.
            self.pipe =
                PagePipe::new().map_err(|e| EngineError::Unsupported(Endpoint::Source, e))?;
        }
        moved
    }
}

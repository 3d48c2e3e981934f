//! The engine `sendfile`: the kernel copies through the page cache, and the written pages are flushed and dropped.

use nix::sys::sendfile::sendfile64;
use nix::unistd::{Whence, lseek64};

use super::{Endpoints, Engine, EngineSpec, failed_to_move, needs_file, nothing_copied};
use crate::transfer::dest_writer::WriteMode;
use crate::transfer::errno_class::{Endpoint, EngineError, retry};

pub(super) static SPEC: EngineSpec = EngineSpec {
    name: "sendfile",
    description: "lets the kernel copy through the page cache, and then drops the cached pages",
    applies_to: "any source but a stream",
    write_mode: WriteMode::Cached,
    chunk: 1 << 20,
    fits: needs_file,
    make: |chunk, _, _| Ok(Box::new(Sendfile { chunk })),
};

struct Sendfile {
    chunk: usize,
}

impl Engine for Sendfile {
    fn transfer(
        &mut self,
        at: u64,
        len: usize,
        endpoints: &mut Endpoints<'_>,
    ) -> Result<usize, EngineError> {
        let dest = endpoints.dest.file;
        let len = len.min(self.chunk);
        // sendfile has no offset for its output.
        lseek64(dest, at.cast_signed(), Whence::SeekSet)
            .map_err(|e| EngineError::new(Endpoint::Dest, e.into()))?;
        let mut offset = at.cast_signed();
        match retry(|| sendfile64(dest, endpoints.source, Some(&mut offset), len)) {
            Ok(0) => Err(nothing_copied(at, endpoints)),
            Ok(n) => endpoints.dest.record_written(at, n).map(|()| n),
            Err(e) => Err(failed_to_move(e, at, endpoints)),
        }
    }
}

//! `sendfile`: the kernel copies through the page cache, which is written out and dropped behind.

use nix::sys::sendfile::sendfile64;
use nix::unistd::{Whence, lseek64};

use super::{Engine, Pair, Row, failed_to_move, needs_file, nothing_copied};
use crate::transfer::fault::{Fault, Side, retry};
use crate::transfer::sink::Leaving;

pub(super) static ROW: Row = Row {
    name: "sendfile",
    how: "the kernel copies through the page cache, dropped behind",
    when: "any source but a stream",
    leaving: Leaving::Cached,
    chunk: 1 << 20,
    fits: needs_file,
    make: |chunk, _, _| Ok(Box::new(Sendfile { chunk })),
};

struct Sendfile {
    chunk: usize,
}

impl Engine for Sendfile {
    fn transfer(&mut self, at: u64, len: usize, pair: &mut Pair<'_>) -> Result<usize, Fault> {
        let dest = pair.sink.file;
        let len = len.min(self.chunk);
        // sendfile has no offset for its output.
        lseek64(dest, at.cast_signed(), Whence::SeekSet)
            .map_err(|e| Fault::new(Side::Dest, e.into()))?;
        let mut offset = at.cast_signed();
        match retry(|| sendfile64(dest, pair.source, Some(&mut offset), len)) {
            Ok(0) => Err(nothing_copied(at, pair)),
            Ok(n) => pair.sink.moved(at, n).map(|()| n),
            Err(e) => Err(failed_to_move(e, at, pair)),
        }
    }
}

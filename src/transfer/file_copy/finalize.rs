//! Ends the copy of a file, complete or failed: it sets the size, drops cached pages, compares the source, and sums up
//! the costs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::unistd::ftruncate;

use super::{CopyStart, FileCopy};
use crate::sys::cpu;
use crate::sys::file::StatxInfo;
use crate::transfer::capabilities::{Direct, SourceInfo, SourceKind};
use crate::transfer::engine;
use crate::transfer::errno_class::{Endpoint, retry};
use crate::transfer::error::{CopyFailure, Error};
use crate::transfer::event::{CopySummary, Event};

impl FileCopy<'_> {
    /// Flushes pending data, sets the final size, and drops the page that truncating to it left in the cache.
    pub(in crate::transfer) fn finalize(&mut self) -> Result<(), Error> {
        let dest = self.endpoints.dest.file;
        let write = |e| Error::Io(Endpoint::Dest, e);
        self.endpoints.dest.finish().map_err(write)?;
        if !self.plan.dest.regular {
            return Ok(());
        }
        let now = dest.metadata().map_err(write)?.len();
        if now != self.size && !self.is_null_engine() {
            retry(|| ftruncate(dest, self.size.cast_signed())).map_err(Error::Resize)?;
        }
        self.drop_leftovers(self.size).map_err(write)?;
        self.report()
    }

    /// Drops pages that direct writes left behind, which happens in two cases: truncating a file zeroes the page at its
    /// end, and btrfs, which takes direct writes through the cache if it has checksums, forgets pages there (some in 7
    /// of 120 copies on 6.18).
    fn drop_leftovers(&self, size: u64) -> io::Result<()> {
        let whole = self.plan.dest.direct == Direct::Unproven;
        let from = if whole {
            0
        } else {
            self.plan.dest.align.down(size)
        };
        if size > from {
            self.endpoints
                .dest
                .flush_and_drop_range(from, size - from)?;
        }
        Ok(())
    }

    /// Returns whether the null engine copies, which moves nothing, so that no size must be set.
    pub(in crate::transfer) fn is_null_engine(&self) -> bool {
        self.plan.options.engine == Some(engine::NULL)
    }

    pub(in crate::transfer) fn emit_done(&mut self) {
        if !self.observer.listens() {
            return;
        }
        let moved = std::mem::take(&mut self.moved);
        let event = done(self.size, moved, self.found, self.account);
        self.observer.event(&event);
    }

    /// Leaves a destination that ends where its good bytes end, with nothing cached and nothing reserved beyond.
    pub(in crate::transfer) fn abort(&mut self, error: Error) -> CopyFailure {
        let begun = !self.moved.is_empty();
        // Brings out what is still good. After an error of writeback it does nothing, and what is in doubt is cut off.
        let _ = self.endpoints.dest.finish();
        let mut copied = match error {
            Error::SourceChanged { .. } => self.pos,
            _ => self.endpoints.dest.confirmed(self.pos),
        };
        if self.plan.dest.regular {
            let dest = self.endpoints.dest.file;
            copied = cut_back(dest, copied, self.size);
            let _ = self.drop_leftovers(copied);
        }
        CopyFailure {
            error,
            copied,
            size: self.size,
            begun,
        }
    }
}

/// Truncates the destination of a failed copy to its `good` bytes, and returns how many it has then. If the file system
/// refuses that and padding makes it longer than the `size` of its source, it is emptied by open(2), which a system
/// call filter may allow.
fn cut_back(dest: &File, good: u64, size: u64) -> u64 {
    let is_longer = || dest.metadata().is_ok_and(|meta| meta.len() > size);
    if retry(|| ftruncate(dest, good.cast_signed())).is_err()
        && is_longer()
        && truncate_by_reopen(dest).is_ok()
    {
        return 0;
    }
    good
}

/// Empties an open file by opening it again.
fn truncate_by_reopen(file: &File) -> io::Result<()> {
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().write(true).truncate(true).open(name)?;
    Ok(())
}

/// Checks that size and modification time of the source are unchanged. The bytes written while a source shrinks can be
/// zeros from its new end on, with every call a success (measured), so only the source itself can tell afterwards.
pub(in crate::transfer) fn check_source_unchanged(
    source: &File,
    facts: &SourceInfo,
) -> Result<(), Error> {
    if matches!(facts.kind, SourceKind::Stream | SourceKind::BlockDevice) {
        return Ok(());
    }
    let now = StatxInfo::query(source).map_err(|e| Error::Io(Endpoint::Source, e))?;
    if (now.size, now.mtime) == (facts.size, facts.mtime) {
        return Ok(());
    }
    Err(Error::SourceChanged {
        was: facts.size,
        now: now.size,
    })
}

/// Makes the summary of a file of `bytes`, from what each engine moved.
pub(in crate::transfer) fn done(
    bytes: u64,
    moved: BTreeMap<&'static str, u64>,
    extents: u64,
    account: CopyStart,
) -> Event {
    let CopyStart { started, before } = account;
    let (after, elapsed) = (cpu::thread_usage(), started.elapsed().as_secs_f64());
    let most = moved.iter().max_by_key(|(_, bytes)| **bytes);
    Event::Done(CopySummary {
        bytes,
        data_bytes: moved.values().sum(),
        engine: most.map(|(name, _)| *name),
        engines: moved,
        extents,
        elapsed,
        rate: bytes as f64 / elapsed.max(1e-9),
        cpu_user: after.user - before.user,
        cpu_system: after.system - before.system,
        max_rss: cpu::max_rss(),
    })
}

//! Ends the copy of a file, complete or failed: it sets the size, drops cached pages, compares the source, and sums up
//! the costs.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::unistd::ftruncate;

use super::super::capabilities::{Direct, SourceKind};
use super::super::copy_job::CopyJob;
use super::super::dest_writer::DestWriter;
use super::super::drain::CopyDrain;
use super::super::engine::REFLINK;
use super::super::errno_class::{Endpoint, retry};
use super::super::error::{CopyFailure, Error};
use super::super::event::{CopyListener, CopySummary, Event};
use super::super::plan::Plan;
use super::super::stop_check::interrupted_or;
use super::{CopyStart, FileCopy, piece_workers, report_complete};
use crate::sys::cpu;
use crate::sys::file::StatxInfo;

/// Ends a copy that came to `copied`: with its account, or with a destination that ends where its good bytes end.
pub(super) fn end(mut run: FileCopy<'_>, copied: Result<(), Error>) -> Result<(), CopyFailure> {
    piece_workers::end(&mut run);
    match copied {
        Ok(()) => {
            emit_done(&mut run);
            Ok(())
        }
        Err(error) => Err(abort(&mut run, error)),
    }
}

/// Ends a copy by whose engine all blocks are shared.
pub(in crate::transfer) fn finish_shared(
    plan: &Plan<'_>,
    start: CopyStart,
    listener: &mut dyn CopyListener,
) -> Result<(), CopyFailure> {
    let job = plan.job;
    let dest = DestWriter::new(job.dest, &job.dest_caps);
    let mut run = FileCopy::new(plan, dest, Some(start), listener);
    run.cursor.pos = run.cursor.size;
    run.account.add(REFLINK, job.source_info.data);
    let told = report_complete(&mut run);
    let copied = told.and_then(|()| check_source_unchanged(job));
    end(run, copied)
}

/// Brings what is still on its way to the device, sets the true size, and drops the page that cutting to it left in the cache.
pub(super) fn finalize(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let (dest, size) = (run.endpoints.dest.file, run.cursor.size);
    let write = |e| Error::Io(Endpoint::Dest, e);
    run.endpoints.dest.finish().map_err(write)?;
    if !run.plan.job.dest_caps.regular {
        return Ok(());
    }
    let now = dest.metadata().map_err(write)?.len();
    if let Some(drain) = run.plan.job.drain {
        drain.check_dest(dest)?;
    }
    if now != size && !run.is_null_engine() {
        retry(|| ftruncate(dest, size.cast_signed())).map_err(Error::Resize)?;
    }
    drop_leftovers(run, size).map_err(write)?;
    report_complete(run)
}

/// Drops what a destination of `size` bytes has in the cache. Direct writes leave no page behind, with two exceptions: the page
/// that cutting a file to its size zeroes, and what btrfs, which takes direct writes through the cache where it has checksums,
/// forgets there (some pages in 7 of 120 copies on 6.18).
fn drop_leftovers(run: &FileCopy<'_>, size: u64) -> io::Result<()> {
    let whole = run.plan.job.dest_caps.direct == Direct::Unproven;
    let from = if whole { 0 } else { run.align().down(size) };
    if size > from {
        let dest = &run.endpoints.dest;
        dest.flush_and_drop_range(from, size - from)?;
    }
    Ok(())
}

/// Tells the account of a complete file.
fn emit_done(run: &mut FileCopy<'_>) {
    let Some(start) = run.account.start.filter(|_| run.listener.listens()) else {
        return;
    };
    let event = done_event(run, start);
    run.listener.event(&event);
}

fn done_event(run: &mut FileCopy<'_>, start: CopyStart) -> Event {
    let (after, elapsed) = (cpu::thread_usage(), run.account.elapsed().as_secs_f64());
    let (bytes, moved) = (run.cursor.size, std::mem::take(&mut run.account.moved));
    let helpers = run.account.helpers;
    let most = moved.iter().max_by_key(|(_, bytes)| **bytes);
    Event::Done(CopySummary {
        bytes,
        data_bytes: moved.values().sum(),
        engine: most.map(|(name, _)| *name),
        engines: moved,
        extents: run.account.extents,
        elapsed,
        rate: bytes as f64 / elapsed.max(1e-9),
        cpu_user: after.user - start.before.user + helpers.user,
        cpu_system: after.system - start.before.system + helpers.system,
        in_flight: run.account.peak_in_flight,
        max_rss: cpu::max_rss(),
        writers: run.plan.job.known_writers(),
        digest: None,
        read_back: None,
    })
}

/// Leaves a destination that ends where its good bytes end, with nothing cached and nothing reserved beyond.
fn abort(run: &mut FileCopy<'_>, error: Error) -> CopyFailure {
    let (size, begun) = (run.cursor.size, !run.account.moved.is_empty());
    let error = or_source_changed(run, interrupted_or(error, run.listener));
    // Brings out what is still good. After an error of writeback it does nothing, and what is in doubt is cut off.
    let _ = run.endpoints.dest.finish();
    let mut copied = run.endpoints.dest.confirmed(run.cursor.pos);
    if let Some(drain) = run.plan.job.drain {
        // The source may not have these bytes any more.
        copied = copied.max(drain.durable());
    }
    if run.plan.job.dest_caps.regular {
        let may_empty = run.plan.job.drain.is_none();
        copied = cut_back(run.endpoints.dest.file, copied, size, may_empty);
        let _ = drop_leftovers(run, copied);
    }
    CopyFailure {
        error,
        copied,
        size,
        begun,
    }
}

/// Returns that the source has changed, in place of an error for which a beginning of it would be kept.
fn or_source_changed(run: &FileCopy<'_>, error: Error) -> Error {
    let may_cut = matches!(error, Error::Stopped(_)) || error.no_space().is_some();
    if !(may_cut && run.plan.options.room.cut) {
        return error;
    }
    check_source_unchanged(run.plan.job).err().unwrap_or(error)
}

/// Truncates the destination of a failed copy to its `good` bytes, and returns how many it has then. If the file system
/// refuses that and padding makes it longer than the `size` of its source, it is emptied by open(2), which a system
/// call filter may allow, if `may_empty`: it may have the only copy of what was drained.
fn cut_back(dest: &File, good: u64, size: u64, may_empty: bool) -> u64 {
    let is_longer = || dest.metadata().is_ok_and(|meta| meta.len() > size);
    if retry(|| ftruncate(dest, good.cast_signed())).is_err()
        && may_empty
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
pub(in crate::transfer) fn check_source_unchanged(job: &CopyJob<'_>) -> Result<(), Error> {
    let source_info = &job.source_info;
    if matches!(
        source_info.kind,
        SourceKind::Stream | SourceKind::BlockDevice
    ) {
        return Ok(());
    }
    let now = StatxInfo::query(job.source).map_err(|e| Error::Io(Endpoint::Source, e))?;
    // What this program frees changes the time, too.
    let modified = job.drain.map_or(source_info.mtime, CopyDrain::modified);
    if (now.size, now.mtime) == (source_info.size, modified) {
        return Ok(());
    }
    Err(Error::SourceChanged {
        was: source_info.size,
        now: now.size,
    })
}

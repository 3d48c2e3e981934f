//! Copies files that are too small for O_DIRECT to pay: they are read at once, written through the cache, and their
//! writeback is not waited for.

use std::fs::File;
use std::io;

use nix::sys::uio::pread;
use nix::unistd::{Whence, lseek64};

use super::super::capabilities::{SourceInfo, SourceKind};
use super::super::copy_job::CopyJob;
use super::super::copy_method::SparseDetection;
use super::super::deferred_writeback::MAX_DEFERRED_BYTES;
use super::super::dest_writer::DestWriter;
use super::super::dirty_window::FlushMethod;
use super::super::engine::{BUFFERED, DONTCACHE, EngineSpec};
use super::super::errno_class::{Endpoint, retry};
use super::super::error::{CopyFailure, Error};
use super::super::event::CopyListener;
use super::super::free_space::check_free_space;
use super::super::mount_cache::MountCache;
use super::super::plan::{DirectPolicy, Plan, Sparse, TransferOptions};
use super::super::preallocate;
use super::super::stop_check::{check_stop, interrupted_or};
use super::super::token_wait;
use super::chunk::{Chunk, write_admitted};
use super::finalize::{self, check_source_unchanged};
use super::room_check;
use super::{CopyStart, FileCopy, ThreadState, report, report_complete};

/// Largest size in bytes of such a file.
///
/// From tmpfs to ext4 on 6.18, microseconds of wall time and of CPU time a file, by this path and by `splice`, the
/// cheapest with O_DIRECT: 127 / 107 and 217 / 102 at 40 KiB, 132 / 86 and 192 / 80 at 64 KiB, 179 / 121 and 221 / 95
/// at 128 KiB. Up to 64 KiB the CPU time is the same and there is no wait for the device; above, copying the bytes
/// costs more than that wait (`benches/tree/ways.md`).
pub(in crate::transfer) const MAX_SMALL_FILE_BYTES: u64 = 64 << 10;

/// Returns the engine for a small file, or `None` if the file is large or the options ask for another path.
pub(super) fn choose_small_engine(
    job: &CopyJob<'_>,
    options: &TransferOptions,
    mounts: &mut MountCache,
) -> Option<&'static EngineSpec> {
    let (source_info, dest_caps) = (&job.source_info, &job.dest_caps);
    let free = options.engine.is_none()
        && options.chunk.is_none()
        && options.resume_at == 0
        && options.direct != DirectPolicy::Always
        && options.sparse != Sparse::Always
        // What fits of the file is wanted, however little.
        && !(options.room.cut && options.room.is_limited());
    let plain = source_info.size <= MAX_SMALL_FILE_BYTES
        && matches!(
            source_info.kind,
            SourceKind::Tmpfs | SourceKind::Ramfs | SourceKind::Disk
        )
        && dest_caps.regular;
    // What may not go in one write is no small file.
    let fits = job
        .pace
        .is_none_or(|pace| source_info.size <= pace.chunk() as u64);
    if !free
        || !plain
        || !fits
        || asks_for_holes(source_info, options) && !has_no_hole(job.source, source_info)
    {
        return None;
    }
    let uncached = dest_caps.flush != FlushMethod::Nothing
        && dest_caps.dontcache.is_ok()
        && mounts.dontcache(dest_caps.mount);
    Some(if uncached { DONTCACHE } else { BUFFERED })
}

/// Returns whether holes must be searched for, because fewer blocks are allocated than the size needs. Blocks may also
/// be fewer or more for reasons of the file system.
fn asks_for_holes(source_info: &SourceInfo, options: &TransferOptions) -> bool {
    options.sparse != Sparse::Never && !source_info.is_dense()
}

fn has_no_hole(source: &File, source_info: &SourceInfo) -> bool {
    lseek64(source, 0, Whence::SeekHole).is_ok_and(|at| at.cast_unsigned() >= source_info.size)
}

/// Copies a small file by `row`. What is written is left to the thread's queue under `tag`.
///
/// # Errors
/// As of any copy.
pub(super) fn copy<T>(
    row: &'static EngineSpec,
    job: &CopyJob<'_>,
    options: TransferOptions,
    thread: &mut ThreadState<T>,
    listener: &mut dyn CopyListener,
    tag: T,
) -> Result<(), CopyFailure> {
    let start = listener.listens().then(CopyStart::now);
    let plan = match start {
        Some(_) => Plan::of(job, options).for_small_file(row),
        None => Plan::unexplained(job, options, row),
    };
    if start.is_some() {
        listener.event(&plan.event(Some("little data".into())));
    }
    let dest = DestWriter::deferred(job.dest, &job.dest_caps, row.write_mode);
    let mut run = FileCopy::new(&plan, dest, start, listener);
    // The writer is in the mode of the first row from the start: the descriptors are as open(2) made them.
    run.engines.is_started = true;
    let copied = copy_whole(&mut run, &mut thread.buffer, thread.file_size_limit);
    note_method(&run, thread, row);
    match copied {
        Ok(()) => {
            let copied = settle(&mut run, thread, tag);
            finalize::end(run, copied)
        }
        // Nothing was written: the destination is as it was, or empty.
        Err(error) if run.account.moved.is_empty() => {
            let error = interrupted_or(error, run.listener);
            Err(CopyFailure::before(error, job.source_info.size))
        }
        Err(error) => finalize::end(run, Err(error)),
    }
}

/// Reads all of the source, and writes all of it once nothing speaks against that.
fn copy_whole(
    run: &mut FileCopy<'_>,
    buffer: &mut Vec<u8>,
    file_size_limit: u64,
) -> Result<(), Error> {
    let (job, size) = (run.plan.job, run.cursor.size);
    // As a rule at once: a chunk was no smaller than the file when this way was taken.
    token_wait::wait_for_all_tokens(job.pace, size, || report(run))?;
    let data = read_whole(job, buffer)?;
    take_room(run, size)?;
    prepare_dest(run, file_size_limit)?;
    while run.cursor.pos < size {
        let rest = &data[run.cursor.pos as usize..];
        write_admitted(run, Chunk::Buffer(rest, rest.len()))?;
    }
    room_check::settle(run, size);
    run.endpoints.dest.start_writeback();
    run.account.extents = u64::from(size > 0);
    if let Some(pace) = job.pace {
        pace.record_moved(size, size);
    }
    report_complete(run)?;
    check_source_unchanged(job)
}

/// Asks for the room of all bytes, where it is limited.
fn take_room(run: &mut FileCopy<'_>, size: u64) -> Result<(), Error> {
    let (job, options) = (run.plan.job, run.plan.options);
    let listener = &*run.listener;
    run.room = room_check::admit_file(job, &options, &mut || check_stop(listener))?;
    if run.room.is_some() && size > 0 {
        // Less than all of a file this small is of no use.
        room_check::grant_all(run, size)?;
    }
    Ok(())
}

/// Reads all of the source, and looks whether there is more than it said.
fn read_whole<'b>(job: &CopyJob<'_>, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
    let size = job.source_info.size as usize;
    if buffer.is_empty() {
        buffer.resize(MAX_SMALL_FILE_BYTES as usize + 1, 0);
    }
    let n = read_until_end(job.source, &mut buffer[..=size])?;
    if n == size {
        return Ok(&buffer[..n]);
    }
    check_source_unchanged(job)?;
    Err(Error::Io(
        Endpoint::Source,
        io::ErrorKind::UnexpectedEof.into(),
    ))
}

/// Reads into `buffer` until its last byte or the end of the source, and returns how many bytes there were. A buffer of one
/// byte more than the source has saves the call that finds the end.
pub(super) fn read_until_end(source: &File, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut n = 0;
    while n + 1 < buffer.len() {
        match retry(|| pread(source, &mut buffer[n..], n as i64)) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) => return Err(Error::Io(Endpoint::Source, e)),
        }
    }
    Ok(n)
}

/// Truncates an existing destination, after all checks that are possible beforehand.
fn prepare_dest(run: &mut FileCopy<'_>, file_size_limit: u64) -> Result<(), Error> {
    let (job, size) = (run.plan.job, run.cursor.size);
    if size > file_size_limit {
        let error = io::Error::from_raw_os_error(libc::EFBIG);
        return Err(Error::Io(Endpoint::Dest, error));
    }
    // A file that was empty loses nothing when the write itself says ENOSPC.
    if job.dest_caps.size > 0 {
        let mut check = || report(run);
        check_free_space(job.dest, size, job.dest_caps.allocated, &mut check)?;
        preallocate::truncate_dest(job.dest, &job.dest_caps, 0, &mut check)?;
    }
    Ok(())
}

/// Waits for the device where that is asked for; else leaves the file to the queue.
fn settle<T>(run: &mut FileCopy<'_>, thread: &mut ThreadState<T>, tag: T) -> Result<(), Error> {
    let job = run.plan.job;
    if run.plan.options.wait_for_writeback {
        let flushed = run.endpoints.dest.finish();
        return flushed.map_err(|e| Error::Io(Endpoint::Dest, e));
    }
    let most = token_wait::limit_dirty_bytes(job.pace, MAX_DEFERRED_BYTES);
    let (size, flush) = (run.cursor.size, job.dest_caps.flush);
    let queue = &mut thread.writeback_queue;
    queue.push(job.dest, size, flush, tag, most);
    Ok(())
}

/// Notes how the bytes went, and a refusal that holds for the whole mount.
fn note_method<T>(run: &FileCopy<'_>, thread: &mut ThreadState<T>, first: &EngineSpec) {
    let (plan, left) = (run.plan, run.engines.rows());
    thread
        .method
        .note_moved(&run.account.moved, &plan.rows, left);
    thread.method.sparse = if asks_for_holes(&plan.job.source_info, &plan.options) {
        SparseDetection::SeekHole
    } else {
        SparseDetection::No
    };
    if first == DONTCACHE && !left.contains(&DONTCACHE) {
        thread.mounts.refuse_dontcache(plan.job.dest_caps.mount);
    }
}

//! Copies the bytes of one file, by the plan that fits it.
//!
//! [`FileCopy`] is the state of one copy, in small parts: the plan with the two files, the cursor, the queue of engines, the
//! writer and the account. The parts of this folder are free functions over it. Sources with offsets, streams and small files
//! differ in how they come by the next chunk; `chunk` writes all of them, and `finalize` ends all of them.

mod chunk;
mod concurrent_copy;
mod direct_check;
mod engine_queue;
mod extent_copy;
mod finalize;
mod piece_queue;
mod piece_workers;
mod pipe_copy;
mod room_check;
mod small_file;
mod small_file_batch;
mod stream_copy;
mod unaligned;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use nix::unistd::ftruncate;

use super::align::Align;
use super::capabilities::SourceKind;
use super::copy_job::CopyJob;
use super::copy_method::CopyMethod;
use super::deferred_writeback::WritebackQueue;
use super::dest_writer::DestWriter;
use super::engine::{self, Endpoints, EngineSpec};
use super::errno_class::{Endpoint, EngineError, retry};
use super::error::{CopyFailure, Error};
use super::event::{CopyListener, Phase, Progress};
use super::extent_scanner::{ExtentScanner, ScanMethod};
use super::mount_cache::MountCache;
use super::plan::{Plan, Sparse, TransferOptions};
use super::room::file_room::FileRoom;
use super::segment::Segment;
use super::stop_check::{check_stop, interrupted_or, report_progress};
use super::write_batch::WriteBatch;
use super::{preallocate, token_wait};
use crate::sys::cpu::{self, ThreadUsage};
use crate::sys::strerror::strerror;
use engine_queue::EngineQueue;
pub(super) use finalize::{check_source_unchanged, finish_shared};
use piece_workers::PieceWorkers;
pub(super) use small_file::MAX_SMALL_FILE_BYTES;
pub(super) use small_file_batch::{batch_progress, batch_small_file, write_batch};

/// What a thread keeps from one file to the next. `T` is what the caller knows a file by.
#[derive(Debug)]
pub(super) struct ThreadState<T> {
    pub(super) mounts: MountCache,
    /// The bytes of a small file.
    pub(super) buffer: Vec<u8>,
    pub(super) writeback_queue: WritebackQueue<T>,
    /// Small files that are read, and will be written together.
    pub(super) write_batch: WriteBatch<T>,
    /// The limit RLIMIT_FSIZE in bytes, asked once for all small files.
    pub(super) file_size_limit: u64,
    /// How the last file was copied.
    pub(super) method: CopyMethod,
}

/// Copies a file whose blocks are not shared. A small one may be left to the thread's queue under `tag`.
pub(super) fn copy<T>(
    job: &CopyJob<'_>,
    options: TransferOptions,
    thread: &mut ThreadState<T>,
    listener: &mut dyn CopyListener,
    tag: T,
) -> Result<(), CopyFailure> {
    match small_file::choose_small_engine(job, &options, &mut thread.mounts) {
        Some(row) => small_file::copy(row, job, options, thread, listener, tag),
        None => copy_by_engines(job, options, &mut thread.method, listener),
    }
}

/// Copies a file by the rows of the table, and waits for all of it.
fn copy_by_engines(
    job: &CopyJob<'_>,
    options: TransferOptions,
    method: &mut CopyMethod,
    listener: &mut dyn CopyListener,
) -> Result<(), CopyFailure> {
    let start = CopyStart::now();
    let plan = Plan::of(job, options);
    if plan.rows.is_empty() {
        listener.event(&plan.event(None));
        let error = Error::Impossible(plan.why_not());
        return Err(CopyFailure::before(error, job.source_info.size));
    }
    let fail = |error, listener: &dyn CopyListener| {
        let error = interrupted_or(error, listener);
        CopyFailure::before(error, job.source_info.size)
    };
    let admitted = room_check::admit_file(job, &options, &mut || check_stop(listener));
    let mut room = admitted.map_err(|error| fail(error, listener))?;
    let mut extents = ExtentScanner::new(job.source, job.source_info.size, scan_method(job));
    let truncatable = check_truncatable(&plan, job.dest);
    let reserved = reserve(&plan, &mut extents, room.as_mut(), listener);
    extents.rewind();
    let is_reserved = matches!(reserved, Ok(None));
    listener.event(&plan.event(reserved.as_ref().ok().cloned().flatten()));
    reserved.map_err(|error| fail(error, listener))?;
    let dest = DestWriter::new(job.dest, &job.dest_caps);
    let mut run = FileCopy::new(&plan, dest, Some(start), listener);
    run.room = room;
    run.workers = PieceWorkers::for_plan(&plan, is_reserved && truncatable.is_ok());
    if let Err(e) = truncatable {
        run.endpoints.dest.is_truncatable = false;
        run.endpoints.notes.push(format!(
            "the destination cannot be truncated ({}): its tail is written through the page cache",
            strerror(&e)
        ));
    }
    let copied =
        count_extents(&mut run, &mut extents).and_then(|()| copy_all(&mut run, &mut extents));
    let regular = job.dest_caps.regular;
    method.note_detection(&job.source_info, extents.finder(), &options, regular);
    method.note_moved(&run.account.moved, &plan.rows, run.engines.rows());
    finalize::end(run, copied)
}

/// Truncates the destination and reserves its space, if that is wanted. Returns why it is not reserved.
fn reserve(
    plan: &Plan<'_>,
    extents: &mut ExtentScanner<'_>,
    mut room: Option<&mut FileRoom<'_>>,
    listener: &dyn CopyListener,
) -> Result<Option<String>, Error> {
    let mut heard = || check_stop(listener);
    let reserved = preallocate::prepare_dest(plan, extents, room.as_deref_mut(), &mut heard);
    if let (Some(room), Ok(None)) = (room, &reserved) {
        room.note_reserved();
    }
    reserved
}

/// Looks for the data before the offset at which a copy goes on, so that all blocks of the source are accounted for.
fn count_extents(run: &mut FileCopy<'_>, extents: &mut ExtentScanner<'_>) -> Result<(), Error> {
    let mut pos = 0;
    while pos < run.plan.options.resume_at {
        let segment = extents.next(pos);
        pos = match segment.map_err(|e| Error::Io(Endpoint::Source, e))? {
            Some(Segment::Data(data)) => data.end,
            Some(Segment::Hole(end)) => end,
            None => break,
        };
        report(run)?;
    }
    Ok(())
}

/// Copies all bytes, and gives the destination its true size.
fn copy_all(run: &mut FileCopy<'_>, extents: &mut ExtentScanner<'_>) -> Result<(), Error> {
    let job = run.plan.job;
    if job.source_info.kind == SourceKind::Stream {
        stream_copy::copy(run)?;
        run.cursor.size = run.cursor.pos;
    } else {
        extent_copy::copy(run, extents)?;
    }
    finalize::finalize(run)?;
    finalize::check_source_unchanged(job)
}

/// Returns how the holes of the source are looked for.
fn scan_method(job: &CopyJob<'_>) -> ScanMethod {
    match job.source_info.finder {
        // Holes are written as zeros there, and what was written cannot be gone back to: reading is always right.
        ScanMethod::Seek if !job.dest_caps.regular => ScanMethod::Everything,
        finder => finder,
    }
}

/// Checks whether a destination can be truncated to its size, if its tail may have to be padded. A destination with
/// content is emptied before the copy, which answers the question; an empty one is truncated to 0 before anything is
/// reserved for it.
fn check_truncatable(plan: &Plan<'_>, dest: &File) -> io::Result<()> {
    let (source_info, dest_caps) = (&plan.job.source_info, &plan.job.dest_caps);
    let whole = source_info.kind != SourceKind::Stream
        && source_info.size.is_multiple_of(dest_caps.align.unit());
    let pads = plan.rows.iter().any(|row| row.is_direct()) && !whole;
    if dest_caps.regular && dest_caps.size == 0 && pads {
        retry(|| ftruncate(dest, 0))
    } else {
        Ok(())
    }
}

/// When a file was begun, and the CPU time of its thread until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyStart {
    started: Instant,
    before: ThreadUsage,
}

impl CopyStart {
    /// Reads the clocks of the wall and of the thread.
    pub(super) fn now() -> Self {
        Self {
            started: Instant::now(),
            before: cpu::thread_usage(),
        }
    }
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// The offset of the next byte.
    pos: u64,
    /// Bytes of the source; of a stream they are known at its end.
    size: u64,
}

/// What was done for one file so far.
#[derive(Debug)]
pub(super) struct CopyAccount {
    /// Nothing where nobody listens to a file too small to be measured.
    start: Option<CopyStart>,
    /// Bytes by the name of the engine that moved them.
    moved: BTreeMap<&'static str, u64>,
    /// Extents found in the source.
    extents: u64,
    /// CPU time of threads that helped.
    helpers: ThreadUsage,
    /// Most bytes that were on their way at once.
    peak_in_flight: u64,
}

impl CopyAccount {
    fn add(&mut self, row: &EngineSpec, bytes: u64) {
        *self.moved.entry(row.name).or_default() += bytes;
    }

    /// Accounts to `reader` the bytes that `row` has beyond `before`.
    fn reattribute(&mut self, row: &EngineSpec, before: u64, reader: &EngineSpec) {
        let Some(total) = self.moved.get_mut(row.name) else {
            return;
        };
        let read = *total - before;
        *total = before;
        if before == 0 {
            self.moved.remove(row.name);
        }
        self.add(reader, read);
    }

    /// Returns the bytes that are accounted to a row.
    fn moved_by(&self, row: &EngineSpec) -> u64 {
        self.moved.get(row.name).copied().unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        self.start
            .map_or(Duration::ZERO, |start| start.started.elapsed())
    }
}

/// The state of one copy.
pub(super) struct FileCopy<'a> {
    plan: &'a Plan<'a>,
    cursor: Cursor,
    engines: EngineQueue,
    /// The source, and the writer of the destination.
    endpoints: Endpoints<'a>,
    account: CopyAccount,
    /// The threads that help, where several pieces may be on their way at once.
    workers: Option<PieceWorkers>,
    /// The room that the file may take, where it is limited.
    room: Option<FileRoom<'a>>,
    /// Offset behind the last byte that was written, noted where the room is limited and before the cursor moves back.
    furthest: u64,
    listener: &'a mut dyn CopyListener,
}

impl<'a> FileCopy<'a> {
    /// Begins at the start of the file.
    pub(super) fn new(
        plan: &'a Plan<'a>,
        dest: DestWriter<'a>,
        start: Option<CopyStart>,
        listener: &'a mut dyn CopyListener,
    ) -> Self {
        let source_info = &plan.job.source_info;
        Self {
            plan,
            cursor: Cursor {
                pos: plan.options.resume_at,
                size: source_info.size,
            },
            engines: EngineQueue::new(plan),
            endpoints: Endpoints {
                source: plan.job.source,
                source_info,
                dest,
                notes: Vec::new(),
            },
            account: CopyAccount {
                start,
                moved: BTreeMap::new(),
                extents: 0,
                helpers: ThreadUsage::default(),
                peak_in_flight: 0,
            },
            workers: None,
            room: None,
            furthest: 0,
            listener,
        }
    }

    fn align(&self) -> Align {
        self.plan.job.dest_caps.align
    }

    /// Returns `most` bytes, or as many as may go at once; whole units in any case.
    fn limit_chunk(&self, most: usize) -> usize {
        let unit = self.align().unit();
        let in_flight = self.plan.options.in_flight.unwrap_or(u64::MAX);
        let most = most.min(usize::try_from(in_flight.max(unit) / unit * unit).unwrap_or(most));
        token_wait::limit_chunk(self.plan.job.pace, most, unit)
    }

    /// Returns how many bytes the next call may move: what holds a CPU only shortly, and the share of one thread where
    /// several have pieces on their way.
    fn affordable_bytes(&self) -> usize {
        let (affordable, unit) = (self.engines.affordable_bytes(), self.align().unit());
        self.workers.as_ref().map_or(affordable, |workers| {
            let share = match self.engines.is_on_trial() {
                true => workers.piece_bytes_on_trial(),
                false => workers.piece_bytes(),
            };
            let share = (share / unit).max(1) * unit;
            affordable.min(usize::try_from(share).unwrap_or(affordable))
        })
    }

    /// Returns the offset up to which the file is complete.
    fn complete_until(&self) -> u64 {
        let cursor = self.cursor.pos;
        self.workers
            .as_ref()
            .map_or(cursor, |workers| workers.complete_until(cursor))
    }

    /// Returns whether blocks of zeros in the data become holes.
    fn skips_zeros(&self) -> bool {
        self.plan.options.sparse == Sparse::Always && self.plan.job.dest_caps.regular
    }

    /// Returns whether the engine is the one that moves nothing, so that there is nothing to give a size to.
    fn is_null_engine(&self) -> bool {
        self.plan.options.engine == Some(engine::NULL)
    }

    /// Returns what an engine's error means for the copy.
    fn to_error(&self, fault: EngineError) -> Error {
        Error::of_engine(fault, self.endpoints.source, self.cursor.size)
    }
}

/// Reports how far the device is, and fails once the listener asks to stop.
fn report(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let progress = Progress {
        copied: run.endpoints.dest.confirmed(run.complete_until()),
        size: run.plan.job.source_info.known_size(),
        engine: run.engines.current_name(),
        elapsed: run.account.elapsed(),
        phase: Phase::Copy,
    };
    report_progress(run.listener, &progress)
}

/// Reports that all bytes are written. No reason but an interruption stops what is complete.
fn report_complete(run: &mut FileCopy<'_>) -> Result<(), Error> {
    match report(run) {
        Err(Error::Stopped(_)) => Ok(()),
        told => told,
    }
}

/// Charges for zeros that were read to be left out: reading them is work, too.
fn charge_skipped_zeros(run: &mut FileCopy<'_>, bytes: u64) -> Result<(), Error> {
    if bytes == 0 {
        return report(run);
    }
    let pace = run.plan.job.pace;
    token_wait::wait_for_all_tokens(pace, bytes, || report(run))?;
    if let Some(pace) = pace {
        pace.record_moved(bytes, bytes);
    }
    Ok(())
}

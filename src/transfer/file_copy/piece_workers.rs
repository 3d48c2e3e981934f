//! Keeps several pieces of one file on their way at once, so that the device does not wait for the next request.
//!
//! Helper threads, each with an engine of its own, move pieces that the copying thread puts into a [`PieceQueue`]. The
//! copying thread moves a piece itself whenever the helpers have enough, so that no thread sleeps while there is work.
//! The order in which pieces arrive is not the order of the file: what is reported, and what is left after an error, is
//! the contiguous part.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use nix::unistd::ftruncate;

use super::super::capabilities::{DestCaps, SourceInfo, SourceKind};
use super::super::cpu_budget::measure_call;
use super::super::depth_trial::{self, DepthTrial};
use super::super::dest_writer::DestWriter;
use super::super::engine::{Endpoints, Engine, EngineSpec};
use super::super::errno_class::{Endpoint, EngineError, retry};
use super::super::error::Error;
use super::super::event::{DepthSummary, Event};
use super::super::plan::{Plan, Sparse};
use super::super::shared_device::SharedDevice;
use super::super::token_wait::CHECK_INTERVAL;
use super::engine_queue::MAX_STALLS;
use super::piece_queue::{Piece, PieceQueue, PieceResult};
use super::{FileCopy, report};
use crate::sys::cpu::{self, ThreadUsage};
use crate::sys::strerror::strerror;

/// Bytes of one file that may be on their way at once, unless the user gives another number. At 1 GB/s the request of
/// another program waits 8 ms behind them.
const MAX_BYTES: u64 = 8 << 20;

/// Bytes that are on their way at once, in one piece, while others wait for the device. On a disk of 420 MB/s a sync of
/// theirs then took 16 ms (median of four rounds) instead of 36 behind 4 MiB, and the copy the same time.
const SHARED_BYTES: u64 = 1 << 20;

/// Bytes of one piece where the user gives the number of bytes: no disk that was measured was faster with larger ones.
const PIECE_BYTES: u64 = 1 << 20;

/// Largest number of pieces at once.
const MAX_DEPTH: usize = 16;

/// Bytes by which the size of the destination is set ahead of the copy. ext4 and xfs write beyond the end of a file
/// under an exclusive lock, one piece at a time; each such step waits until all pieces are written.
const SIZE_STEP: u64 = 64 << 20;

/// The helpers of one copy, and the number of pieces that are on their way at once.
pub(super) struct PieceWorkers {
    queue: Arc<PieceQueue>,
    helpers: Vec<JoinHandle<ThreadUsage>>,
    /// Pieces at once, with the one of the copying thread.
    depth: usize,
    /// Bytes that may be on their way at once.
    limit: u64,
    trial: Option<Measurement>,
    /// Others at the device, if they can be counted and the user gives no number.
    device: Option<SharedDevice>,
    /// The engine of the helpers, once there are some.
    row: Option<&'static EngineSpec>,
    /// Offset up to which the size of the destination has been set.
    sized_to: u64,
}

/// The trial of depths, with the current measurement.
#[derive(Default)]
struct Measurement {
    trial: DepthTrial,
    /// When the current measurement began; `None` before the first.
    began: Option<Instant>,
    /// Bytes that were given to a thread since then.
    bytes: u64,
}

impl PieceWorkers {
    /// Returns the state for a copy that may have more pieces than one on their way, or `None`.
    ///
    /// The blocks must be `reserved`: ext4 and xfs allocate under an exclusive lock. A rate limit or a governor decides
    /// itself how much may be on its way.
    pub(super) fn for_plan(plan: &Plan<'_>, reserved: bool) -> Option<Self> {
        let (job, options) = (plan.job, &plan.options);
        let suited = reserved
            && job.pace.is_none()
            && job.dest_caps.regular
            && job.source_info.kind != SourceKind::Stream
            && options.sparse != Sparse::Always
            && plan.rows.iter().any(|row| row.is_direct());
        let measured = options.in_flight.is_none();
        let enough = job.source_info.data >= depth_trial::MIN_BYTES && options.chunk.is_none();
        if !suited || measured && !enough {
            return None;
        }
        let limit = options.in_flight.unwrap_or(MAX_BYTES);
        let depth = usize::try_from(limit / PIECE_BYTES).unwrap_or(MAX_DEPTH);
        Some(Self {
            queue: Arc::default(),
            helpers: Vec::new(),
            depth: if measured {
                1
            } else {
                depth.clamp(1, MAX_DEPTH)
            },
            limit,
            trial: measured.then(Measurement::default),
            device: if measured {
                shared_device_of(plan)
            } else {
                None
            },
            row: None,
            sized_to: 0,
        })
    }

    /// Returns the bytes that one piece may have while two engines are compared. All pieces have one size then, whatever
    /// others do.
    pub(super) fn piece_bytes_on_trial(&self) -> u64 {
        match self.device {
            Some(_) => SHARED_BYTES,
            None => self.piece_bytes(),
        }
    }

    /// Returns the bytes that one piece may have.
    pub(super) fn piece_bytes(&self) -> u64 {
        if self.is_shared() {
            SHARED_BYTES
        } else {
            self.limit / self.depth as u64
        }
    }

    /// Returns whether others wait for the device, as far as is known.
    fn is_shared(&self) -> bool {
        self.device.as_ref().is_some_and(SharedDevice::is_shared)
    }

    /// Looks whether others wait for the device. Returns the event of a change.
    fn look_at_device(&mut self) -> Option<Event> {
        let is_changed = self.device.as_mut()?.look(Instant::now());
        if !is_changed {
            return None;
        }
        if let Some(measured) = &mut self.trial {
            // What was measured since the last look may have been measured in both states.
            *measured = Measurement::default();
            self.depth = 1;
        }
        let bytes = self.depth() as u64 * self.piece_bytes();
        Some(Event::Sharing {
            is_shared: self.is_shared(),
            bytes,
        })
    }

    /// Returns the offset up to which the file is complete, if the copying thread is at `cursor`.
    pub(super) fn complete_until(&self, cursor: u64) -> u64 {
        self.queue.complete_until(cursor)
    }

    /// Returns the queue of the pieces.
    pub(super) fn queue(&self) -> Arc<PieceQueue> {
        Arc::clone(&self.queue)
    }

    /// Returns the engine of the helpers, once there are some.
    pub(super) fn row(&self) -> Option<&'static EngineSpec> {
        self.row
    }

    /// Returns the number of pieces that are on their way at once.
    pub(super) fn depth(&self) -> usize {
        if self.is_shared() { 1 } else { self.depth }
    }

    /// Counts bytes that were given to a thread.
    pub(super) fn count_measured(&mut self, bytes: u64) {
        if let Some(measured) = &mut self.trial {
            measured.bytes += bytes;
        }
    }

    /// Returns whether a measurement is to be ended or begun, if so many bytes are `left`. Where they are too few for a
    /// trial, there will be none.
    pub(super) fn is_measurement_due(&mut self, left: u64) -> bool {
        let Some(measured) = self.trial.as_ref().filter(|_| !self.is_shared()) else {
            return false;
        };
        if measured.began.is_some() {
            return measured.bytes >= depth_trial::WINDOW_BYTES;
        }
        if left < depth_trial::MIN_BYTES {
            self.trial = None;
        }
        self.trial.is_some()
    }

    /// Accounts the current measurement, and begins the next one. Returns the event of a trial that is over.
    pub(super) fn next_measurement(&mut self) -> Option<Event> {
        let measured = self.trial.as_mut()?;
        let (bytes, began) = (measured.bytes, measured.began.replace(Instant::now()));
        measured.bytes = 0;
        let over = began.is_some_and(|began| measured.trial.record(bytes, began.elapsed()));
        self.depth = measured.trial.depth();
        if !over {
            return None;
        }
        let tried = measured.trial.tried();
        self.trial = None;
        Some(Event::Depth(DepthSummary {
            depth: self.depth,
            piece: self.piece_bytes(),
            tried,
        }))
    }
}

/// Looks whether others wait for the device. Once they do, what the helpers have on their way is waited for.
pub(super) fn look_at_device(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let changed = run.workers.as_mut().and_then(PieceWorkers::look_at_device);
    let Some(changed) = changed else {
        return Ok(());
    };
    wait_idle(run)?;
    run.listener.event(&changed);
    Ok(())
}

/// Returns what is known of others at the device, where the copy itself does not read from a disk: its own reads cannot be
/// told from theirs.
fn shared_device_of(plan: &Plan<'_>) -> Option<SharedDevice> {
    let (job, options) = (plan.job, &plan.options);
    let from_disk = matches!(
        job.source_info.kind,
        SourceKind::Disk | SourceKind::BlockDevice
    );
    if from_disk || options.verify {
        return None;
    }
    let counter = options.count_requests?(job.dest)?;
    SharedDevice::new(counter, !options.durable_points, Instant::now())
}

/// Ends the helpers, whatever the copy came to. Afterwards the cursor is where the contiguous part of the file ends.
///
/// Pieces that wait lie before an error that the copying thread has met, so they are still moved, unless a user waits.
pub(super) fn end(run: &mut FileCopy<'_>) {
    let Some(mut workers) = run.workers.take() else {
        return;
    };
    while !run.listener.interrupted() && !workers.queue.wait_idle(CHECK_INTERVAL) {
        if workers.helpers.iter().any(JoinHandle::is_finished) {
            break;
        }
    }
    workers.queue.close();
    for helper in workers.helpers.drain(..) {
        match helper.join() {
            Ok(usage) => run.account.helpers.add(usage),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    apply_report(run, &workers.queue);
    run.cursor.pos = workers.complete_until(run.cursor.pos);
    run.account.peak_in_flight = run.account.peak_in_flight.max(workers.queue.peak());
}

/// Lets the helpers finish, and uses them no more: the next engine works alone.
pub(super) fn retire(run: &mut FileCopy<'_>) -> Result<(), Error> {
    wait_idle(run)?;
    if let Some(workers) = &mut run.workers {
        workers.depth = 1;
        workers.trial = None;
        workers.device = None;
        let queue = Arc::clone(&workers.queue);
        apply_report(run, &queue);
    }
    Ok(())
}

/// Gives a piece to the helpers, if they do not have enough.
pub(super) fn push(run: &mut FileCopy<'_>, piece: Piece) -> bool {
    let helpers = run.workers.as_ref().map_or(0, |workers| workers.depth - 1);
    start_helpers(run, helpers);
    let Some(workers) = &mut run.workers else {
        return false;
    };
    let helpers = helpers.min(workers.helpers.len());
    helpers > 0 && workers.queue.push(piece, helpers)
}

/// Starts helpers until there are so many. Where no thread can be started, there are as many as there are.
fn start_helpers(run: &mut FileCopy<'_>, wanted: usize) {
    let row = run.engines.current();
    let Some(workers) = &mut run.workers else {
        return;
    };
    while workers.helpers.len() < wanted {
        match start_helper(run.plan, row, workers) {
            Ok(helper) => {
                workers.row = Some(row);
                workers.helpers.push(helper);
            }
            Err(e) => {
                workers.depth = workers.helpers.len() + 1;
                workers.trial = None;
                run.endpoints.notes.push(format!(
                    "cannot start another thread ({}): {} pieces at once",
                    strerror(&e),
                    workers.depth
                ));
                return;
            }
        }
    }
}

/// What a helper needs, in descriptors of its own that share the open files.
struct HelperFiles {
    source: File,
    source_info: SourceInfo,
    dest: File,
    dest_caps: DestCaps,
}

fn start_helper(
    plan: &Plan<'_>,
    row: &'static EngineSpec,
    workers: &PieceWorkers,
) -> io::Result<JoinHandle<ThreadUsage>> {
    let chunk = usize::try_from(workers.piece_bytes()).unwrap_or(row.chunk);
    let chunk = plan.options.chunk.unwrap_or_else(|| chunk.min(row.chunk));
    let files = HelperFiles {
        source: plan.job.source.try_clone()?,
        source_info: plan.job.source_info.clone(),
        dest: plan.job.dest.try_clone()?,
        dest_caps: plan.job.dest_caps.clone(),
    };
    let mut engine = row.make(chunk, &files.source_info, &files.dest_caps)?;
    let queue = Arc::clone(&workers.queue);
    std::thread::Builder::new()
        .name("piece-worker".into())
        .spawn(move || run_helper(&files, engine.as_mut(), &queue))
}

/// Moves pieces until the queue is closed. Returns the CPU time that this took.
fn run_helper(files: &HelperFiles, engine: &mut dyn Engine, queue: &PieceQueue) -> ThreadUsage {
    let mut endpoints = Endpoints {
        source: &files.source,
        source_info: &files.source_info,
        dest: DestWriter::already_direct(&files.dest, &files.dest_caps),
        notes: Vec::new(),
    };
    let unit = files.dest_caps.align.unit();
    while let Some(piece) = queue.take() {
        let mut result = PieceResult::default();
        if let Err(error) = move_piece(engine, &mut endpoints, piece, unit, &mut result) {
            result.error = Some(error);
        }
        result.notes = std::mem::take(&mut endpoints.notes);
        queue.finish(piece, result);
    }
    cpu::thread_usage()
}

/// Moves a piece of whole `unit`s, and accounts in `result` how far it came.
fn move_piece(
    engine: &mut dyn Engine,
    endpoints: &mut Endpoints<'_>,
    piece: Piece,
    unit: u64,
    result: &mut PieceResult,
) -> Result<(), EngineError> {
    let mut stalls = 0;
    while result.moved < piece.len {
        let (at, rest) = (piece.at + result.moved, piece.len - result.moved);
        let (moved, cost) = measure_call(|| engine.transfer(at, rest as usize, endpoints));
        let costliest = result.costliest.filter(|(_, cpu)| *cpu > cost.cpu);
        result.costliest = costliest.or(Some((rest, cost.cpu)));
        // A short direct write may end inside a unit: that unit is written again.
        let moved = moved? as u64 / unit * unit;
        result.moved += moved;
        stalls = if moved == 0 { stalls + 1 } else { 0 };
        if stalls > MAX_STALLS {
            let error = io::ErrorKind::WriteZero.into();
            return Err(EngineError::Fatal(Endpoint::Dest, error));
        }
    }
    Ok(())
}

/// Waits until no helper moves anything.
pub(super) fn wait_idle(run: &mut FileCopy<'_>) -> Result<(), Error> {
    loop {
        let Some(workers) = &run.workers else {
            return Ok(());
        };
        if workers.queue.wait_idle(CHECK_INTERVAL) {
            return Ok(());
        }
        if workers.helpers.iter().any(JoinHandle::is_finished) {
            // A helper ends before the queue is closed only by a panic, which `end` continues.
            end(run);
            return Ok(());
        }
        report(run)?;
    }
}

/// Sets the size of the destination ahead, where a piece would end behind it.
pub(super) fn set_size_ahead(run: &mut FileCopy<'_>, piece: Piece) -> Result<(), Error> {
    let size = run.cursor.size;
    let Some(workers) = run
        .workers
        .as_mut()
        .filter(|workers| workers.sized_to < piece.end())
    else {
        return Ok(());
    };
    let ahead = (piece.end() + SIZE_STEP).min(size);
    workers.sized_to = ahead;
    if retry(|| ftruncate(run.plan.job.dest, ahead.cast_signed())).is_err() {
        // Without it the pieces wait for each other, which costs time and is no error.
        retire(run)?;
    }
    Ok(())
}

/// Accounts what the helpers did since the last call.
pub(super) fn apply_report(run: &mut FileCopy<'_>, queue: &PieceQueue) {
    let done = queue.take_report();
    if let Some((bytes, cpu)) = done.costliest {
        run.engines.adapt(bytes, cpu);
    }
    // Where nothing was moved, no engine may be left to account it to.
    if done.moved > 0 {
        run.account.add(run.engines.current(), done.moved);
    }
    for text in done.notes {
        run.listener.event(&Event::Note { text });
    }
}

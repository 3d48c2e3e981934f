//! The one way a chunk goes: wait for tokens, let the engine at work move it, fall back where that cannot, account for it.

use std::io;

use super::super::cpu_budget::{CallCost, measure_call};
use super::super::dest_writer::WriteMode;
use super::super::errno_class::{Endpoint, EngineError};
use super::super::error::Error;
use super::super::event::Event;
use super::super::plan::DirectPolicy;
use super::super::rate_limit::CallSpan;
use super::super::token_wait;
use super::direct_check::verify_direct;
use super::piece_workers;
use super::room_check;
use super::unaligned::{write_padded, write_tail};
use super::{FileCopy, report};
use crate::sys::clock::MonotonicNs;
use crate::sys::file::set_direct;
use crate::sys::strerror::strerror;

/// What one chunk writes at the cursor.
#[derive(Clone, Copy)]
pub(super) enum Chunk<'b> {
    /// So many bytes of the source, from the same offset.
    SourceFile(usize),
    /// The first bytes of a buffer; padded with the zeros behind them where the write mode needs whole units.
    Buffer(&'b [u8], usize),
}

impl Chunk<'_> {
    fn len(self) -> u64 {
        match self {
            Self::SourceFile(len) | Self::Buffer(_, len) => len as u64,
        }
    }

    /// Returns its first `len` bytes.
    fn first(self, len: u64) -> Self {
        match self {
            Self::SourceFile(_) => Self::SourceFile(len as usize),
            Self::Buffer(data, _) => Self::Buffer(data, len as usize),
        }
    }
}

/// Writes a chunk at the cursor, or as much of it as may go at once. Returns once that is done.
pub(super) fn copy_chunk(run: &mut FileCopy<'_>, chunk: Chunk<'_>) -> Result<(), Error> {
    let taken = wait_for_tokens(run, chunk.len())?;
    let granted = room_check::grant(run, taken)?;
    let began = run.plan.job.pace.map(|_| MonotonicNs::now());
    let moved = write_admitted(run, chunk.first(granted))?;
    room_check::settle(run, moved);
    let (Some(pace), Some(began)) = (run.plan.job.pace, began) else {
        return Ok(());
    };
    pace.record_moved(taken, moved);
    // The time of a call that reads another disk, or that waits for more than its own bytes, says little about this disk.
    let direct = run.endpoints.dest.write_mode() == WriteMode::Direct;
    if direct && run.plan.job.source_info.kind.is_memory() {
        let end = MonotonicNs::now();
        pace.record_call(CallSpan { began, end });
    }
    Ok(())
}

/// Writes the first `len` bytes of a buffer in chunks, as the pace allows.
pub(super) fn copy_buffer(run: &mut FileCopy<'_>, data: &[u8], len: usize) -> Result<(), Error> {
    let begin = run.cursor.pos;
    let end = begin + len as u64;
    while run.cursor.pos < end {
        let done = (run.cursor.pos - begin) as usize;
        copy_chunk(run, Chunk::Buffer(&data[done..], len - done))?;
    }
    Ok(())
}

/// Writes a chunk that has its tokens, by the first row that can. Returns the bytes that were moved.
pub(super) fn write_admitted(run: &mut FileCopy<'_>, chunk: Chunk<'_>) -> Result<u64, Error> {
    let (moved, cost) = loop {
        let (moved, cost) = attempt_measured(run, chunk);
        match moved {
            Ok(n) => break (n as u64, cost),
            Err(EngineError::Unsupported(side, e)) => fall_back(run, side, e)?,
            Err(fault) => return Err(run.to_error(fault)),
        }
    };
    for text in run.endpoints.notes.drain(..) {
        run.listener.event(&Event::Note { text });
    }
    run.account.add(run.engines.current(), moved);
    run.account.peak_in_flight = run.account.peak_in_flight.max(moved);
    run.cursor.pos += moved;
    if let Some(cost) = cost
        && let Some(decided) = run.engines.note_trial_chunk(moved, cost)
    {
        run.listener.event(&decided);
    }
    Ok(moved)
}

/// Waits until some of `bytes` may go, and returns how many. What goes through the cache stays as bounded as a chunk.
pub(super) fn wait_for_tokens(run: &mut FileCopy<'_>, bytes: u64) -> Result<u64, Error> {
    let (pace, unit) = (run.plan.job.pace, run.align().unit());
    let taken = token_wait::wait_for_tokens(pace, bytes, unit, || report(run))?;
    let in_flight = run.plan.options.in_flight.unwrap_or(u64::MAX);
    run.endpoints
        .dest
        .limit_dirty_window(|most| token_wait::limit_dirty_bytes(pace, most).min(in_flight));
    Ok(taken)
}

/// Makes one attempt. What the engine moves is measured, by one pair of clock readings for both the size of the next call and
/// the trial; what is written from a buffer is not.
fn attempt_measured(
    run: &mut FileCopy<'_>,
    chunk: Chunk<'_>,
) -> (Result<usize, EngineError>, Option<CallCost>) {
    if let Chunk::Buffer(..) = chunk {
        return (attempt(run, chunk), None);
    }
    let (moved, cost) = measure_call(|| attempt(run, chunk));
    run.engines.adapt(chunk.len(), cost.cpu);
    (moved, Some(cost))
}

fn attempt(run: &mut FileCopy<'_>, chunk: Chunk<'_>) -> Result<usize, EngineError> {
    start_row(run)?;
    let unit = run.align().unit() as usize;
    let direct = run.engines.current().write_mode == WriteMode::Direct;
    let n = match chunk {
        Chunk::Buffer(data, len) => write_padded(run, data, len)?,
        Chunk::SourceFile(len) if direct && len < unit => write_tail(run, len)?,
        Chunk::SourceFile(len) => {
            let n = transfer(run, len)?;
            // A short direct write may end inside a unit: that unit is written again.
            if direct { n - n % unit } else { n }
        }
    };
    verify_direct(run, n)?;
    check_progress(run, n)
}

/// Brings both descriptors into the mode of the row at work, unless they are in it.
pub(super) fn start_row(run: &mut FileCopy<'_>) -> Result<(), EngineError> {
    if !run.engines.is_started {
        let write_mode = run.engines.current().write_mode;
        run.endpoints.dest.set_write_mode(write_mode)?;
        // A row before may have read with O_DIRECT; the kernel's own copies would trip over that.
        let _ = set_direct(run.endpoints.source, false);
        run.engines.is_started = true;
    }
    Ok(())
}

/// Lets the engine at work move `len` bytes or fewer, and makes it for its first chunk.
fn transfer(run: &mut FileCopy<'_>, len: usize) -> Result<usize, EngineError> {
    let (plan, row) = (run.plan, run.engines.current());
    let engine = match &mut run.engines.engine {
        Some(engine) => engine,
        none => {
            let chunk = plan.options.chunk.unwrap_or(row.chunk);
            let made = row.make(chunk, &plan.job.source_info, &plan.job.dest_caps);
            none.insert(made.map_err(|e| EngineError::Unsupported(Endpoint::Source, e))?)
        }
    };
    engine.transfer(run.cursor.pos, len, &mut run.endpoints)
}

/// Fails after several calls that moved nothing: that is an error, not a loop.
fn check_progress(run: &mut FileCopy<'_>, n: usize) -> Result<usize, EngineError> {
    if !run.engines.is_stalled(n) {
        return Ok(n);
    }
    // A source that is being cut off gives direct writes less than a unit.
    let now = run.endpoints.source.metadata();
    Err(if now.is_ok_and(|now| now.len() < run.cursor.size) {
        EngineError::SourceEnd
    } else {
        EngineError::Fatal(Endpoint::Dest, io::ErrorKind::WriteZero.into())
    })
}

/// Lets the next row go on, or fails where none is left.
pub(super) fn fall_back(
    run: &mut FileCopy<'_>,
    side: Endpoint,
    error: io::Error,
) -> Result<(), Error> {
    piece_workers::retire(run)?;
    let (from, to) = run.engines.retire_current();
    let Some(to) = to else {
        let options = &run.plan.options;
        let narrowed = options.engine.is_some() || options.direct == DirectPolicy::Always;
        return Err(if narrowed {
            Error::Impossible(strerror(&error))
        } else {
            Error::Io(side, error)
        });
    };
    run.listener.event(&Event::Fallback {
        from: from.name,
        to: to.name,
        why: strerror(&error),
        at: run.cursor.pos,
    });
    Ok(())
}

//! Copies the next piece of a large file: by a helper, where it has not enough to do, or by the copying thread itself.

use super::super::dest_writer::WriteMode;
use super::super::errno_class::{Endpoint, EngineError};
use super::super::error::Error;
use super::chunk::{Chunk, copy_chunk, fall_back};
use super::piece_queue::Piece;
use super::piece_workers::{
    PieceWorkers, apply_report, look_at_device, push, set_size_ahead, wait_idle,
};
use super::room_check;
use super::{FileCopy, report};

/// Copies the next `len` bytes of the source, or gives them to a helper.
pub(super) fn copy_piece(run: &mut FileCopy<'_>, len: usize) -> Result<(), Error> {
    room_check::note_position(run);
    settle_failures(run)?;
    look_at_device(run)?;
    if !is_ready(run, len)? {
        return copy_chunk(run, Chunk::SourceFile(len));
    }
    advance_trial(run)?;
    room_check::grant(run, 0)?;
    let piece = Piece {
        at: run.cursor.pos,
        len: len as u64,
    };
    let Some(workers) = &mut run.workers else {
        return copy_chunk(run, Chunk::SourceFile(len));
    };
    let queue = workers.queue();
    if workers.depth() > 1 {
        report(run)?;
        set_size_ahead(run, piece)?;
        if push(run, piece) {
            run.cursor.pos = piece.end();
            count_measured(run, piece.len);
            return Ok(());
        }
    }
    queue.set_own_bytes(piece.len.min(run.engines.current().chunk as u64));
    let copied = copy_chunk(run, Chunk::SourceFile(len));
    queue.set_own_bytes(0);
    // An engine may move less than it is asked to.
    count_measured(run, run.cursor.pos - piece.at);
    copied
}

fn count_measured(run: &mut FileCopy<'_>, bytes: u64) {
    if let Some(workers) = &mut run.workers {
        workers.count_measured(bytes);
    }
}

/// Waits until no helper moves anything, and moves what they could not.
pub(super) fn finish(run: &mut FileCopy<'_>) -> Result<(), Error> {
    wait_idle(run)?;
    settle_failures(run)
}

/// Returns whether a piece may be moved beside others. A last one that is no whole unit may not: it changes the mode of
/// the destination, so it waits for the others.
fn is_ready(run: &mut FileCopy<'_>, len: usize) -> Result<bool, Error> {
    let dest = &run.endpoints.dest;
    if run.workers.is_none()
        || run.engines.is_on_trial()
        || dest.write_mode() != WriteMode::Direct
        || !dest.is_direct_verified
    {
        return Ok(false);
    }
    if (len as u64).is_multiple_of(run.align().unit()) {
        return Ok(true);
    }
    finish(run)?;
    Ok(false)
}

/// Ends the measurement of a depth that is complete, and begins the next one.
fn advance_trial(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let left = run.cursor.size - run.cursor.pos;
    if run
        .workers
        .as_mut()
        .is_some_and(|workers| workers.is_measurement_due(left))
    {
        wait_idle(run)?;
        let decided = run
            .workers
            .as_mut()
            .and_then(PieceWorkers::next_measurement);
        if let Some(decided) = decided {
            run.listener.event(&decided);
        }
    }
    Ok(())
}

/// Moves with the next engine what helpers could not move, or fails with the error at the smallest offset.
fn settle_failures(run: &mut FileCopy<'_>) -> Result<(), Error> {
    let Some(workers) = &run.workers else {
        return Ok(());
    };
    let (queue, row) = (workers.queue(), workers.row());
    apply_report(run, &queue);
    if !queue.has_unfinished() {
        return Ok(());
    }
    queue.cancel_waiting();
    wait_idle(run)?;
    apply_report(run, &queue);
    let reached = run.cursor.pos;
    let left = queue.take_unfinished();
    let Some(first) = left.pieces.first() else {
        return Ok(());
    };
    run.cursor.pos = first.at;
    match left.error {
        // The copying thread may have met the same refusal, and gone on with the next engine.
        Some(EngineError::Unsupported(side, error)) if row == Some(run.engines.current()) => {
            fall_back(run, side, error)?;
        }
        Some(EngineError::Unsupported(..)) | None => {}
        Some(fault) => return Err(run.to_error(fault)),
    }
    for piece in left.pieces {
        move_cursor(run, piece.at)?;
        while run.cursor.pos < piece.end() {
            let len = (piece.end() - run.cursor.pos) as usize;
            copy_chunk(run, Chunk::SourceFile(len))?;
        }
    }
    move_cursor(run, reached)
}

/// Continues at another offset. What goes through the cache is followed by its offsets, which may not step back while it
/// is dirty.
fn move_cursor(run: &mut FileCopy<'_>, to: u64) -> Result<(), Error> {
    let flushed = run.endpoints.dest.finish();
    flushed.map_err(|e| Error::Io(Endpoint::Dest, e))?;
    run.cursor.pos = to;
    Ok(())
}

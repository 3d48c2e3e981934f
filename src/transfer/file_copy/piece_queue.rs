//! The pieces of one file that wait for a thread or are being moved, and how far the file is complete.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::super::errno_class::EngineError;
use crate::sys::lock::{lock, unpoisoned};

/// A range of the file that one thread moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Offset of its first byte.
    pub(super) at: u64,
    /// Number of bytes, at least one.
    pub(super) len: u64,
}

impl Piece {
    /// Returns the first offset behind it.
    pub(super) fn end(self) -> u64 {
        self.at + self.len
    }
}

/// What a thread did with a piece.
#[derive(Debug, Default)]
pub(super) struct PieceResult {
    /// Bytes from the start of the piece that were moved.
    pub(super) moved: u64,
    /// The size and the CPU time of its most expensive call.
    pub(super) costliest: Option<(u64, Duration)>,
    /// Why the rest was not moved.
    pub(super) error: Option<EngineError>,
    /// Degradations that are to be reported.
    pub(super) notes: Vec<String>,
}

/// What the threads have done since it was last taken.
#[derive(Debug, Default)]
pub(super) struct PieceReport {
    /// Number of bytes that were moved.
    pub(super) moved: u64,
    /// The size and the CPU time of the most expensive call.
    pub(super) costliest: Option<(u64, Duration)>,
    /// Degradations that are to be reported.
    pub(super) notes: Vec<String>,
}

/// The pieces that were given up, in the order of their offsets, with the error of the first one.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The ranges that no thread has moved.
    pub(super) pieces: Vec<Piece>,
    /// The error at the smallest offset.
    pub(super) error: Option<EngineError>,
}

/// The queue between the copying thread and its helpers.
#[derive(Debug, Default)]
pub(super) struct PieceQueue {
    state: Mutex<State>,
    /// Notified when a piece comes, or the queue is closed.
    work: Condvar,
    /// Notified when a piece is done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Piece>,
    moving: Vec<Piece>,
    unfinished: Unfinished,
    report: PieceReport,
    /// Bytes that the copying thread itself is moving.
    own_bytes: u64,
    /// Number of threads that may move a piece at once.
    helpers: usize,
    /// Most bytes that were being moved at once.
    peak: u64,
    closed: bool,
}

impl PieceQueue {
    /// Adds a piece for one of `helpers` threads. Returns false if all of them are busy and as many pieces wait, or if
    /// one has failed.
    pub(super) fn push(&self, piece: Piece, helpers: usize) -> bool {
        let mut state = self.lock();
        let busy = state.waiting.len() + state.moving.len();
        if busy >= 2 * helpers || !state.unfinished.pieces.is_empty() {
            return false;
        }
        state.helpers = helpers;
        state.waiting.push_back(piece);
        drop(state);
        self.work.notify_one();
        true
    }

    /// Waits for a piece to move. Returns `None` once the queue is closed.
    pub(super) fn take(&self) -> Option<Piece> {
        let mut state = self.lock();
        loop {
            if state.moving.len() < state.helpers
                && let Some(piece) = state.waiting.pop_front()
            {
                state.moving.push(piece);
                state.note_peak();
                return Some(piece);
            }
            if state.closed {
                return None;
            }
            state = unpoisoned(self.work.wait(state));
        }
    }

    /// Accounts a piece that [`Self::take`] gave. What was not moved of it is left to the copying thread, and so are all
    /// pieces that wait.
    pub(super) fn finish(&self, piece: Piece, result: PieceResult) {
        let mut state = self.lock();
        state.moving.retain(|other| *other != piece);
        state.report.moved += result.moved;
        state.report.notes.extend(result.notes);
        let costlier = |old: Option<(u64, Duration)>| {
            result
                .costliest
                .filter(|new| old.is_none_or(|old| old.1 < new.1))
        };
        if let Some(cost) = costlier(state.report.costliest) {
            state.report.costliest = Some(cost);
        }
        if let Some(error) = result.error {
            let rest = Piece {
                at: piece.at + result.moved,
                len: piece.len - result.moved,
            };
            state.give_up(rest, error);
        }
        drop(state);
        self.done.notify_one();
    }

    /// Takes the pieces back that wait.
    pub(super) fn cancel_waiting(&self) {
        self.lock().cancel_waiting();
    }

    /// Returns whether a thread has failed.
    pub(super) fn has_unfinished(&self) -> bool {
        !self.lock().unfinished.pieces.is_empty()
    }

    /// Waits at most for `time` until no piece waits or is being moved. Returns whether that is so.
    pub(super) fn wait_idle(&self, time: Duration) -> bool {
        let busy = |state: &mut State| !(state.waiting.is_empty() && state.moving.is_empty());
        let waited = self.done.wait_timeout_while(self.lock(), time, busy);
        !unpoisoned(waited).1.timed_out()
    }

    /// Returns the offset up to which the file is complete, if all before `cursor` was given to a thread.
    pub(super) fn complete_until(&self, cursor: u64) -> u64 {
        let state = self.lock();
        let open = state.waiting.iter().chain(&state.moving);
        let open = open.chain(&state.unfinished.pieces);
        open.map(|piece| piece.at)
            .min()
            .unwrap_or(cursor)
            .min(cursor)
    }

    /// Notes that the copying thread itself is moving so many bytes.
    pub(super) fn set_own_bytes(&self, bytes: u64) {
        let mut state = self.lock();
        state.own_bytes = bytes;
        state.note_peak();
    }

    /// Returns the most bytes that were being moved at once.
    pub(super) fn peak(&self) -> u64 {
        self.lock().peak
    }

    /// Takes what was done since the last call.
    pub(super) fn take_report(&self) -> PieceReport {
        std::mem::take(&mut self.lock().report)
    }

    /// Takes what was given up.
    pub(super) fn take_unfinished(&self) -> Unfinished {
        let mut unfinished = std::mem::take(&mut self.lock().unfinished);
        unfinished.pieces.sort_by_key(|piece| piece.at);
        unfinished
    }

    /// Lets the threads end once they have moved what they are moving. Pieces that wait are given up.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.cancel_waiting();
        state.closed = true;
        drop(state);
        self.work.notify_all();
    }

    // A panic leaves a consistent queue, since no operation on it stops halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn note_peak(&mut self) {
        let moving: u64 = self.moving.iter().map(|piece| piece.len).sum();
        self.peak = self.peak.max(moving + self.own_bytes);
    }

    fn give_up(&mut self, rest: Piece, error: EngineError) {
        let pieces = &self.unfinished.pieces;
        if pieces.iter().all(|piece| rest.at < piece.at) || self.unfinished.error.is_none() {
            self.unfinished.error = Some(error);
        }
        self.unfinished.pieces.push(rest);
        self.cancel_waiting();
    }

    fn cancel_waiting(&mut self) {
        self.unfinished.pieces.extend(self.waiting.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::super::errno_class::Endpoint;
    use super::*;

    fn piece(at: u64) -> Piece {
        Piece { at, len: 10 }
    }

    fn failed(moved: u64, errno: i32) -> PieceResult {
        let error = io::Error::from_raw_os_error(errno);
        PieceResult {
            moved,
            error: Some(EngineError::Fatal(Endpoint::Dest, error)),
            ..PieceResult::default()
        }
    }

    fn moved(moved: u64) -> PieceResult {
        PieceResult {
            moved,
            ..PieceResult::default()
        }
    }

    #[test]
    fn a_file_is_complete_up_to_the_first_open_piece() {
        let queue = PieceQueue::default();
        assert_eq!(queue.complete_until(7), 7);
        assert!(queue.push(piece(0), 1) && queue.push(piece(10), 1));
        assert_eq!(queue.take(), Some(piece(0)));
        assert!(!queue.push(piece(20), 1), "one moves, one waits");
        assert!(queue.push(piece(20), 2));
        assert_eq!(queue.take(), Some(piece(10)));
        queue.finish(piece(10), moved(10));
        assert_eq!(queue.complete_until(30), 0);
        queue.finish(piece(0), moved(10));
        assert_eq!(queue.complete_until(30), 20);
        assert!(!queue.wait_idle(Duration::ZERO));
        assert_eq!(queue.take(), Some(piece(20)));
        queue.finish(piece(20), moved(10));
        assert!(queue.wait_idle(Duration::ZERO));
        assert_eq!(queue.complete_until(30), 30);
        assert_eq!(queue.take_report().moved, 30);
        assert_eq!(queue.peak(), 20);
        queue.set_own_bytes(25);
        assert_eq!(queue.peak(), 25);
    }

    #[test]
    fn after_an_error_everything_from_there_on_is_left() {
        let queue = PieceQueue::default();
        for at in [0, 10, 20] {
            assert!(queue.push(piece(at), 2));
        }
        assert_eq!(queue.take(), Some(piece(0)));
        assert_eq!(queue.take(), Some(piece(10)));
        queue.finish(piece(10), failed(4, libc::EIO));
        assert!(queue.has_unfinished() && !queue.push(piece(30), 2));
        assert_eq!(queue.complete_until(30), 0);
        queue.finish(piece(0), failed(3, libc::ENOSPC));
        assert_eq!(queue.complete_until(30), 3);
        assert!(queue.wait_idle(Duration::ZERO));
        let left = queue.take_unfinished();
        let ranges: Vec<_> = left.pieces.iter().map(|p| (p.at, p.end())).collect();
        assert_eq!(ranges, [(3, 10), (14, 20), (20, 30)]);
        let first = format!("{:?}", left.error);
        assert!(
            first.contains("StorageFull"),
            "the error of the smallest offset: {first}"
        );
    }

    #[test]
    fn a_closed_queue_gives_up_what_waits() {
        let queue = PieceQueue::default();
        assert!(queue.push(piece(0), 1));
        queue.close();
        assert_eq!(queue.take(), None);
        assert_eq!(queue.complete_until(10), 0);
        assert!(queue.take_unfinished().error.is_none());
    }
}

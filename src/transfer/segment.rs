//! A stretch of a source: data or hole, as far as one question about it reaches.

use std::ops::Range;

/// Bytes for which an answer is believed without asking whether data still begins here. One window of the mmap engine.
pub const QUERY_WINDOW_BYTES: u64 = 8 << 20;

/// What comes next in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes that are data.
    Data(Range<u64>),
    /// Nothing but hole before this offset; what is there must be asked.
    Hole(u64),
}

/// The end of the window that `at` lies in.
pub(super) fn window_end(at: u64) -> u64 {
    (at / QUERY_WINDOW_BYTES + 1) * QUERY_WINDOW_BYTES
}

//! A segment of a source: data or hole, as far as one query about it reaches.

use std::ops::Range;

/// Bytes for which an answer is trusted without a new query whether data still begins there: one window of the mmap
/// engine.
pub const QUERY_WINDOW_BYTES: u64 = 8 << 20;

/// What comes next in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A range of bytes that are data.
    Data(Range<u64>),
    /// Only a hole up to this offset; what is there must be queried.
    Hole(u64),
}

/// Returns the end of the window that contains `at`.
pub(super) fn window_end(at: u64) -> u64 {
    (at / QUERY_WINDOW_BYTES + 1) * QUERY_WINDOW_BYTES
}

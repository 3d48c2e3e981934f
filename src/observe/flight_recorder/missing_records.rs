//! Which records a recording lacks, because newer ones have overwritten them or because the ring buffer was read meanwhile.

use super::ring_kind::RingKind;
use crate::sys::clock::MonotonicNs;

/// A time of which one ring buffer has no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MissingRecords {
    /// What the ring buffer records.
    pub(super) kind: RingKind,
    /// The CPU whose ring buffer it is.
    pub(super) cpu: u32,
    /// The first moment without records; 0 if nothing before `to` is kept.
    pub(super) from: MonotonicNs,
    /// The first moment with records again.
    pub(super) to: MonotonicNs,
}

impl MissingRecords {
    /// Returns whether it lies between kept records, since the ring buffer was read then.
    pub(super) fn is_gap(&self) -> bool {
        self.from != MonotonicNs::ZERO
    }

    /// Returns whether it lacks records of this kind between two moments.
    pub(super) fn is_in(&self, kind: RingKind, from: MonotonicNs, to: MonotonicNs) -> bool {
        self.kind == kind && self.from < to && from < self.to
    }
}

//! Sums up how long the copy's own calls took between two decisions of the governor.
//!
//! A call that writes to the disk waits where another program's write would wait, and there are many more calls than samples
//! of a prober.

use std::time::Duration;

use crate::sys::clock::MonotonicNs;

/// The time of one call of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSpan {
    /// The moment at which it was made.
    pub began: MonotonicNs,
    /// The moment at which it had returned.
    pub end: MonotonicNs,
}

impl CallSpan {
    /// Returns how long it took.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.end.since(self.began)
    }
}

/// The calls of a copy since the last decision, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallSummary {
    /// Number of calls since the last decision.
    pub count: u32,
    /// The sum of what these calls took.
    pub total: Duration,
    /// The call that took longest.
    pub longest: CallSpan,
}

impl CallSummary {
    /// Returns the summary of one call.
    #[must_use]
    pub fn new(call: CallSpan) -> Self {
        Self {
            count: 1,
            total: call.duration(),
            longest: call,
        }
    }

    /// Adds the calls of another summary.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let longer = other.longest.duration() > self.longest.duration();
        Self {
            count: self.count.saturating_add(other.count),
            total: self.total.saturating_add(other.total),
            longest: if longer { other.longest } else { self.longest },
        }
    }

    /// Returns the mean duration of a call.
    #[must_use]
    pub fn mean(self) -> Duration {
        self.total / self.count.max(1)
    }
}

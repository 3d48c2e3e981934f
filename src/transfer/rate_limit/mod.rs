//! How fast a copy may go: a token bucket that every byte passes, and a governor that sets its rate by what others feel.
//!
//! Both are arithmetic: time and samples come in as values, so that hours of them can be tried in a second. [`RateLimiter`] is
//! what the threads of a run share: who governs gives it [`RateSettings`], who copies asks it before each chunk.

mod fifo_queue;
mod governor;
mod rate;
mod rate_limiter;
mod signal;
mod token_bucket;

pub use governor::Governor;
pub use rate::Rate;
pub use rate_limiter::{Permit, RateLimiter};
pub use signal::{Cause, FIGURE_PLACEHOLDER, Feed, FigureUnit, Limits, SIGNALS, SignalSpec};
pub use token_bucket::{TokenBucket, Wait};

use std::time::Duration;

use crate::sys::clock::MonotonicNs;

/// The rate that goes on whatever others feel: a copy that stands still is no copy.
const MIN_RATE: Rate = Rate::from_bytes_per_sec(MIN_BYTES_PER_SEC);

/// The same in bytes per second.
const MIN_BYTES_PER_SEC: u64 = 2 << 20;

/// One answer to a prober, for one or more moments at which it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// The first intended moment.
    pub intended: MonotonicNs,
    /// How many moments, a period apart, it serves.
    pub moments: u64,
    /// When it was there.
    pub end: MonotonicNs,
}

/// A reading of PSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallSample {
    /// When it was read.
    pub at: MonotonicNs,
    /// Microseconds since boot in which some task waited.
    pub total_us: u64,
}

/// What the sensor of a signal has measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// An answer to a prober.
    Latency(LatencySample),
    /// A reading of PSI.
    Stall(StallSample),
}

/// What the copy has done since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyTotals {
    /// Bytes that were moved.
    pub moved: u64,
    /// The time that all threads together have waited for the bucket.
    pub waited: Duration,
}

/// Who holds the copy back, and by how much. Seconds for latencies, percent for pressure, bytes a second for the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bottleneck {
    /// What.
    pub cause: Cause,
    /// What was measured: the 99th percentile of the window, the pressure, the rate that is reached.
    pub figure: f64,
    /// What is allowed.
    pub target: f64,
    /// The rate that the copy is held to.
    pub rate: Rate,
}

/// What the governor tells once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Notice {
    /// Before a byte was copied the target was missed already.
    TargetMissedBeforeStart(Bottleneck),
    /// It was missed at the trickle for as long as the user has patience.
    GiveUp(Bottleneck),
}

/// What the copy shall do from now on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSettings {
    /// How fast it may go. Before the first byte it is stopped.
    pub rate: Rate,
    /// Bytes of one call, at most.
    pub chunk: usize,
    /// Who holds it back, if anyone does.
    pub bottleneck: Option<Bottleneck>,
    /// What is to be told.
    pub notice: Option<Notice>,
}

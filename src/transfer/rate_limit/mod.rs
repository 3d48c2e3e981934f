//! How fast a copy may go: a token bucket that every byte passes, and a governor that sets its rate by what others feel.
//!
//! Both are arithmetic: time and samples come in as values, so that hours of them can be tried in a second. [`RateLimiter`] is
//! what the threads of a run share: who governs gives it [`RateSettings`], who copies asks it before each chunk.

mod fifo_queue;
mod governor;
mod rate_limiter;
mod signal;
mod token_bucket;

pub use governor::Governor;
pub use rate_limiter::{Permit, RateLimiter};
pub use signal::{Cause, FIGURE_PLACEHOLDER, Feed, FigureUnit, Limits, SIGNALS, SignalSpec};
pub use token_bucket::TokenBucket;

/// Bytes a second that go on whatever others feel: a copy that stands still is no copy.
const MIN_RATE: u64 = 2 << 20;

/// One answer to a prober, for one or more moments at which it was asked for. CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// The first intended moment.
    pub intended: u64,
    /// How many moments, a period apart, it serves.
    pub moments: u64,
    /// When it was there.
    pub end: u64,
}

/// A reading of PSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallSample {
    /// When it was read, CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
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
    /// Nanoseconds that threads have waited for the bucket, in all.
    pub waited: u64,
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
    /// Bytes a second that the copy is held to.
    pub rate: u64,
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
    /// Bytes a second; 0: nothing moves yet; `u64::MAX`: no limit.
    pub rate: u64,
    /// Bytes of one call, at most.
    pub chunk: usize,
    /// Who holds it back, if anyone does.
    pub bottleneck: Option<Bottleneck>,
    /// What is to be told.
    pub notice: Option<Notice>,
}

//! Limits the rate of a copy: a token bucket that every byte passes, and a governor that sets its rate by the latency
//! and pressure that other programs see.
//!
//! Both are arithmetic: time and samples are arguments, so that hours can be simulated in a second. The threads of a
//! run share a [`RateLimiter`]: the governing thread applies [`RateSettings`], and the copying threads ask before each
//! chunk.

mod call_summary;
mod fifo_queue;
mod governor;
mod rate;
mod rate_limiter;
mod signal;
mod token_bucket;

pub use call_summary::{CallSpan, CallSummary};
pub use governor::{Governor, RemainingWork, needed_rate};
pub use rate::Rate;
pub use rate_limiter::{EACH_FILE, Permit, RateLimiter};
pub use signal::{Cause, FIGURE_PLACEHOLDER, Feed, FigureUnit, Limits, SIGNALS, SignalSpec};
pub use token_bucket::{TokenBucket, Wait};

use std::time::Duration;

use crate::sys::clock::MonotonicNs;

/// The rate that goes on whatever others feel: a copy that stands still is no copy.
const MIN_RATE: Rate = Rate::from_bytes_per_sec(MIN_BYTES_PER_SEC);

/// The same in bytes per second.
const MIN_BYTES_PER_SEC: u64 = 2 << 20;

/// What may be made up for where nothing but the rate is to be kept. With the chunks in flight, which together are at most an
/// eightieth of a second, no second has more bytes than the rate and 50 ms of it.
pub const MAX_BURST: Duration = Duration::from_millis(37);

/// One answer to a prober, for one or more moments at which it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// The first intended time that it serves.
    pub intended: MonotonicNs,
    /// How many intended times, a period apart, it serves.
    pub moments: u64,
    /// When the operation was complete.
    pub end: MonotonicNs,
}

/// A reading of PSI, pressure stall information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallSample {
    /// The moment at which it was read.
    pub at: MonotonicNs,
    /// Microseconds since boot in which some task waited.
    pub total_us: u64,
}

/// A measurement by the sensor of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// The result of a prober's operation.
    Latency(LatencySample),
    /// A reading of pressure stall information.
    Stall(StallSample),
}

/// What the copy has done since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyTotals {
    /// Number of bytes that were moved.
    pub moved: u64,
    /// The time that all threads together have waited for the bucket.
    pub waited: Duration,
}

/// What holds the copy back, and by how much. Seconds for latencies, percent for pressure, bytes per second for the
/// rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bottleneck {
    /// The cause that limits the rate.
    pub cause: Cause,
    /// What was measured: the 99th percentile of the window, the pressure, the rate that is reached.
    pub figure: f64,
    /// The value that is allowed.
    pub target: f64,
    /// The rate that the copy is held to.
    pub rate: Rate,
}

/// A notice that the governor gives once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Notice {
    /// The target was missed already before the first byte was copied.
    TargetMissedBeforeStart(Bottleneck),
    /// The target was missed at the lowest rate for as long as the user allows.
    GiveUp(Bottleneck),
    /// The limits allow less than the deadline needs, and yield to it.
    LimitsYield(Bottleneck),
    /// The copy cannot be complete by the deadline.
    DeadlineTooShort {
        /// The bytes per second that it has, or may have at most.
        rate: f64,
        /// The time that the rest takes at this rate.
        needs: Duration,
        /// The time that is left.
        left: Duration,
    },
    /// The deadline has passed, and the copy is not complete.
    DeadlineOver,
}

/// How the copy shall proceed from now on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSettings {
    /// How fast it may go. Before the first byte it is stopped.
    pub rate: Rate,
    /// Largest number of bytes in one call.
    pub chunk: usize,
    /// What was not used of the rate in so long a time may be made up for.
    pub burst: Duration,
    /// What holds the copy back, if anything does.
    pub bottleneck: Option<Bottleneck>,
    /// A notice to be reported, if there is one.
    pub notice: Option<Notice>,
}

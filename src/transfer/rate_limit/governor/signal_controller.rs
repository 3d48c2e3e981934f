//! The interface between the governor and the controller of a signal, which takes samples and computes the rate that
//! they allow.

use std::fmt::Debug;
use std::time::Duration;

use super::throughput_meter::CopyPace;
use super::{Bottleneck, CallSummary, Cause, Rate, Sample};
use crate::sys::clock::MonotonicNs;

/// The controller of one signal. Each kind of control law is one implementation.
pub(super) trait SignalController: Debug + Send {
    /// Returns the cause that is reported while this controller limits the rate.
    fn cause(&self) -> Cause;

    /// Adds a sample, which is evaluated with the next decision. A sample of another kind is ignored.
    fn add_sample(&mut self, sample: Sample);

    /// Adds the time of the copy's own calls, for a signal that they tell something about.
    fn add_calls(&mut self, _calls: CallSummary) {}

    /// Records that the sensor has died at `now`: the signal is unknown until its successor answers.
    fn sensor_lost(&mut self, _now: MonotonicNs) {}

    /// Returns whether the signal must be measured before the copy starts.
    fn needs_baseline(&self) -> bool {
        false
    }

    /// Adds the samples so far to the baseline. Returns whether they are enough.
    fn collect_baseline(&mut self) -> bool {
        true
    }

    /// Ends the baseline at `now` and starts at the lowest rate. Returns what was measured if that exceeds the target.
    fn end_baseline(&mut self, now: MonotonicNs) -> Option<Bottleneck>;

    /// Starts again at the lowest rate, after a time in which the copy was stopped.
    fn resume(&mut self, now: MonotonicNs);

    /// Computes the allowed rate from the samples since the last decision.
    fn decide(&mut self, pace: &CopyPace);

    /// Returns the allowed rate in bytes per second.
    fn allowed_rate(&self) -> f64;

    /// Lowers the allowed rate to `most` bytes per second if it is above.
    fn cap_rate(&mut self, most: f64);

    /// Returns whether there is a sample to decide by.
    fn has_data(&self) -> bool {
        true
    }

    /// Returns whether the target is missed, or nothing is known. `give_up_after` is how long the user tolerates a
    /// miss.
    fn is_missed(&self, now: MonotonicNs, give_up_after: Duration) -> bool;

    /// Returns figure and target, together with the `rate` to which the copy is held.
    fn bottleneck(&self, now: MonotonicNs, rate: Rate) -> Bottleneck;

    /// Returns the limit of a chunk of the copy.
    fn chunk_limit(&self) -> ChunkLimit {
        ChunkLimit::Unlimited
    }
}

/// The limit of a chunk that one signal sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ChunkLimit {
    /// Chunks do not delay what is measured.
    Unlimited,
    /// The seconds that the disk may take for it.
    DiskSeconds(f64),
    /// The seconds that the kernel may take on a CPU for it.
    CpuSeconds(f64),
}

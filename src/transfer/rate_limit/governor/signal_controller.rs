//! What the governor needs of a signal: it takes samples in and says which rate they allow.

use std::fmt::Debug;
use std::time::Duration;

use super::throughput_meter::CopyPace;
use super::{Bottleneck, Cause, Rate, Sample};
use crate::sys::clock::MonotonicNs;

/// The controller of one signal. Each kind of control law is one implementation.
pub(super) trait SignalController: Debug + Send {
    /// Returns what this controller holds the copy back by.
    fn cause(&self) -> Cause;

    /// Takes a sample, to be judged with the next decision. A sample of another kind is ignored.
    fn add_sample(&mut self, sample: Sample);

    /// Notes that the sensor has died at `now`: nothing is known until its successor answers.
    fn sensor_lost(&mut self, _now: MonotonicNs) {}

    /// Whether the machine is to be sampled without a copy first.
    fn needs_baseline(&self) -> bool {
        false
    }

    /// Takes the samples so far into the baseline. Returns whether they are enough.
    fn collect_baseline(&mut self) -> bool {
        true
    }

    /// Ends the baseline at `now` and begins at the lowest rate. Returns what was measured if that is over the target.
    fn end_baseline(&mut self, now: MonotonicNs) -> Option<Bottleneck>;

    /// Begins again at the lowest rate, after a time in which the copy stood still.
    fn resume(&mut self, now: MonotonicNs);

    /// Turns the samples since the last decision into an allowed rate.
    fn decide(&mut self, pace: &CopyPace);

    /// Returns the allowed rate in bytes per second.
    fn allowed_rate(&self) -> f64;

    /// Lowers the allowed rate to `most` bytes per second if it is above.
    fn cap_rate(&mut self, most: f64);

    /// Whether there is a sample to judge by.
    fn has_data(&self) -> bool {
        true
    }

    /// Whether the target is missed, or nothing is known. `give_up_after` says how long a miss is borne.
    fn is_missed(&self, now: MonotonicNs, give_up_after: Duration) -> bool;

    /// Returns figure and target, beside the `rate` that the copy is held to.
    fn bottleneck(&self, now: MonotonicNs, rate: Rate) -> Bottleneck;

    /// Returns what bounds a chunk of the copy.
    fn chunk_limit(&self) -> ChunkLimit {
        ChunkLimit::Unlimited
    }
}

/// How large a chunk may be for the sake of one signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ChunkLimit {
    /// Chunks do not delay what is measured.
    Unlimited,
    /// The seconds that the disk may take for it.
    DiskSeconds(f64),
    /// The seconds that the kernel may take on a CPU for it.
    CpuSeconds(f64),
}

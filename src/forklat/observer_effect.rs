//! What the observers do to each other: the first kind of prober, measured before the others are there.

use std::time::Duration;

use super::model::{Distribution, IsolatedProbe};
use crate::observe::latency_histograms::{LatencyHistograms, intended_times};
use crate::observe::probe::Prober;

/// Measures the first kind for `length`: with the same in the baseline it shows what the others cost.
#[must_use]
pub fn measure(probers: &[Prober], length: Duration) -> Option<IsolatedProbe> {
    // What was answered while others of its kind got ready does not count.
    for prober in probers {
        while prober.pop().is_some() {}
    }
    std::thread::sleep(length);
    let mut latency = LatencyHistograms::default();
    for prober in probers {
        while let Some(sample) = prober.pop() {
            for moment in intended_times(&sample, prober.period_ns) {
                latency.record(moment, sample.end_ns - moment);
            }
        }
    }
    Some(IsolatedProbe {
        probe: probers.first()?.spec.name.to_owned(),
        seconds: length.as_secs_f64(),
        latency: Distribution::of(&latency.latency),
    })
}

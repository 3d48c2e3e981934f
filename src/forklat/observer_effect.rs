//! The effect of the observers on each other: the first kind of prober is measured before the other observers start.

use std::time::Duration;

use super::model::{Distribution, IsolatedProbe};
use crate::observe::latency_histograms::{LatencyHistograms, intended_times};
use crate::observe::probe::Prober;

/// Measures the first kind of prober for `length`. A comparison with the same prober in the baseline shows what the
/// other observers cost.
#[must_use]
pub fn measure(probers: &[Prober], length: Duration) -> Option<IsolatedProbe> {
    // Samples from the time when other probers of this kind were starting are discarded.
    for prober in probers {
        while prober.pop().is_some() {}
    }
    std::thread::sleep(length);
    let mut latency = LatencyHistograms::default();
    for prober in probers {
        while let Some(sample) = prober.pop() {
            for moment in intended_times(&sample, prober.period) {
                latency.record(moment, sample.end.nanos_since(moment));
            }
        }
    }
    Some(IsolatedProbe {
        probe: probers.first()?.spec.name.to_owned(),
        seconds: length.as_secs_f64(),
        latency: Distribution::of(&latency.latency),
    })
}

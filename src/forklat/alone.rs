//! What the observers do to each other: the first kind of prober, measured before the others are there.

use std::time::Duration;

use super::model::{Alone, Distribution};
use crate::observe::latency::{Latency, moments};
use crate::observe::probe::Prober;

/// Measures the first kind for `length`: with the same in the baseline it shows what the others cost.
#[must_use]
pub fn measure(probers: &[Prober], length: Duration) -> Option<Alone> {
    // What was answered while others of its kind got ready does not count.
    for prober in probers {
        while prober.pop().is_some() {}
    }
    std::thread::sleep(length);
    let mut latency = Latency::default();
    for prober in probers {
        while let Some(sample) = prober.pop() {
            for moment in moments(&sample, prober.period) {
                latency.record(moment, sample.end - moment);
            }
        }
    }
    Some(Alone {
        probe: probers.first()?.row.name.to_owned(),
        seconds: length.as_secs_f64(),
        latency: Distribution::of(&latency.latency),
    })
}

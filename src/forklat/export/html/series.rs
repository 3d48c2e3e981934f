//! The series of a timeline as points: seconds since its start, and a value.

use crate::observe::memory::{Metric, Timeline};

/// Points of one line, in the order of time.
pub(super) type Points = Vec<(f64, f64)>;

/// Seconds over which a share of stalled time is taken: less than that shows the noise of ten readings a second.
const STALL_WINDOW: f64 = 0.45;

/// Width in pixels within which a line has one point.
const BUCKET_PIXELS: f64 = 1.5;

/// Returns the lines of Dirty and Writeback, in bytes.
pub(super) fn written(timeline: &Timeline) -> [Points; 2] {
    [Metric::Dirty, Metric::Writeback].map(|metric| gauge(timeline, metric))
}

/// Returns the line of MemAvailable, in bytes.
pub(super) fn available(timeline: &Timeline) -> Points {
    gauge(timeline, Metric::MemAvailable)
}

fn gauge(timeline: &Timeline, metric: Metric) -> Points {
    let values = timeline.series.get(metric.name()).into_iter().flatten();
    let points = timeline.seconds.iter().zip(values);
    let known = points.filter_map(|(at, value)| Some((*at, (*value)? as f64)));
    known.collect()
}

/// Returns the share of time in which some task waited, in percent, for each resource that the kernel reports.
pub(super) fn stalled(timeline: &Timeline) -> Vec<(&'static str, Points)> {
    let names = ["memory", "io", "cpu"].into_iter();
    let found = names.filter_map(|name| {
        let stalls = timeline.pressure.resources.get(name)?;
        let points = timeline.seconds.iter().zip(&stalls.some);
        let known: Points = points.filter_map(|(at, s)| Some((*at, (*s)?))).collect();
        Some((name, shares(&known)))
    });
    found.collect()
}

/// Returns the growth of a number of seconds within the window before each point, in percent of the time.
fn shares(stalled: &Points) -> Points {
    let mut first = 0;
    let mut shares = Points::new();
    for (n, (at, seconds)) in stalled.iter().enumerate() {
        while first + 1 < n && at - stalled[first + 1].0 >= STALL_WINDOW {
            first += 1;
        }
        let (from, before) = stalled[first];
        if *at > from {
            let share = (seconds - before) / (at - from) * 100.0;
            shares.push((*at, share.clamp(0.0, 100.0)));
        }
    }
    shares
}

/// Returns the largest value of a line, or 0 if it has none.
pub(super) fn peak(points: &Points) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

/// Returns a line with one point for each few pixels, of which `x` counts: the highest there, or the lowest.
pub(super) fn thin(points: &[(f64, f64)], highest: bool) -> Points {
    let bucket = |point: &(f64, f64)| (point.0 / BUCKET_PIXELS).floor();
    let buckets = points.chunk_by(|a, b| bucket(a) == bucket(b));
    let extreme = |points: &[(f64, f64)]| {
        let points = points.iter().copied();
        match highest {
            true => points.max_by(|a, b| a.1.total_cmp(&b.1)),
            false => points.min_by(|a, b| a.1.total_cmp(&b.1)),
        }
    };
    buckets.filter_map(extreme).collect()
}

#[cfg(test)]
mod tests {
    use super::{shares, thin};

    #[test]
    fn a_line_keeps_its_extremes() {
        let points = [(0.0, 1.0), (0.5, 9.0), (1.0, 2.0), (4.0, 3.0)];
        assert_eq!(thin(&points, true), [(0.5, 9.0), (4.0, 3.0)]);
        assert_eq!(thin(&points, false), [(0.0, 1.0), (4.0, 3.0)]);
    }

    #[test]
    fn shares_are_those_of_half_a_second() {
        let stalled: Vec<(f64, f64)> = (0..20)
            .map(|n| {
                (
                    f64::from(n) * 0.1,
                    if n < 10 { 0.0 } else { f64::from(n - 9) * 0.05 },
                )
            })
            .collect();
        let shares = shares(&stalled);
        assert_eq!(shares[0], (0.1, 0.0));
        let last = shares.last().unwrap();
        assert!((last.1 - 50.0).abs() < 1e-6, "{last:?}");
    }
}

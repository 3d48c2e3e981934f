//! Histograms against sorted vectors: percentiles, sums, and what comes back from base64.

use std::time::Duration;

use mmapcp::forklat::model::{Distribution, ProbeResult, SummaryStats};
use mmapcp::observe::latency_histograms::{LatencyHistograms, new_histogram, record_ns};
use mmapcp::sys::clock::MonotonicNs;
use proptest::collection::vec;
use proptest::prelude::*;

/// Three significant digits.
const PRECISION: f64 = 1e-3;

/// Microseconds and nanoseconds, minutes, and what lies between.
fn nanoseconds() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![0..5000_u64, 0..10_000_000_u64, 0..100_000_000_000_u64];
    vec(value, 1..400)
}

fn distribution(values: &[u64]) -> Distribution {
    let mut all = new_histogram();
    for value in values {
        record_ns(&mut all, *value);
    }
    Distribution::of(&all)
}

/// The least value that so many of all are not above.
fn quantile(sorted: &[u64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted[rank - 1] as f64 / 1e3
}

/// Within three digits, and never less than a nanosecond.
fn close(figure: f64, exact: f64) -> bool {
    (figure - exact).abs() <= (exact * PRECISION).max(1e-3)
}

fn check(figures: &SummaryStats, values: &mut [u64]) -> Result<(), TestCaseError> {
    values.sort_unstable();
    let mean = values.iter().sum::<u64>() as f64 / values.len() as f64 / 1e3;
    for (name, figure, exact) in [
        ("min", figures.min, quantile(values, 0.0)),
        ("p50", figures.p50, quantile(values, 0.5)),
        ("p90", figures.p90, quantile(values, 0.9)),
        ("p99", figures.p99, quantile(values, 0.99)),
        ("p99.9", figures.p999, quantile(values, 0.999)),
        ("max", figures.max, quantile(values, 1.0)),
        ("mean", figures.mean, mean),
    ] {
        prop_assert!(close(figure, exact), "{name}: {figure} is not {exact}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn figures_are_those_of_the_sorted_values(mut values in nanoseconds()) {
        let distribution = distribution(&values);
        prop_assert_eq!(distribution.count, values.len() as u64);
        check(&distribution.figures.unwrap(), &mut values)?;
    }

    #[test]
    fn a_histogram_comes_back_whole_and_goes_on_growing(values in nanoseconds()) {
        let distribution = distribution(&values);
        let mut back = distribution.read().unwrap();
        prop_assert_eq!(&Distribution::of(&back), &distribution);
        record_ns(&mut back, u64::MAX / 4);
        prop_assert_eq!(back.len(), distribution.count + 1);
    }

    #[test]
    fn a_sum_is_the_distribution_of_all_values(mut one in nanoseconds(), other in nanoseconds()) {
        let mut sum = distribution(&one).read().unwrap();
        sum += distribution(&other).read().unwrap();
        one.extend(other);
        prop_assert_eq!(sum.len(), one.len() as u64);
        check(&Distribution::of(&sum).figures.unwrap(), &mut one)?;
    }
}

#[test]
fn nothing_measured_has_no_figures() {
    let nothing = Distribution::of(&new_histogram());
    assert_eq!((nothing.count, nothing.figures), (0, None));
    let json = serde_json::to_value(&nothing).unwrap();
    assert_eq!(json.get("p99"), None);
    let back: Distribution = serde_json::from_value(json).unwrap();
    assert_eq!(back, nothing);
    assert!(back.read().unwrap().is_empty());
}

#[test]
fn a_damaged_histogram_is_an_error() {
    let whole = distribution(&[1, 2, 3]);
    for histogram in ["", "AAAA", "not base64", &whole.histogram[..20]] {
        let damaged = Distribution {
            histogram: histogram.into(),
            ..whole.clone()
        };
        assert!(damaged.read().is_err(), "{histogram:?}");
    }
    let miscounted = Distribution { count: 4, ..whole };
    let message = miscounted.read().unwrap_err().to_string();
    assert!(
        message.contains("holds 3 values, but its count says 4"),
        "{message}"
    );
}

#[test]
fn a_probe_knows_its_worst_moments_exactly_and_by_the_clock() {
    let mut latency = LatencyHistograms::default();
    latency.record(MonotonicNs::from_nanos(5_000_000_000), 200_123);
    latency.record(MonotonicNs::from_nanos(6_500_000_000), 641_234_567);
    latency.record_service(200_000);
    let boot = Duration::from_secs(1_700_000_000);
    let probe = ProbeResult::of(
        "fork",
        None,
        Duration::from_millis(2),
        &latency,
        MonotonicNs::from_nanos(5_000_000_000),
        boot,
    );
    assert_eq!(probe.period, Some(0.002));
    assert_eq!(probe.latency.count, 2);
    assert_eq!(probe.service.count, 1);
    assert_eq!(probe.latency.figures.unwrap().max, 641_234.567);
    let worst = &probe.worst[0];
    assert_eq!(worst.latency, 641_234.567);
    assert_eq!((worst.time, worst.offset), (1_700_000_006.5, 1.5));
    assert_eq!(probe.worst[1].offset, 0.0);
}

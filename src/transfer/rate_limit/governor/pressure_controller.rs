//! Computes the rate that one pressure (PSI) allows: it changes in proportion, once a second.

use std::collections::VecDeque;
use std::time::Duration;

use super::signal_controller::SignalController;
use super::throughput_meter::CopyPace;
use super::{Bottleneck, Cause, FASTEST, MIN_RATE, Rate, Sample, StallSample};
use crate::sys::clock::MonotonicNs;

/// Span in nanoseconds over which pressure is averaged, and between changes of the rate.
const PRESSURE_SPAN: Duration = Duration::from_secs(1);

/// Time in nanoseconds between two doublings in slow start.
const STEP: Duration = Duration::from_millis(250);

/// Time in nanoseconds between two doublings below [`FAR_BELOW`]: with each reading, of which there are ten in a
/// second. On an idle host slow start costs one second of a copy, without it three.
const QUICK_STEP: Duration = Duration::from_nanos(1_000_000_000 / 12);

/// Fraction of the target below which slow start doubles quickly. If all of slow start were quick, 139 simulated
/// machines that copy through the cache would exceed the pressure by 15 percent-seconds in their first five seconds; so
/// it is 11, as without the quick step.
const FAR_BELOW: f64 = 0.25;

/// Time in nanoseconds without a reading after which the rate is cut.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pressure that is aimed at, as a fraction of the target.
const AIM: f64 = 0.95;

/// The smallest factor of one change.
const MIN_CHANGE_FACTOR: f64 = 0.5;

/// The largest factor of one change.
const HIGHEST: f64 = 1.25;

/// The largest factor near the rate at which congestion last began.
const CREEP: f64 = 1.05;

/// Slow start ends at this fraction of the target.
const WELL_BELOW: f64 = 0.5;

/// Fraction of the rate of the last congestion from which growth is slow, up to [`CONGESTION_GONE_ABOVE`].
const NEAR_CONGESTION_FROM: f64 = 0.85;

/// Above this multiple of it, the congestion is taken to be gone.
const CONGESTION_GONE_ABOVE: f64 = 1.3;

/// Largest number of samples that are kept.
const MAX_READINGS: usize = 64;

/// The controller of one pressure that has a target.
#[derive(Debug)]
pub(super) struct PressureController {
    cause: Cause,
    /// The allowed pressure in percent.
    target: f64,
    readings: VecDeque<StallSample>,
    heard: MonotonicNs,
    changed: MonotonicNs,
    slow_start: bool,
    last_congestion_rate: Option<f64>,
    /// The allowed rate in bytes per second.
    rate: f64,
}

impl PressureController {
    pub(super) fn new(cause: Cause, target: f64, now: MonotonicNs) -> Self {
        Self {
            cause,
            target: target.max(0.01),
            readings: VecDeque::new(),
            heard: now,
            changed: now,
            slow_start: true,
            last_congestion_rate: None,
            rate: MIN_RATE,
        }
    }

    /// Adds a sample, and keeps those of the last second. If time or stall time go back, the samples start again.
    fn add_stall(&mut self, sample: StallSample) {
        if let Some(last) = self.readings.back() {
            if sample.at == last.at {
                return;
            }
            if sample.at < last.at || sample.total_us < last.total_us {
                self.readings.clear();
            }
        }
        let from = sample.at.before(PRESSURE_SPAN);
        while self.readings.get(1).is_some_and(|kept| kept.at <= from) {
            self.readings.pop_front();
        }
        if self.readings.len() == MAX_READINGS {
            self.readings.pop_front();
        }
        self.readings.push_back(sample);
        self.heard = self.heard.max(sample.at);
    }

    /// Starts again at the lowest rate, in slow start.
    fn restart(&mut self, now: MonotonicNs) {
        self.rate = MIN_RATE;
        self.slow_start = true;
        self.changed = now;
    }

    fn silent(&self, now: MonotonicNs) -> bool {
        now.since(self.heard) > SILENCE_TIMEOUT
    }

    fn step(&mut self, percent: f64, pace: &CopyPace) {
        let ceiling = self
            .last_congestion_rate
            .map_or(f64::INFINITY, |rate| rate * MIN_CHANGE_FACTOR);
        if percent >= self.target * WELL_BELOW || self.rate > ceiling {
            self.slow_start = false;
            if percent > self.target {
                self.correct(percent, pace);
            }
        } else if pace.is_throttled {
            self.rate *= 2.0;
            // The next span starts with this reading: the kernel's sums are those of the time of the reading.
            self.changed = self.readings.back().map_or(pace.now, |last| last.at);
        }
    }

    fn correct(&mut self, percent: f64, pace: &CopyPace) {
        let felt = pace.effective_rate(self.rate);
        let trouble = self.last_congestion_rate.unwrap_or(f64::INFINITY);
        let near = self.rate >= trouble * NEAR_CONGESTION_FROM
            && self.rate <= trouble * CONGESTION_GONE_ABOVE;
        let highest = if near { CREEP } else { HIGHEST };
        let factor = (AIM * self.target / percent.max(1e-6)).clamp(MIN_CHANGE_FACTOR, highest);
        if percent > self.target {
            self.last_congestion_rate = Some(felt);
        }
        if factor < 1.0 {
            self.rate = felt * factor;
        } else if pace.is_throttled {
            self.rate *= factor;
        }
        self.changed = pace.now;
    }

    /// Returns the pressure over the last second in percent.
    fn percent(&self) -> f64 {
        self.since(MonotonicNs::ZERO)
            .map_or(0.0, |(percent, _)| percent)
    }

    /// Returns the pressure in percent of the samples from `moment` on, and the time that they span.
    fn since(&self, moment: MonotonicNs) -> Option<(f64, Duration)> {
        let first = self.readings.partition_point(|kept| kept.at < moment);
        let (from, to) = (self.readings.get(first)?, self.readings.back()?);
        let span = to.at.since(from.at);
        let stalled = to.total_us.saturating_sub(from.total_us) as f64 / 1e6;
        (!span.is_zero()).then(|| ((100.0 * stalled / span.as_secs_f64()).min(100.0), span))
    }
}

impl SignalController for PressureController {
    fn cause(&self) -> Cause {
        self.cause
    }

    fn add_sample(&mut self, sample: Sample) {
        if let Sample::Stall(sample) = sample {
            self.add_stall(sample);
        }
    }

    fn end_baseline(&mut self, now: MonotonicNs) -> Option<Bottleneck> {
        self.restart(now);
        None
    }

    fn resume(&mut self, now: MonotonicNs) {
        self.restart(now);
        self.heard = self.heard.max(now);
    }

    fn decide(&mut self, pace: &CopyPace) {
        if pace.is_idle || self.silent(pace.now) {
            self.restart(pace.now);
        } else if let Some((percent, span)) = self.since(self.changed) {
            let far = percent < self.target * FAR_BELOW;
            if self.slow_start && span >= if far { QUICK_STEP } else { STEP } {
                self.step(percent, pace);
            } else if span >= PRESSURE_SPAN {
                self.correct(percent, pace);
            }
        }
        self.rate = self.rate.min(pace.roof()).clamp(MIN_RATE, FASTEST);
    }

    fn allowed_rate(&self) -> f64 {
        self.rate
    }

    fn cap_rate(&mut self, most: f64) {
        self.rate = self.rate.min(most);
    }

    fn is_missed(&self, now: MonotonicNs, _give_up_after: Duration) -> bool {
        self.silent(now) || self.percent() > self.target
    }

    fn bottleneck(&self, _now: MonotonicNs, rate: Rate) -> Bottleneck {
        Bottleneck {
            cause: self.cause,
            figure: self.percent(),
            target: self.target,
            rate,
        }
    }
}

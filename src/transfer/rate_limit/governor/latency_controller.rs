//! One prober's answers, and the rate that they allow: down at once when too many are over, up while they are good.

use std::time::Duration;

use super::super::signal::{ChunkDelay, LatencyTuning};
use super::latency_window::LatencyWindow;
use super::signal_controller::{ChunkLimit, SignalController};
use super::throughput_meter::CopyPace;
use super::{Bottleneck, Cause, FASTEST, LatencySample, MIN_RATE, Rate, Sample};
use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// What counts as over, as a part of the target: the margin within which the 99th percentile may err.
const MARGIN: f64 = 0.9;

/// One moment of so many may be over. The target allows two; the other is for what comes in until a cut is felt.
const SAMPLES_PER_ALLOWED_MISS: usize = 200;

/// What a cut leaves.
const CUT: f64 = 0.7;

/// What is left where the budget is used up and not yet passed: as if trouble had just been touched. At 1, 22 of 2,000
/// simulated machines instead of 11 had more than 1.2 % of moments over their target; were what is asked before it no more cut
/// for, 26.
const EASE: f64 = 0.9;

/// What a cut leaves where the latency was twice the target.
const DEEP_CUT: f64 = 0.5;

/// Below this part of the rate at which trouble last began, growth is that of slow start.
const KNOWN_GOOD: f64 = 0.5;

/// Between this part of it and [`CONGESTION_GONE_ABOVE`], the rate creeps.
const NEAR_CONGESTION_FROM: f64 = 0.85;

/// Past this multiple of it, whatever the trouble was is gone.
const CONGESTION_GONE_ABOVE: f64 = 1.3;

/// Seconds in which the rate doubles where no trouble is near.
const DOUBLES_IN: f64 = 2.0;

/// The same near the trouble: 2.5 % a second. With 5 %, 31 of 2,000 simulated machines instead of 11 (see [`EASE`]), and
/// 86 % of the best fixed rate instead of 85.
const CREEPS_IN: f64 = 28.0;

/// An answer that is due is waited for so long beyond its target: the governor is asked every 20 ms, the ring is drained
/// as often.
const SLACK: Duration = Duration::from_millis(40);

/// Silence for so long is the end of all patience.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// Patience is judged by the answers of this part of it, so that a hiccup is over when it is over.
const GIVE_UP_WINDOW_DIVISOR: u32 = 5;

/// The shortest time over which a missed target is judged.
const MIN_GIVE_UP_WINDOW: Duration = Duration::from_secs(1);

/// Samples this far apart, or less, come often: growth waits for two of them.
const OFTEN: Duration = Duration::from_millis(50);

/// Answers that are kept until the next decision.
const MAX_PENDING_SAMPLES: usize = 1024;

/// One latency that has a target.
#[derive(Debug)]
pub(super) struct LatencyController {
    cause: Cause,
    tuning: &'static LatencyTuning,
    target: Duration,
    period: Duration,
    window: LatencyWindow,
    pending_samples: Vec<LatencySample>,
    /// The oldest moment without an answer.
    expected: MonotonicNs,
    /// Since when the prober is dead.
    sensor_lost_since: Option<MonotonicNs>,
    /// Bytes per second.
    rate: f64,
    /// The rate at which trouble last began.
    last_congestion_rate: Option<f64>,
    /// Moments before this one saw another rate.
    changed: MonotonicNs,
    /// Moments before this one were answered for by a cut.
    cut: MonotonicNs,
    /// Good answers since the last change, or the last bad one.
    good: u32,
}

impl LatencyController {
    /// Makes a controller for samples that are a `period` apart.
    pub(super) fn new(
        cause: Cause,
        tuning: &'static LatencyTuning,
        target: Duration,
        period: Duration,
        now: MonotonicNs,
    ) -> Self {
        let period = at_least_a_nanosecond(period);
        Self {
            cause,
            tuning,
            target: at_least_a_nanosecond(target),
            period,
            window: LatencyWindow::new(period),
            pending_samples: Vec::new(),
            expected: now,
            sensor_lost_since: None,
            rate: MIN_RATE,
            last_congestion_rate: None,
            changed: now,
            cut: MonotonicNs::ZERO,
            good: 0,
        }
    }

    /// Begins at the lowest rate again; the rate of the last congestion is remembered.
    fn restart(&mut self, now: MonotonicNs) {
        self.rate = MIN_RATE;
        self.changed = now;
        self.good = 0;
    }

    /// Returns what a chunk may take, in seconds.
    fn share_of_target(&self) -> f64 {
        // A write with fdatasync on ext4 is three writes one after the other, each behind what is in flight.
        self.target.as_secs_f64() / 8.0
    }

    fn judge_sample(&mut self, answer: LatencySample, pace: &CopyPace) {
        let latency = self.enter(answer);
        if latency <= self.allowed() {
            if answer.intended >= self.changed {
                self.good = self.good.saturating_add(1);
            }
            return;
        }
        self.good = 0;
        if answer.intended < self.cut {
            return;
        }
        let over = self.window.over(self.allowed());
        if over > self.budget() {
            let deep = latency / 2 > self.target;
            self.slow_down(if deep { DEEP_CUT } else { CUT }, pace);
        } else if self.nearly_spent() {
            // Pays for nothing: what is late behind this one may be worse.
            let cut = self.cut;
            self.slow_down(EASE, pace);
            self.cut = cut;
        }
    }

    /// Takes a sample into the window, and returns the longest latency of the moments it serves.
    fn enter(&mut self, answer: LatencySample) -> Duration {
        let moments = answer.moments.max(1);
        let first = moments.saturating_sub(self.window.capacity() as u64);
        for step in first..moments {
            let moment = self.after(answer.intended, step);
            self.window.push(moment, answer.end.since(moment));
        }
        self.expected = self.expected.max(self.after(answer.intended, moments));
        // What the dead one left does not end it.
        if self
            .sensor_lost_since
            .is_some_and(|since| answer.intended >= since)
        {
            self.sensor_lost_since = None;
        }
        answer.end.since(answer.intended)
    }

    fn after(&self, moment: MonotonicNs, steps: u64) -> MonotonicNs {
        let time = saturating_nanos(self.period).saturating_mul(steps);
        moment.after(Duration::from_nanos(time))
    }

    /// How many moments have no answer though it is time, and more than that.
    fn late(&self, now: MonotonicNs) -> u64 {
        let patience = self.target.saturating_add(SLACK);
        let waits = now.since(self.expected);
        match waits.checked_sub(patience) {
            Some(beyond) => 1 + saturating_nanos(beyond) / saturating_nanos(self.period),
            None => 0,
        }
    }

    fn brake(&mut self, late: u64, pace: &CopyPace) {
        self.good = 0;
        if self.rate <= MIN_RATE {
            // There is nothing to cut, and the trickle is not what silence is due to.
            return;
        }
        let silent = pace.now.since(self.expected) > SILENCE_TIMEOUT.max(self.target);
        if self.sensor_lost_since.is_some() || silent {
            self.slow_down(DEEP_CUT, pace);
            self.rate = MIN_RATE;
            return;
        }
        let over = self.window.over(self.allowed()) as u64;
        let over = over.saturating_add(late);
        if over > self.budget() as u64 && self.expected >= self.cut {
            self.slow_down(DEEP_CUT, pace);
        }
    }

    fn slow_down(&mut self, part: f64, pace: &CopyPace) {
        let felt = pace.effective_rate(self.rate).max(MIN_RATE);
        self.last_congestion_rate = Some(felt);
        self.rate = felt * part;
        self.cut = pace.now;
        self.changed = pace.now;
        self.good = 0;
    }

    fn may_grow(&self, pace: &CopyPace) -> bool {
        // One that was paid for by a cut does not stop a young window.
        let over = self.window.over(self.allowed());
        pace.is_throttled && over <= self.budget().max(1) && self.good >= self.enough()
    }

    /// Good answers that a step of growth takes: fork is asked every 25 ms, a synced write every 100.
    fn enough(&self) -> u32 {
        if self.period < OFTEN { 2 } else { 1 }
    }

    fn grow(&mut self, pace: &CopyPace) {
        let known = self
            .last_congestion_rate
            .map_or(f64::INFINITY, |rate| rate * KNOWN_GOOD);
        if self.rate < known {
            self.rate *= 2.0;
            self.changed = pace.now;
            self.good = 0;
            return;
        }
        let trouble = self.last_congestion_rate.unwrap_or(f64::INFINITY);
        let near = self.rate >= trouble * NEAR_CONGESTION_FROM
            && self.rate <= trouble * CONGESTION_GONE_ABOVE;
        if near && self.nearly_spent() {
            return;
        }
        let doubles_in = if near { CREEPS_IN } else { DOUBLES_IN };
        self.rate *= (pace.passed / doubles_in).exp2();
    }

    /// The longest latency that is not over.
    fn allowed(&self) -> Duration {
        Duration::from_nanos((saturating_nanos(self.target) as f64 * MARGIN) as u64)
    }

    /// Whether the next one or two use up the budget.
    fn nearly_spent(&self) -> bool {
        2 * self.window.over(self.allowed()) > self.budget()
    }

    /// How many moments of the window may be over: none of a young one, one of a full one of synced writes.
    fn budget(&self) -> usize {
        (self.window.len() + SAMPLES_PER_ALLOWED_MISS / 2) / SAMPLES_PER_ALLOWED_MISS
    }
}

impl SignalController for LatencyController {
    fn cause(&self) -> Cause {
        self.cause
    }

    fn add_sample(&mut self, sample: Sample) {
        // Only the next decision knows whether the copy stood still meanwhile.
        let Sample::Latency(sample) = sample else {
            return;
        };
        if self.pending_samples.len() == MAX_PENDING_SAMPLES {
            self.pending_samples.remove(0);
        }
        self.pending_samples.push(sample);
    }

    fn sensor_lost(&mut self, now: MonotonicNs) {
        self.sensor_lost_since = Some(now);
        self.restart(now);
    }

    fn needs_baseline(&self) -> bool {
        true
    }

    fn collect_baseline(&mut self) -> bool {
        for sample in std::mem::take(&mut self.pending_samples) {
            self.enter(sample);
        }
        self.window.len() >= self.tuning.baseline_samples.min(self.window.capacity())
    }

    fn end_baseline(&mut self, now: MonotonicNs) -> Option<Bottleneck> {
        let over = self.window.over(self.target) as f64;
        let share = self.tuning.baseline_missed_share;
        let too_many = over >= 1.0_f64.max(share * self.window.len() as f64);
        // A sample that is not there yet may still be in time.
        let missed = too_many || self.late(now) > 0;
        let bottleneck = self.bottleneck(now, Rate::Stopped);
        self.window.clear();
        self.restart(now);
        missed.then_some(bottleneck)
    }

    fn resume(&mut self, now: MonotonicNs) {
        // The prober may have stood still as well: samples that were due meanwhile say nothing about the copy.
        if self.rate > MIN_RATE {
            self.last_congestion_rate = Some(self.rate);
        }
        self.restart(now);
        self.cut = now;
        self.expected = self.expected.max(now);
        self.pending_samples.retain(|sample| sample.intended >= now);
    }

    fn decide(&mut self, pace: &CopyPace) {
        for sample in std::mem::take(&mut self.pending_samples) {
            self.judge_sample(sample, pace);
        }
        self.window.age(pace.now);
        if pace.is_idle {
            self.restart(pace.now);
        }
        let late = self.late(pace.now);
        if late > 0 || self.sensor_lost_since.is_some() {
            self.brake(late, pace);
        } else if self.may_grow(pace) {
            self.grow(pace);
        }
        self.rate = self.rate.min(pace.roof()).clamp(MIN_RATE, FASTEST);
    }

    fn allowed_rate(&self) -> f64 {
        self.rate
    }

    fn cap_rate(&mut self, most: f64) {
        self.rate = self.rate.min(most);
    }

    fn has_data(&self) -> bool {
        self.window.len() > 0
    }

    fn is_missed(&self, now: MonotonicNs, give_up_after: Duration) -> bool {
        // Only recent samples count: the window may remember for longer than the user waits.
        let recent = (give_up_after / GIVE_UP_WINDOW_DIVISOR)
            .max(MIN_GIVE_UP_WINDOW)
            .max(self.target.saturating_mul(2));
        let from = now.before(recent);
        self.sensor_lost_since.is_some()
            || self.late(now) > 0
            || self.window.p99_since(from) > self.target
    }

    fn bottleneck(&self, now: MonotonicNs, rate: Rate) -> Bottleneck {
        // A sample that is not there yet has taken its time as well.
        let waits = match self.late(now) {
            0 => Duration::ZERO,
            _ => now.since(self.expected),
        };
        let latency = self.window.p99().max(waits);
        Bottleneck {
            cause: self.cause,
            figure: latency.as_secs_f64(),
            target: self.target.as_secs_f64(),
            rate,
        }
    }

    fn chunk_limit(&self) -> ChunkLimit {
        match self.tuning.delayed_by {
            ChunkDelay::Disk => ChunkLimit::DiskSeconds(self.share_of_target()),
            ChunkDelay::Cpu => ChunkLimit::CpuSeconds(self.share_of_target()),
        }
    }
}

/// Returns `time` within what a count of nanoseconds holds, and never zero: it is divided by.
fn at_least_a_nanosecond(time: Duration) -> Duration {
    Duration::from_nanos(saturating_nanos(time).max(1))
}

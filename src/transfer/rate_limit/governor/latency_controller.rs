//! Computes the rate that the latency of one prober allows: it falls at once when too many samples exceed the target,
//! and rises while they do not.

use std::time::Duration;

use super::super::signal::{ChunkDelay, LatencyTuning};
use super::latency_window::LatencyWindow;
use super::own_calls::OwnCalls;
use super::signal_controller::{ChunkLimit, SignalController};
use super::throughput_meter::CopyPace;
use super::{Bottleneck, CallSummary, Cause, FASTEST, LatencySample, MIN_RATE, Rate, Sample};
use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// Samples count as misses above this fraction of the target, which leaves a margin for the error of the 99th
/// percentile.
const MARGIN: f64 = 0.9;

/// One in so many samples may be a miss. The target allows two; the other is for samples that come in until a cut takes
/// effect.
const SAMPLES_PER_ALLOWED_MISS: usize = 200;

/// The factor of a rate cut.
const CUT: f64 = 0.7;

/// The factor of a rate cut when all allowed misses are used up and none is exceeded yet, as if congestion had just
/// begun. At 1, 22 of 2,000 simulated machines instead of 11 had more than 1.2 % of samples over their target; if
/// samples from before it caused no further cut, 26.
const EASE: f64 = 0.9;

/// The factor of a rate cut if the latency was twice the target.
const DEEP_CUT: f64 = 0.5;

/// The factor of the first cut where a disk is saturated: below its knee nobody waits, so a little less is enough.
const BELOW_KNEE: f64 = 0.8;

/// Longest time after a cut in which samples are not judged, since they wait in a queue from before it. A limit of
/// blk-throttle gives out the bytes of the next slice after 100 ms.
const MAX_SETTLING: Duration = Duration::from_millis(100);

/// Time after a step of slow start in which a stall of the copy's own calls is taken to come from it: three slices of blk-throttle.
const JUST_STEPPED: Duration = Duration::from_millis(300);

/// Time without a cut by the copy's own calls after which the next one begins a new series: the ten seconds for which it is
/// remembered who was late.
const SERIES_ENDS_AFTER: Duration = Duration::from_secs(10);

/// Slow start is used below this fraction of the rate at which congestion last began.
const KNOWN_GOOD: f64 = 0.5;

/// The rate grows slowly between this fraction of it and [`CONGESTION_GONE_ABOVE`].
const NEAR_CONGESTION_FROM: f64 = 0.85;

/// Above this multiple of it, the congestion is taken to be gone.
const CONGESTION_GONE_ABOVE: f64 = 1.3;

/// Seconds in which the rate doubles if no congestion is near.
const DOUBLES_IN: f64 = 2.0;

/// Seconds in which the rate doubles near the congestion: 2.5 % a second. With 5 %, 31 of 2,000 simulated machines
/// instead of 11 (see [`EASE`]), and 86 % of the best fixed rate instead of 85.
const CREEPS_IN: f64 = 28.0;

/// Seconds without a cut after which the rate grows twice as fast near the congestion. A disk of 1 GB/s that stalled once at a
/// hundredth of it is at half of its rate after 20 s, and not after four minutes.
const SOONER_EACH: f64 = 3.0;

/// Time in nanoseconds beyond the target after which a sample counts as missing: the governor runs every 20 ms, and the
/// ring buffer is drained as often.
const SLACK: Duration = Duration::from_millis(40);

/// Time in nanoseconds without samples after which the target counts as missed.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// The give-up period is divided by this to get the period of samples that count as recent, so that a short disturbance
/// ends when it is over.
const GIVE_UP_WINDOW_DIVISOR: u32 = 5;

/// The shortest time over which a missed target is judged.
const MIN_GIVE_UP_WINDOW: Duration = Duration::from_secs(1);

/// Below this rate in bytes per second one good sample is enough for slow start to double: disks that are slower are seldom.
/// With one at every rate, copies of 10 s on simulated disks of 100 MB/s were late in 1.0 to 1.2 % of the moments, not 0.5.
const QUICK_BELOW: f64 = (16 << 20) as f64;

/// Factor of a step of slow start below that rate, and where the copy's own calls do not show the disk.
const QUICK_STEP: f64 = 2.0;

/// Factor of a step of slow start above it. With 2, copies of 10 s on simulated disks with a knee kept 1 % in 82 of 90 cases,
/// with 1.5 in all 90; on a real one of 100 MB/s two or three moments in the first second were late.
const STEP: f64 = 1.5;

/// Samples that are closer together than this come often: growth waits for two of them.
const OFTEN: Duration = Duration::from_millis(50);

/// Largest number of samples that wait for the next decision.
const MAX_PENDING_SAMPLES: usize = 1024;

/// The controller of one latency that has a target.
#[derive(Debug)]
pub(super) struct LatencyController {
    cause: Cause,
    tuning: &'static LatencyTuning,
    target: Duration,
    period: Duration,
    window: LatencyWindow,
    pending_samples: Vec<LatencySample>,
    /// The copy's own calls, where those tell how a disk is.
    own_calls: Option<OwnCalls>,
    /// Whether the last congestion was heard in them, before a prober was late.
    heard_early: bool,
    /// When they last caused a cut, and half of the rate before the first cut of the series.
    stall_series: Option<(MonotonicNs, f64)>,
    /// When slow start last raised the rate.
    stepped: Option<MonotonicNs>,
    /// The oldest intended time without a sample.
    expected: MonotonicNs,
    /// When the prober died, while it is dead.
    sensor_lost_since: Option<MonotonicNs>,
    /// The allowed rate in bytes per second.
    rate: f64,
    /// The rate at which congestion last began, in bytes per second.
    last_congestion_rate: Option<f64>,
    /// Samples from before this time were measured at another rate.
    changed: MonotonicNs,
    /// Samples from before this time have already caused a cut.
    cut: MonotonicNs,
    /// Number of good samples since the last change or miss.
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
            own_calls: (tuning.delayed_by == ChunkDelay::Disk).then(|| OwnCalls::new(target)),
            heard_early: false,
            stall_series: None,
            stepped: None,
            expected: now,
            sensor_lost_since: None,
            rate: MIN_RATE,
            last_congestion_rate: None,
            changed: now,
            cut: MonotonicNs::ZERO,
            good: 0,
        }
    }

    /// Starts again at the lowest rate. The rate of the last congestion is remembered.
    fn restart(&mut self, now: MonotonicNs) {
        self.rate = MIN_RATE;
        self.changed = now;
        self.good = 0;
    }

    /// Returns the time that a chunk may take, in seconds.
    fn share_of_target(&self) -> f64 {
        // A write with fdatasync on ext4 makes three writes one after the other, each of which waits for the data in flight.
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
            self.slow_down(if deep { self.deep_cut() } else { CUT }, pace);
            self.settle();
        } else if self.nearly_spent() && self.tuning.delayed_by == ChunkDelay::Disk {
            self.slow_down(BELOW_KNEE, pace);
            self.settle();
        } else if self.nearly_spent() {
            // This cut does not count for later samples, which may be worse.
            let cut = self.cut;
            self.slow_down(EASE, pace);
            self.cut = cut;
        }
    }

    /// Adds a sample to the window, and returns the longest latency of its intended times.
    fn enter(&mut self, answer: LatencySample) -> Duration {
        let moments = answer.moments.max(1);
        let first = moments.saturating_sub(self.window.capacity() as u64);
        for step in first..moments {
            let moment = self.after(answer.intended, step);
            self.window.push(moment, answer.end.since(moment));
        }
        self.expected = self.expected.max(self.after(answer.intended, moments));
        // Samples that the dead prober left do not end the loss.
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

    /// Returns how many intended times have no sample although it is due.
    fn late(&self, now: MonotonicNs) -> u64 {
        // The next intended time is a random moment of a period, which may begin a period later.
        let patience = self
            .target
            .saturating_add(SLACK)
            .saturating_add(self.period);
        let waits = now.since(self.expected);
        match waits.checked_sub(patience) {
            Some(beyond) => 1 + saturating_nanos(beyond) / saturating_nanos(self.period),
            None => 0,
        }
    }

    fn brake(&mut self, late: u64, pace: &CopyPace) {
        self.good = 0;
        if self.rate <= MIN_RATE {
            // The rate cannot be cut further, and the lowest rate is not the reason for missing samples.
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
        let mut felt = pace.effective_rate(self.rate);
        if self.tuning.delayed_by == ChunkDelay::Disk {
            // Beyond the knee of a disk the rate that is ordered is not the rate that it takes.
            felt = felt.min(pace.taken.max(pace.reached));
        }
        let felt = felt.max(MIN_RATE);
        self.heard_early = false;
        self.cut_to(felt * part, felt, pace.now);
    }

    /// Lowers the rate because of a congestion that began at another one.
    fn cut_to(&mut self, rate: f64, congestion: f64, now: MonotonicNs) {
        self.last_congestion_rate = Some(congestion);
        self.rate = rate;
        self.cut = now;
        self.changed = now;
        self.good = 0;
    }

    /// Lowers the rate if a call of the copy has waited in a queue: others have waited as long.
    fn judge_own_calls(&mut self, pace: &CopyPace) {
        let Some(calls) = &mut self.own_calls else {
            return;
        };
        let Some(stall) = calls.take_stall(pace.now) else {
            return;
        };
        let harmless = !calls.were_late() && self.window.over(self.allowed()) == 0;
        let least = self.least_of_series(pace.now);
        if stall.began < self.cut || self.rate <= MIN_RATE || harmless && self.rate <= least {
            return;
        }
        self.stall_series = Some((pace.now, least));
        let stepped = self.stepped.take().filter(|stepped| stall.end >= *stepped);
        if stepped.is_some_and(|stepped| pace.now.since(stepped) < JUST_STEPPED) {
            // What the disk takes is no more than it took while the call waited, and lies near the rate before or above.
            let taken = BELOW_KNEE * pace.recent.max(self.rate / 4.0);
            self.cut_to((self.rate / 2.0).min(taken), self.rate, pace.now);
        } else {
            self.slow_down(EASE, pace);
        }
        self.heard_early = true;
        self.settle();
    }

    /// Returns the rate to which stalls that make nobody late may lower the copy: half of the rate before the first of them.
    /// Stalls that go on at half of the rate are not the copy's own, and without a bound they would lead to the lowest rate.
    fn least_of_series(&self, now: MonotonicNs) -> f64 {
        let series = self.stall_series;
        let going_on = series.filter(|(last, _)| now.since(*last) < SERIES_ENDS_AFTER);
        going_on.map_or(self.rate / 2.0, |(_, least)| least)
    }

    /// Returns the factor of a cut after a latency of twice the target. Where a disk is saturated, others wait as long as
    /// its queue is, however little it is saturated, so that says nothing about the rate.
    fn deep_cut(&self) -> f64 {
        match self.tuning.delayed_by {
            ChunkDelay::Disk => CUT,
            ChunkDelay::Cpu => DEEP_CUT,
        }
    }

    /// Judges no sample that waited in a queue from before the last cut.
    fn settle(&mut self) {
        if self.tuning.delayed_by == ChunkDelay::Disk {
            self.cut = self.cut.after(MAX_SETTLING);
        }
    }

    fn may_grow(&self, pace: &CopyPace) -> bool {
        // A miss that has caused a cut already does not stop the growth while the window is short.
        let over = self.window.over(self.allowed());
        pace.is_throttled && over <= self.budget().max(1) && self.good >= self.enough()
    }

    /// Returns the factor of a step of slow start.
    fn step(&self) -> f64 {
        let heard = self.own_calls.as_ref().is_some_and(OwnCalls::is_heard);
        if self.rate < QUICK_BELOW || !heard {
            QUICK_STEP
        } else {
            STEP
        }
    }

    /// Returns the number of good samples for a step of growth.
    fn enough(&self) -> u32 {
        if self.period < OFTEN && self.rate >= QUICK_BELOW {
            2
        } else {
            1
        }
    }

    fn grow(&mut self, pace: &CopyPace) {
        let known = self
            .last_congestion_rate
            .map_or(f64::INFINITY, |rate| rate * KNOWN_GOOD);
        if self.rate < known {
            self.rate *= self.step();
            self.stepped = Some(pace.now);
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
        let doubles_in = if near {
            self.creeps_in(pace.now)
        } else {
            DOUBLES_IN
        };
        self.rate *= (pace.passed / doubles_in).exp2();
    }

    /// Returns the seconds in which the rate doubles near the congestion. Where the copy's own calls showed a full disk before
    /// others were late, what has lasted for long is tried sooner: the congestion may be over, or was none.
    fn creeps_in(&self, now: MonotonicNs) -> f64 {
        if !self.heard_early {
            return CREEPS_IN;
        }
        let quiet = now.since(self.cut).as_secs_f64();
        (CREEPS_IN * (-quiet / SOONER_EACH).exp2()).max(DOUBLES_IN)
    }

    /// Returns the longest latency in nanoseconds that is not a miss.
    fn allowed(&self) -> Duration {
        Duration::from_nanos((saturating_nanos(self.target) as f64 * MARGIN) as u64)
    }

    /// Returns whether the next one or two misses use up those that are allowed, by the samples or by the copy's own calls.
    fn nearly_spent(&self) -> bool {
        2 * self.window.over(self.allowed()) > self.budget()
            || self
                .own_calls
                .as_ref()
                .is_some_and(OwnCalls::is_nearly_spent)
    }

    /// Returns how many samples of the window may be misses: none of a short window, one of a full one of synced
    /// writes.
    fn budget(&self) -> usize {
        (self.window.len() + SAMPLES_PER_ALLOWED_MISS / 2) / SAMPLES_PER_ALLOWED_MISS
    }
}

impl SignalController for LatencyController {
    fn cause(&self) -> Cause {
        self.cause
    }

    fn add_sample(&mut self, sample: Sample) {
        // Only the next decision knows whether the copy was stopped meanwhile.
        let Sample::Latency(sample) = sample else {
            return;
        };
        if self.pending_samples.len() == MAX_PENDING_SAMPLES {
            self.pending_samples.remove(0);
        }
        self.pending_samples.push(sample);
    }

    fn add_calls(&mut self, calls: CallSummary) {
        if let Some(own_calls) = &mut self.own_calls {
            own_calls.add(calls);
        }
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
        // The prober may have been stopped as well: samples that were due meanwhile say nothing about the copy.
        if self.rate > MIN_RATE {
            self.last_congestion_rate = Some(self.rate);
        }
        self.restart(now);
        if let Some(calls) = &mut self.own_calls {
            calls.resume(now);
        }
        self.cut = now;
        self.expected = self.expected.max(now);
        self.pending_samples.retain(|sample| sample.intended >= now);
    }

    fn decide(&mut self, pace: &CopyPace) {
        self.judge_own_calls(pace);
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
            _ => now.since(self.expected).saturating_sub(self.period),
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

/// Returns `time`, but at least one nanosecond, since it is a divisor, and at most 584 years.
fn at_least_a_nanosecond(time: Duration) -> Duration {
    Duration::from_nanos(saturating_nanos(time).max(1))
}

//! Computes from samples of the machine how fast and in what chunks to copy.
//!
//! Each signal of the table has a controller with an allowed rate of its own. The lowest rate is used, and the others
//! are kept below twice of it, so that none has grown without effect when it becomes the lowest.

mod deadline;
mod latency_controller;
mod latency_window;
mod own_calls;
mod pressure_controller;
mod signal_controller;
mod throughput_meter;

use std::time::Duration;

pub use deadline::{RemainingWork, needed_rate};

use deadline::DeadlineController;
use latency_controller::LatencyController;
use pressure_controller::PressureController;
use signal_controller::{ChunkLimit, SignalController};
use throughput_meter::{CopyPace, ThroughputMeter};

use super::signal::{Control, SIGNALS, SignalSpec};
use super::{
    Bottleneck, CallSummary, Cause, CopyTotals, LatencySample, Limits, MAX_BURST, Notice, Rate,
    RateSettings, Sample, StallSample,
};
use crate::sys::clock::MonotonicNs;

/// The lowest rate, in bytes per second.
const MIN_RATE: f64 = super::MIN_BYTES_PER_SEC as f64;

/// A rate above that of any memory, in bytes per second.
const FASTEST: f64 = 1e12;

/// Time in nanoseconds without a decision after which the process is taken to have been stopped.
const SUSPENDED_AFTER: Duration = Duration::from_millis(500);

/// Shortest time in nanoseconds to measure before the first byte, if the probers answer in time.
const MIN_BASELINE: Duration = Duration::from_millis(100);

/// Longest time in nanoseconds to measure before the first byte, since missing samples are an answer, too.
const MAX_BASELINE: Duration = Duration::from_secs(2);

/// Upper bound of the time since the last decision that is taken into account.
const MAX_DECISION_INTERVAL: Duration = Duration::from_millis(100);

/// Longest time in seconds that a chunk may take at the rate in force: no second has more bytes than the rate, the
/// bucket's burst and this.
const MAX_CHUNK_SECS: f64 = 0.0125;

/// The smallest chunk that is worth a call, in bytes.
const MIN_CHUNK_BYTES: u64 = 4096;

/// The smallest chunk in bytes while a latency is limited: below, the calls cost more than the shorter queue saves.
const LEAST_GOVERNED: u64 = 64 << 10;

/// Bytes per second at which the kernel processes a chunk before it waits for the disk: a fork may wait behind this
/// work, not behind the disk. With the disk's rate in its place, three of 34 simulated machines were held to 60 % of
/// their best fixed rate by requests that were too small; the mean was 82 %, not 86.
const PAGE_PINNING_RATE: f64 = 2e9;

/// How many chunks may be made up for at once where others wait for the disk: half of what they may wait. With 37 ms in
/// every case the copy used up, after each stall of a disk behind blk-throttle, the next slice before its end.
const BURST_CHUNKS: f64 = 4.0;

/// The shortest time that may be made up for: a thread that sleeps for the next chunk wakes up to a millisecond late.
const MIN_BURST: Duration = Duration::from_millis(2);

/// The largest chunk in bytes; a larger call is no faster.
const MAX_CHUNK_BYTES: u64 = 8 << 20;

/// Computes the rate settings. It is pure arithmetic: the time and all measurements are arguments.
#[derive(Debug)]
pub struct Governor {
    limits: Limits,
    threads: u64,
    signals: Vec<GovernedSignal>,
    meter: ThroughputMeter,
    deadline: Option<DeadlineController>,
    /// When the baseline measurement was started, while it runs.
    baseline_since: Option<MonotonicNs>,
    now: MonotonicNs,
    ordered: f64,
    words: Vec<Notice>,
    gave_up: bool,
}

/// The controller of a signal, and since when its target is missed at the lowest rate.
#[derive(Debug)]
struct GovernedSignal {
    controller: Box<dyn SignalController>,
    missed_since: Option<MonotonicNs>,
}

impl Governor {
    /// Makes the governor of a copy by `threads` threads. `sample_period` returns the period of a signal's samples.
    #[must_use]
    pub fn new(
        limits: &Limits,
        sample_period: impl Fn(Cause) -> Duration,
        threads: usize,
        now: MonotonicNs,
    ) -> Self {
        let controllers = SIGNALS.iter().filter_map(|signal| {
            let period = || sample_period(signal.cause);
            make_controller(signal, limits, period, now)
        });
        let signals: Vec<_> = controllers
            .map(|controller| GovernedSignal {
                controller,
                missed_since: None,
            })
            .collect();
        let needs_baseline = signals.iter().any(|s| s.controller.needs_baseline());
        Self {
            limits: *limits,
            threads: threads.max(1) as u64,
            signals,
            meter: ThroughputMeter::new(now),
            deadline: DeadlineController::new(limits),
            baseline_since: needs_baseline.then_some(now),
            now,
            ordered: 0.0,
            words: Vec::new(),
            gave_up: false,
        }
    }

    /// Adds a sample of the sensor of a signal.
    pub fn add_sample(&mut self, cause: Cause, sample: Sample) {
        if let Some(controller) = self.controller(cause) {
            controller.add_sample(sample);
        }
    }

    /// Adds how long the copy's own calls took since the last decision.
    pub fn add_calls(&mut self, calls: CallSummary) {
        for signal in &mut self.signals {
            signal.controller.add_calls(calls);
        }
    }

    /// Records that a prober has died, so that the latency is unknown until the next one answers.
    pub fn sensor_lost(&mut self, cause: Cause, now: MonotonicNs) {
        if let Some(controller) = self.controller(cause) {
            controller.sensor_lost(now);
        }
    }

    /// Sets what remains to be copied until the deadline, if there is one.
    pub fn set_remaining(&mut self, remaining: RemainingWork) {
        if let Some(deadline) = &mut self.deadline {
            deadline.set_remaining(remaining);
        }
    }

    /// Returns the settings from now on. It must be called at least every tenth of a second.
    pub fn decide(&mut self, now: MonotonicNs, done: CopyTotals) -> RateSettings {
        // If the clock goes back, no time passes.
        let now = now.max(self.now);
        let passed = now.since(self.now);
        self.now = now;
        self.meter.note(now, done);
        if passed > SUSPENDED_AFTER && self.baseline_since.is_none() {
            self.resume();
        }
        let seconds = passed.min(MAX_DECISION_INTERVAL).as_secs_f64();
        let pace = self.meter.pace(now, seconds, self.ordered);
        if self.measure_baseline() {
            self.note_deadline(done, &pace);
            return self.orders(0.0, &pace);
        }
        for signal in &mut self.signals {
            signal.controller.decide(&pace);
        }
        let allowed = self.combine();
        let rate = match &mut self.deadline {
            Some(deadline) => deadline.rate(now, allowed),
            None => allowed,
        };
        self.note_deadline(done, &pace);
        self.check_give_up();
        self.orders(rate, &pace)
    }

    /// Collects what is to be said about the deadline.
    fn note_deadline(&mut self, done: CopyTotals, pace: &CopyPace) {
        if let Some(deadline) = &mut self.deadline {
            self.words.extend(deadline.notices(self.now, done, pace));
        }
    }

    /// Returns the deadline, if the limits yield to it now.
    fn urgent_deadline(&self) -> Option<&DeadlineController> {
        self.deadline
            .as_ref()
            .filter(|deadline| deadline.is_yielding())
    }

    fn controller(&mut self, cause: Cause) -> Option<&mut dyn SignalController> {
        let mut signals = self.signals.iter_mut();
        let found = signals.find(|signal| signal.controller.cause() == cause)?;
        Some(found.controller.as_mut())
    }

    fn resume(&mut self) {
        for signal in &mut self.signals {
            signal.controller.resume(self.now);
        }
    }

    /// Measures the baseline before the first byte. Returns whether that is still going on.
    fn measure_baseline(&mut self) -> bool {
        let Some(since) = self.baseline_since else {
            return false;
        };
        let passed = self.now.since(since);
        let mut is_enough = passed >= MIN_BASELINE;
        for signal in &mut self.signals {
            is_enough &= signal.controller.collect_baseline();
        }
        let longest = self
            .deadline
            .as_ref()
            .map(DeadlineController::longest_baseline);
        if !is_enough && passed < longest.map_or(MAX_BASELINE, |longest| longest.min(MAX_BASELINE))
        {
            return true;
        }
        self.baseline_since = None;
        let rate = self.lowest();
        for signal in &mut self.signals {
            let over = signal.controller.end_baseline(self.now);
            let over = over.map(|over| Bottleneck { rate, ..over });
            self.words.extend(over.map(Notice::TargetMissedBeforeStart));
        }
        false
    }

    /// Returns the lowest rate of all signals, and keeps the others below twice of it.
    fn combine(&mut self) -> f64 {
        let limit = self.limits.rate.map_or(f64::INFINITY, |rate| rate as f64);
        let rates = self.signals.iter().map(|s| s.controller.allowed_rate());
        let lowest = rates.fold(limit, f64::min);
        for signal in &mut self.signals {
            signal.controller.cap_rate((2.0 * lowest).max(MIN_RATE));
        }
        lowest
    }

    /// Returns the lowest rate, which no signal reduces further.
    fn lowest(&self) -> Rate {
        let limit = self.limits.rate.map(Rate::from_bytes_per_sec);
        super::MIN_RATE.min(limit.unwrap_or(Rate::Unlimited))
    }

    /// Sets the notice to give up, once, if a target was missed at the lowest rate for too long.
    fn check_give_up(&mut self) {
        let Some(give_up_after) = self.limits.give_up_after else {
            return;
        };
        let rate = self.lowest();
        // Limits that yield are not held at the lowest rate.
        let is_urgent = self.urgent_deadline().is_some();
        for GovernedSignal {
            controller,
            missed_since,
        } in &mut self.signals
        {
            let missed = !is_urgent
                && controller.allowed_rate() <= MIN_RATE
                && controller.is_missed(self.now, give_up_after);
            if !missed {
                *missed_since = None;
                continue;
            }
            let since = *missed_since.get_or_insert(self.now);
            if self.now.since(since) >= give_up_after && !self.gave_up {
                self.gave_up = true;
                let holding = controller.bottleneck(self.now, rate);
                self.words.push(Notice::GiveUp(holding));
            }
        }
    }

    fn orders(&mut self, rate: f64, pace: &CopyPace) -> RateSettings {
        self.ordered = rate;
        // Above 2^53 a rate as f64 may be more than the limit that it came from.
        let limit = self.limits.rate.unwrap_or(u64::MAX);
        let allowed = if rate.is_finite() {
            Rate::from_bytes_per_sec((rate as u64).min(limit))
        } else {
            Rate::Unlimited
        };
        let word = (!self.words.is_empty()).then(|| self.words.remove(0));
        RateSettings {
            rate: allowed,
            chunk: self.chunk(rate),
            burst: self.burst(),
            bottleneck: self.find_bottleneck(allowed, pace),
            notice: word,
        }
    }

    /// Returns the cause of the rate in force, if the copy really waits for it.
    fn find_bottleneck(&self, rate: Rate, pace: &CopyPace) -> Option<Bottleneck> {
        let is_stopped = rate == Rate::Stopped;
        if let Some(deadline) = self.urgent_deadline().filter(|_| !is_stopped) {
            return match deadline.is_over() {
                true => self.find_rate_limit(rate, pace),
                false => Some(deadline.bottleneck(self.now, pace, rate)),
            };
        }
        if !is_stopped && !pace.was_throttled {
            return None;
        }
        let mut controllers = self.signals.iter().map(|signal| &signal.controller);
        // Before the first byte it is the first signal that has a figure.
        let governed = controllers.find(|controller| {
            if is_stopped {
                controller.has_data()
            } else {
                Rate::from_bytes_per_sec(controller.allowed_rate() as u64) <= rate
            }
        });
        if governed.is_none() && is_stopped {
            return None;
        }
        match governed {
            Some(governed) => Some(governed.bottleneck(self.now, rate)),
            None => self.find_rate_limit(rate, pace),
        }
    }

    /// Returns the rate that the user has set, if the copy waits for it.
    fn find_rate_limit(&self, rate: Rate, pace: &CopyPace) -> Option<Bottleneck> {
        let limit = self.limits.rate.filter(|_| pace.was_throttled)?;
        Some(Bottleneck {
            cause: Cause::LimitRate,
            figure: pace.reached,
            target: limit as f64,
            rate,
        })
    }

    /// Returns the size of a chunk. Other programs wait behind the data in flight, so chunks shrink with the rate and
    /// with the target.
    fn chunk(&self, rate: f64) -> usize {
        if self.signals.is_empty() && self.limits.rate.is_none() {
            return usize::MAX;
        }
        let limit = self.limits.rate.map_or(f64::INFINITY, |rate| rate as f64);
        let least = if self.limits.governed() {
            let smooth = self.piece(limit, MAX_CHUNK_SECS).max(MIN_CHUNK_BYTES);
            LEAST_GOVERNED.min(smooth)
        } else {
            MIN_CHUNK_BYTES
        };
        let mut takes = MAX_CHUNK_SECS;
        let mut most = MAX_CHUNK_BYTES;
        for limit in self.chunk_limits() {
            match limit {
                ChunkLimit::DiskSeconds(seconds) => takes = takes.min(seconds),
                ChunkLimit::CpuSeconds(seconds) => {
                    let bytes = round_chunk(PAGE_PINNING_RATE * seconds);
                    most = most.min(bytes.max(LEAST_GOVERNED));
                }
                ChunkLimit::Unlimited => {}
            }
        }
        self.piece(rate, takes)
            .clamp(least, MAX_CHUNK_BYTES)
            .min(most) as usize
    }

    /// Returns the limits of a chunk that signals set, none of which holds while they yield to the deadline.
    fn chunk_limits(&self) -> impl Iterator<Item = ChunkLimit> + '_ {
        let is_urgent = self.urgent_deadline().is_some();
        let limits = self.signals.iter().map(|s| s.controller.chunk_limit());
        limits.filter(move |_| !is_urgent)
    }

    /// Returns the time for which unused rate may be made up for: where others wait for the disk, no more at once than lets
    /// them wait for a part of what is allowed.
    fn burst(&self) -> Duration {
        let bursts = self.chunk_limits().map(|limit| match limit {
            ChunkLimit::DiskSeconds(seconds) => Duration::from_secs_f64(BURST_CHUNKS * seconds),
            ChunkLimit::CpuSeconds(_) | ChunkLimit::Unlimited => MAX_BURST,
        });
        bursts.fold(MAX_BURST, Duration::min).max(MIN_BURST)
    }

    /// Returns the most bytes, rounded down, that take at most `seconds` while each thread has one chunk in flight.
    fn piece(&self, rate: f64, seconds: f64) -> u64 {
        round_chunk(rate * seconds / self.threads as f64)
    }
}

/// Makes the controller of a signal, if the user has set a target for it.
fn make_controller(
    signal: &'static SignalSpec,
    limits: &Limits,
    period: impl FnOnce() -> Duration,
    now: MonotonicNs,
) -> Option<Box<dyn SignalController>> {
    match &signal.control {
        // The user's rate needs no samples. It is an upper bound for all others.
        Control::FixedRate | Control::Deadline => None,
        Control::Latency { target, tuning } => target(limits).map(|target| {
            let controller = LatencyController::new(signal.cause, tuning, target, period(), now);
            Box::new(controller) as Box<dyn SignalController>
        }),
        Control::Pressure { target } => target(limits).map(|target| {
            let controller = PressureController::new(signal.cause, target, now);
            Box::new(controller) as Box<dyn SignalController>
        }),
    }
}

/// Returns the largest chunk that is not above `bytes`: a power of two, or a multiple of [`LEAST_GOVERNED`] where that is
/// more. With powers of two alone a simulated disk of 500 MB/s was held to 0.73 of it by chunks of half the size allowed.
fn round_chunk(bytes: f64) -> u64 {
    let bytes = (bytes as u64).max(1);
    let multiple = bytes / LEAST_GOVERNED * LEAST_GOVERNED;
    multiple.max(1 << bytes.ilog2())
}

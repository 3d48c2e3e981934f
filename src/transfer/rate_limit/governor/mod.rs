//! Computes from latencies, pressure and throughput how fast and in what chunks to copy.
//!
//! Each cause has a rate of its own. The lowest is used, and the others are kept below twice of it, so that none has
//! grown without effect when it becomes the lowest.

mod latency_controller;
mod latency_window;
mod pressure_controller;
mod throughput_meter;

use std::time::Duration;

use latency_controller::LatencyController;
use pressure_controller::PressureController;
use throughput_meter::{CopyPace, ThroughputMeter};

use super::{Bottleneck, Cause, CopyTotals, LatencySample, Limits, Notice, RateSettings};

/// The number of nanoseconds in a second.
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The lowest rate, in bytes per second.
const MIN_RATE: f64 = super::MIN_RATE as f64;

/// A rate above that of any memory, in bytes per second.
const FASTEST: f64 = 1e12;

/// Time in nanoseconds without a decision after which the process is taken to have been stopped.
const SUSPENDED_AFTER_NS: u64 = NANOS_PER_SECOND / 2;

/// Shortest time in nanoseconds to measure before the first byte, if the probers answer in time.
const MIN_BASELINE_NS: u64 = 400_000_000;

/// Longest time in nanoseconds to measure before the first byte, since missing samples are an answer, too.
const MAX_BASELINE_NS: u64 = 2 * NANOS_PER_SECOND;

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

/// The largest chunk in bytes; a larger call is no faster.
const MAX_CHUNK_BYTES: u64 = 8 << 20;

/// Computes the rate settings. It is pure arithmetic: the time and all measurements are arguments.
#[derive(Debug)]
pub struct Governor {
    limits: Limits,
    threads: u64,
    causes: Vec<Controller>,
    meter: ThroughputMeter,
    /// When the baseline measurement was started, while it runs.
    baseline_since: Option<u64>,
    now: u64,
    ordered: f64,
    words: Vec<Notice>,
    gave_up: bool,
}

#[derive(Debug)]
enum ControllerKind {
    Latency(LatencyController),
    Pressure(PressureController),
}

/// The controller of one cause, and since when its target is missed at the lowest rate.
#[derive(Debug)]
struct Controller {
    cause: Cause,
    kind: ControllerKind,
    missed_since: Option<u64>,
}

impl Governor {
    /// Makes a governor for a copy by `threads` threads; the probers run every `fork_period` and `write_period`
    /// nanoseconds.
    #[must_use]
    pub fn new(
        limits: &Limits,
        (fork_period, write_period): (u64, u64),
        threads: usize,
        now: u64,
    ) -> Self {
        let latency = |cause, target: Option<_>, period| {
            target.map(|target| {
                ControllerKind::Latency(LatencyController::new(cause, target, period, now))
            })
        };
        let pressure = |cause| {
            let target = limits.pressure;
            target
                .map(|target| ControllerKind::Pressure(PressureController::new(cause, target, now)))
        };
        let (fork, write) = (Cause::ForkLatency, Cause::WriteLatency);
        let (memory, io) = (Cause::MemoryPressure, Cause::IoPressure);
        let causes = [
            (fork, latency(fork, limits.fork_latency, fork_period)),
            (write, latency(write, limits.write_latency, write_period)),
            (memory, pressure(memory)),
            (io, pressure(io)),
        ];
        let causes = causes.into_iter().filter_map(|(cause, kind)| {
            kind.map(|kind| Controller {
                cause,
                kind,
                missed_since: None,
            })
        });
        let listens = limits.fork_latency.is_some() || limits.write_latency.is_some();
        Self {
            limits: *limits,
            threads: threads.max(1) as u64,
            causes: causes.collect(),
            meter: ThroughputMeter::new(now),
            baseline_since: listens.then_some(now),
            now,
            ordered: 0.0,
            words: Vec::new(),
            gave_up: false,
        }
    }

    /// Adds a sample of a prober.
    pub fn add_latency_sample(&mut self, cause: Cause, answer: LatencySample) {
        if let Some(ControllerKind::Latency(latency)) = self.kind(cause) {
            latency.add_sample(answer);
        }
    }

    /// Adds a reading of PSI: microseconds since boot in which some task waited.
    pub fn stalled(&mut self, cause: Cause, at: u64, total: u64) {
        if let Some(ControllerKind::Pressure(pressure)) = self.kind(cause) {
            pressure.stalled(at, total);
        }
    }

    /// Records that a prober has died, so that the latency is unknown until the next one answers.
    pub fn sensor_lost(&mut self, cause: Cause, now: u64) {
        if let Some(ControllerKind::Latency(latency)) = self.kind(cause) {
            latency.sensor_lost(now);
        }
    }

    /// Returns the settings from now on. It must be called at least every tenth of a second.
    pub fn decide(&mut self, now: u64, done: CopyTotals) -> RateSettings {
        // A clock that goes back stands still.
        let now = now.max(self.now);
        let passed = now - self.now;
        self.now = now;
        self.meter.note(now, done);
        if passed > SUSPENDED_AFTER_NS && self.baseline_since.is_none() {
            self.resume();
        }
        let seconds = passed.min(NANOS_PER_SECOND / 10) as f64 / NANOS_PER_SECOND as f64;
        let pace = self.meter.pace(now, seconds, self.ordered);
        if self.measure_baseline() {
            return self.orders(0.0, &pace);
        }
        for governed in &mut self.causes {
            match &mut governed.kind {
                ControllerKind::Latency(latency) => latency.decide(&pace),
                ControllerKind::Pressure(pressure) => pressure.decide(&pace),
            }
        }
        let rate = self.combine();
        self.check_give_up();
        self.orders(rate, &pace)
    }

    fn kind(&mut self, cause: Cause) -> Option<&mut ControllerKind> {
        let mut causes = self.causes.iter_mut();
        let found = causes.find(|governed| governed.cause == cause);
        found.map(|governed| &mut governed.kind)
    }

    fn resume(&mut self) {
        for governed in &mut self.causes {
            match &mut governed.kind {
                ControllerKind::Latency(latency) => latency.resume(self.now),
                ControllerKind::Pressure(pressure) => pressure.resume(self.now),
            }
        }
    }

    /// Measures the baseline before the first byte. Returns whether that is still going on.
    fn measure_baseline(&mut self) -> bool {
        let Some(since) = self.baseline_since else {
            return false;
        };
        let passed = self.now.saturating_sub(since);
        let mut heard = passed >= MIN_BASELINE_NS;
        for governed in &mut self.causes {
            if let ControllerKind::Latency(latency) = &mut governed.kind {
                heard &= latency.collect_baseline(answers_of_baseline(governed.cause).0);
            }
        }
        if !heard && passed < MAX_BASELINE_NS {
            return true;
        }
        self.baseline_since = None;
        let rate = self.lowest();
        for governed in &mut self.causes {
            match &mut governed.kind {
                ControllerKind::Latency(latency) => {
                    let part = answers_of_baseline(governed.cause).1;
                    let over = latency.baseline(part, self.now);
                    let over = over.map(|over| Bottleneck { rate, ..over });
                    self.words.extend(over.map(Notice::TargetMissedBeforeStart));
                }
                ControllerKind::Pressure(pressure) => pressure.restart(self.now),
            }
        }
        false
    }

    /// Returns the lowest rate of all causes, and keeps the others below twice of it.
    fn combine(&mut self) -> f64 {
        let limit = self.limits.rate.map_or(f64::INFINITY, |rate| rate as f64);
        let rates = self.causes.iter().map(Controller::rate);
        let lowest = rates.fold(limit, f64::min);
        for governed in &mut self.causes {
            let (ControllerKind::Latency(LatencyController { rate, .. })
            | ControllerKind::Pressure(PressureController { rate, .. })) = &mut governed.kind;
            *rate = rate.min((2.0 * lowest).max(MIN_RATE));
        }
        lowest
    }

    /// Returns the lowest rate in bytes per second.
    fn lowest(&self) -> u64 {
        (MIN_RATE as u64).min(self.limits.rate.unwrap_or(u64::MAX))
    }

    /// Sets the notice to give up, once, if a target was missed at the lowest rate for too long.
    fn check_give_up(&mut self) {
        let Some(give_up_after) = self.limits.give_up_after else {
            return;
        };
        let rate = self.lowest();
        for governed in &mut self.causes {
            let missed = governed.rate() <= MIN_RATE && governed.missed(self.now, give_up_after);
            if !missed {
                governed.missed_since = None;
                continue;
            }
            let since = *governed.missed_since.get_or_insert(self.now);
            let waited = u128::from(self.now.saturating_sub(since));
            if waited >= give_up_after.as_nanos() && !self.gave_up {
                self.gave_up = true;
                let holding = governed.bottleneck(self.now, rate);
                self.words.push(Notice::GiveUp(holding));
            }
        }
    }

    fn orders(&mut self, rate: f64, pace: &CopyPace) -> RateSettings {
        self.ordered = rate;
        // Above 2^53 a rate as f64 may be more than the limit that it came from; infinity becomes u64::MAX.
        let bytes = (rate as u64).min(self.limits.rate.unwrap_or(u64::MAX));
        let word = (!self.words.is_empty()).then(|| self.words.remove(0));
        RateSettings {
            rate: bytes,
            chunk: self.chunk(rate),
            bottleneck: self.find_bottleneck(bytes, pace),
            notice: word,
        }
    }

    /// Returns the cause of the rate in force, if the copy really waits for it.
    fn find_bottleneck(&self, rate: u64, pace: &CopyPace) -> Option<Bottleneck> {
        if rate > 0 && !pace.was_throttled {
            return None;
        }
        let mut causes = self.causes.iter();
        // Before the first byte it is who is listened to, once there is a figure.
        let governed = causes.find(|governed| {
            if rate == 0 {
                governed.was_heard()
            } else {
                governed.rate() as u64 <= rate
            }
        });
        if governed.is_none() && rate == 0 {
            return None;
        }
        match (governed, self.limits.rate) {
            (Some(governed), _) => Some(governed.bottleneck(self.now, rate)),
            (None, Some(limit)) => Some(Bottleneck {
                cause: Cause::LimitRate,
                figure: pace.reached,
                target: limit as f64,
                rate,
            }),
            (None, None) => None,
        }
    }

    /// Returns the size of a chunk. Other programs wait behind the data in flight, so chunks shrink with the rate and
    /// with the target.
    fn chunk(&self, rate: f64) -> usize {
        if !self.limits.any() {
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
        for governed in &self.causes {
            match (&governed.kind, governed.cause) {
                (ControllerKind::Latency(latency), Cause::WriteLatency) => {
                    takes = takes.min(latency.share_of_target());
                }
                (ControllerKind::Latency(latency), _) => {
                    let bytes = power_of_two(PAGE_PINNING_RATE * latency.share_of_target());
                    most = most.min(bytes.max(LEAST_GOVERNED));
                }
                (ControllerKind::Pressure(_), _) => (),
            }
        }
        self.piece(rate, takes)
            .clamp(least, MAX_CHUNK_BYTES)
            .min(most) as usize
    }

    /// Returns the largest power of two of bytes that takes at most `seconds` while each thread has one chunk in
    /// flight.
    fn piece(&self, rate: f64, seconds: f64) -> u64 {
        power_of_two(rate * seconds / self.threads as f64)
    }
}

impl Controller {
    fn rate(&self) -> f64 {
        match &self.kind {
            ControllerKind::Latency(latency) => latency.rate,
            ControllerKind::Pressure(pressure) => pressure.rate,
        }
    }

    fn missed(&self, now: u64, give_up_after: Duration) -> bool {
        match &self.kind {
            ControllerKind::Latency(latency) => latency.missed(now, give_up_after),
            ControllerKind::Pressure(pressure) => pressure.missed(now),
        }
    }

    fn was_heard(&self) -> bool {
        match &self.kind {
            ControllerKind::Latency(latency) => latency.was_heard(),
            ControllerKind::Pressure(_) => true,
        }
    }

    fn bottleneck(&self, now: u64, rate: u64) -> Bottleneck {
        match &self.kind {
            ControllerKind::Latency(latency) => latency.bottleneck(now, rate),
            ControllerKind::Pressure(pressure) => pressure.bottleneck(rate),
        }
    }
}

/// Returns the largest power of two that is not above `bytes`.
fn power_of_two(bytes: f64) -> u64 {
    1 << (bytes as u64).max(1).ilog2()
}

/// Returns how many samples make a baseline, and which fraction of them must exceed the target for the baseline to
/// exceed it.
fn answers_of_baseline(cause: Cause) -> (usize, f64) {
    match cause {
        Cause::WriteLatency => (4, 0.5),
        _ => (16, 0.125),
    }
}
